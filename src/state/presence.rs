//! Agents on their nodes: who must be heard of how often, and who is held to be silent.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{CheckDef, CheckKind, Folded, Health, Member, NodeId};

use super::State;
use super::rows::CheckKey;

/// The id of the check that follows an agent's heartbeat: the name Consul's clients know.
pub const PRESENCE_CHECK: &str = "serfHealth";

/// What the check says of an agent that is there, in Consul's words.
pub const PRESENT: &str = "Agent alive and reachable";

/// What the check says of a silent one, in Consul's words.
pub const ABSENT: &str = "Agent not live or unreachable";

/// The check that every agent registers for its own node.
pub fn presence_check() -> CheckDef {
    let mut def = CheckDef::new(PRESENCE_CHECK, "Serf Health Status", CheckKind::Presence);
    def.initial = Health::Passing;
    def
}

/// An agent that must be heard of, as the leader's duties see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence<'a> {
    pub agent: NodeId,
    /// Its node. None: an edge that was admitted and never registered its node, or lost it.
    pub node: Option<&'a Folded>,
    /// Silence for longer than this is absence.
    pub ttl: Duration,
    /// It is held to be absent already: its node is critical, or there is none.
    pub silent: bool,
}

impl State {
    /// Every agent with a node, then every edge that has none. A leader that watches
    /// `Topic::Presences` and `Topic::Members` need not ask more often than they wake.
    pub fn presences(&self) -> impl Iterator<Item = Presence<'_>> {
        self.agents_with_a_node().chain(self.edges_without_a_node())
    }

    fn agents_with_a_node(&self) -> impl Iterator<Item = Presence<'_>> {
        let check: Arc<str> = PRESENCE_CHECK.into();
        self.catalog.agents.iter().filter_map(move |(agent, node)| {
            let ttl = self.catalog.nodes.get(node)?.row.def.presence_ttl;
            let key = CheckKey { node: node.clone(), id: check.clone() };
            let silent = self.is_critical(&key);
            Some(Presence { agent: *agent, node: Some(node), ttl, silent })
        })
    }

    fn edges_without_a_node(&self) -> impl Iterator<Item = Presence<'_>> {
        self.members
            .values()
            .filter(|member| member.role.follows())
            .filter(|member| self.nodes_of_agent(member.id).next().is_none())
            .map(|member| Presence {
                agent: member.id,
                node: None,
                ttl: Duration::ZERO,
                silent: true,
            })
    }

    /// Whether the node's agent is held to be absent.
    pub fn is_silent(&self, node: &Folded) -> bool {
        self.is_critical(&CheckKey::new(node, PRESENCE_CHECK))
    }

    /// Whether the member's agent has registered its node and is not held to be absent.
    pub fn is_there(&self, member: &Member) -> bool {
        let check = self.check(&member.name.folded(), PRESENCE_CHECK);
        check.is_some_and(|check| check.status != Health::Critical)
    }

    fn is_critical(&self, check: &CheckKey) -> bool {
        self.catalog.checks.get(check).is_some_and(|check| check.status == Health::Critical)
    }

    /// The nodes that name the agent as theirs: its own, as a rule.
    pub(super) fn nodes_of_agent(&self, agent: NodeId) -> impl Iterator<Item = &Folded> {
        self.catalog
            .agents
            .range((agent, Folded::new(""))..)
            .take_while(move |(owner, _)| *owner == agent)
            .map(|(_, node)| node)
    }
}

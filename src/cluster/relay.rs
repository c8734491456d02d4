//! What a relay answers other agents: who it is, and what it passes on to whom it follows.

use std::sync::Arc;

use crate::model::Role;
use crate::replica::Replica;

use super::asks::{Ask, Introduction, Reach, Reply};
use super::confirms::Haste;
use super::edge::Edge;
use super::follow::Condition;
use super::patience;

pub(super) struct Relay {
    pub edge: Arc<Edge>,
    pub replica: Replica,
    /// Who this agent says it is; the cluster and the id are filled in.
    pub introduction: Introduction,
}

impl Relay {
    fn introduction(&self) -> Introduction {
        let mut introduction = self.introduction.clone();
        let state = self.replica.snapshot();
        introduction.cluster = state.identity().cluster;
        introduction.id = self.edge.id();
        let servers = || state.members().filter(|member| member.role == Role::Server);
        let settings = &state.identity().settings;
        let wanted = (settings.voters + settings.standbys) as usize;
        introduction.wants_servers = state.is_founded() && servers().count() < wanted;
        introduction.others = servers().map(|member| (member.id, member.peer_addr)).collect();
        introduction
    }

    pub fn condition(&self) -> Option<Condition> {
        self.edge.condition()
    }

    pub async fn answer(&self, ask: Ask) -> Reply {
        match ask {
            Ask::Who(_) => Reply::Who(self.introduction()),
            Ask::Propose { command, reach: Reach::Cluster } => {
                match patience::propose(&*self.edge, &command).await {
                    Ok((outcome, index)) => Reply::Proposed { outcome, index },
                    Err(error) => Reply::Failed(error),
                }
            }
            Ask::Confirm { pulses, reach: Reach::Cluster } => {
                self.edge.confirm_with(pulses, Haste::Merged).await.into()
            }
            Ask::Past { query, seen } => self.edge.recall(&query, seen).await.into(),
            ask @ (Ask::Identify(_) | Ask::Login { .. } | Ask::Reveal { .. }) => {
                self.edge.inquire(&ask).await.unwrap_or(Reply::NotLeader)
            }
            // What only a leader can do is never asked of a relay.
            Ask::Propose { reach: Reach::Leader, .. }
            | Ask::Confirm { reach: Reach::Leader, .. }
            | Ask::Compare(_)
            | Ask::Operate(_) => Reply::NotLeader,
            Ask::Probe(_) | Ask::Join(_) | Ask::Renew { .. } => {
                Reply::Denied("that is asked of servers".to_owned())
            }
        }
    }
}

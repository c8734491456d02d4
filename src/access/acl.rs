//! Tokens, and the policies and roles that say what these permit.

use std::sync::Arc;
use std::time::Duration;

use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};

use crate::model::{AclId, Digest, Index, Stamp};

use super::grants::Grants;
use super::hcl;
use super::rule::{Level, Resource, Rules};

/// The policy that permits everything.
pub const MANAGEMENT: AclId = AclId(1);
/// The policy that permits to read everything.
pub const READ_ONLY: AclId = AclId(2);
/// The token of who shows none.
pub const ANONYMOUS: AclId = AclId(2);
/// What the anonymous token is called where a secret is asked for; nobody shows it as one.
pub const ANONYMOUS_SECRET: &str = "anonymous";

/// What counts where no rule fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DefaultPolicy {
    #[default]
    Deny,
    Allow,
}

impl DefaultPolicy {
    pub fn word(self) -> &'static str {
        match self {
            DefaultPolicy::Deny => "deny",
            DefaultPolicy::Allow => "allow",
        }
    }
}

/// Whether tokens count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AclSwitch {
    pub enabled: bool,
    pub default: DefaultPolicy,
    /// The index at which the first token was made for who asked first; 0: not yet.
    pub bootstrapped: Index,
    /// The index of their last change.
    pub index: Index,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclPolicy {
    pub id: AclId,
    pub name: Arc<str>,
    pub description: String,
    /// The rules as they were written.
    pub text: Arc<str>,
    pub datacenters: Vec<String>,
    pub create: Index,
    pub modified: Index,
}

/// May register that service, and read the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceIdentity {
    pub name: Arc<str>,
    pub datacenters: Vec<String>,
}

/// May register that node, and read services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeIdentity {
    pub name: Arc<str>,
    pub datacenter: String,
}

/// What a token or a role permits, in the order in which it was given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Links {
    pub policies: Vec<AclId>,
    pub services: Vec<ServiceIdentity>,
    pub nodes: Vec<NodeIdentity>,
}

impl Links {
    /// Roughly the bytes that they keep alive.
    pub fn weight(&self) -> usize {
        let services = self.services.iter().map(|identity| 64 + identity.name.len());
        let nodes = self.nodes.iter().map(|identity| 64 + identity.name.len());
        16 * self.policies.len() + services.sum::<usize>() + nodes.sum::<usize>()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclRole {
    pub id: AclId,
    pub name: Arc<str>,
    pub description: String,
    pub links: Links,
    pub create: Index,
    pub modified: Index,
}

/// A token as everybody knows it: nothing in it lets anybody in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclToken {
    pub accessor: AclId,
    /// Of its secret.
    pub digest: Digest,
    pub description: String,
    pub links: Links,
    pub roles: Vec<AclId>,
    /// Shown as it was given: a cluster is one datacenter.
    pub local: bool,
    /// Nanoseconds since 1970 by the clock of whoever made it: for people.
    pub created: u64,
    pub ttl: Option<Duration>,
    /// Cluster time at which it ends. None: it does not.
    pub ends: Option<Stamp>,
    pub create: Index,
    pub modified: Index,
}

/// A row put (`Some`) or deleted (`None`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AclChange {
    Switch(AclSwitch),
    Policy(AclId, Option<Arc<AclPolicy>>),
    Role(AclId, Option<Arc<AclRole>>),
    Token(AclId, Option<Arc<AclToken>>),
}

/// All tokens, roles and policies. A clone shares everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acl {
    pub(super) switch: AclSwitch,
    pub(super) policies: OrdMap<AclId, Arc<AclPolicy>>,
    pub(super) roles: OrdMap<AclId, Arc<AclRole>>,
    pub(super) tokens: OrdMap<AclId, Arc<AclToken>>,
    /// Derived: what the policies' texts say.
    rules: OrdMap<AclId, Arc<Rules>>,
    /// Derived: whose secret it is.
    pub(super) digests: OrdMap<Digest, AclId>,
    /// Derived: tokens that end, the first one first.
    ends: OrdSet<(Stamp, AclId)>,
}

impl Acl {
    /// While they do not count, nobody is asked for a token.
    pub fn enabled(&self) -> bool {
        self.switch.enabled
    }

    pub fn switch(&self) -> AclSwitch {
        self.switch
    }

    pub fn policy(&self, id: AclId) -> Option<&Arc<AclPolicy>> {
        self.policies.get(&id)
    }

    pub fn policy_named(&self, name: &str) -> Option<&Arc<AclPolicy>> {
        self.policies.values().find(|policy| *policy.name == *name)
    }

    pub fn policies(&self) -> impl Iterator<Item = &Arc<AclPolicy>> {
        self.policies.values()
    }

    pub fn role(&self, id: AclId) -> Option<&Arc<AclRole>> {
        self.roles.get(&id)
    }

    pub fn role_named(&self, name: &str) -> Option<&Arc<AclRole>> {
        self.roles.values().find(|role| *role.name == *name)
    }

    pub fn roles(&self) -> impl Iterator<Item = &Arc<AclRole>> {
        self.roles.values()
    }

    pub fn token(&self, accessor: AclId) -> Option<&Arc<AclToken>> {
        self.tokens.get(&accessor)
    }

    pub fn tokens(&self) -> impl Iterator<Item = &Arc<AclToken>> {
        self.tokens.values()
    }

    /// The token with that secret, unless it had ended by `now`. Who shows nothing has none.
    pub fn held(&self, digest: &Digest, now: Stamp) -> Option<&Arc<AclToken>> {
        let accessor = self.digests.get(digest).filter(|accessor| **accessor != ANONYMOUS)?;
        self.tokens.get(accessor).filter(|token| token.ends.is_none_or(|ends| ends > now))
    }

    /// When the first token ends of those that do.
    pub fn first_end(&self) -> Option<Stamp> {
        self.ends.get_min().map(|(ends, _)| *ends)
    }

    /// The tokens that have ended.
    pub(super) fn ended(&self, now: Stamp) -> impl Iterator<Item = AclId> + '_ {
        self.ends.iter().take_while(move |(ends, _)| *ends <= now).map(|(_, id)| *id)
    }

    /// Whether nothing was ever changed.
    pub fn is_untouched(&self) -> bool {
        *self == Acl::default()
    }

    /// Everything that makes them, in order.
    pub fn rows(&self) -> impl Iterator<Item = AclChange> {
        let policies =
            self.policies.iter().map(|(id, row)| AclChange::Policy(*id, Some(row.clone())));
        let roles = self.roles.iter().map(|(id, row)| AclChange::Role(*id, Some(row.clone())));
        let tokens = self.tokens.iter().map(|(id, row)| AclChange::Token(*id, Some(row.clone())));
        [AclChange::Switch(self.switch)].into_iter().chain(policies).chain(roles).chain(tokens)
    }

    /// The only thing that alters them.
    pub fn absorb(&mut self, change: &AclChange) {
        match change {
            AclChange::Switch(switch) => self.switch = *switch,
            AclChange::Policy(id, Some(policy)) => {
                self.rules.insert(*id, Arc::new(read(policy)));
                self.policies.insert(*id, policy.clone());
            }
            AclChange::Policy(id, None) => {
                self.rules.remove(id);
                self.policies.remove(id);
            }
            AclChange::Role(id, Some(role)) => {
                self.roles.insert(*id, role.clone());
            }
            AclChange::Role(id, None) => {
                self.roles.remove(id);
            }
            AclChange::Token(id, token) => self.absorb_token(*id, token.as_ref()),
        }
    }

    fn absorb_token(&mut self, id: AclId, token: Option<&Arc<AclToken>>) {
        let old = match token {
            Some(token) => self.tokens.insert(id, token.clone()),
            None => self.tokens.remove(&id),
        };
        if let Some(old) = old {
            self.digests.remove(&old.digest);
            old.ends.map(|ends| self.ends.remove(&(ends, id)));
        }
        if let Some(token) = token {
            self.digests.insert(token.digest, id);
            token.ends.map(|ends| self.ends.insert((ends, id)));
        }
    }

    /// What somebody may do with that token, or without any.
    pub(super) fn grants(&self, token: Option<&AclToken>, beside_users: bool) -> Grants {
        let holder = token.map(|token| token.accessor);
        let anonymous = || self.tokens.get(&ANONYMOUS).map(|token| &**token);
        let mut rules = Vec::new();
        if let Some(token) = token.or_else(anonymous) {
            self.gather(&token.links, &mut rules);
            for role in token.roles.iter().filter_map(|id| self.roles.get(id)) {
                self.gather(&role.links, &mut rules);
            }
        }
        let by_default = self.switch.default == DefaultPolicy::Allow;
        Grants { rules, by_default, beside_users, holder }
    }

    fn gather(&self, links: &Links, rules: &mut Vec<Arc<Rules>>) {
        rules.extend(links.policies.iter().filter_map(|id| self.rules.get(id)).cloned());
        rules.extend(links.services.iter().map(|identity| Arc::new(of_service(&identity.name))));
        rules.extend(links.nodes.iter().map(|identity| Arc::new(of_node(&identity.name))));
    }
}

/// It was read before it was taken. What another release took and this one cannot read permits
/// nothing.
fn read(policy: &AclPolicy) -> Rules {
    match policy.id {
        MANAGEMENT => everything(Level::Write),
        READ_ONLY => everything(Level::Read),
        _ => hcl::parse(&policy.text).unwrap_or_else(|_| everything(Level::Deny)),
    }
}

fn everything(level: Level) -> Rules {
    Resource::ALL
        .into_iter()
        .fold(Rules::default(), |rules, resource| rules.with_prefix(resource, "", level))
}

fn of_service(name: &str) -> Rules {
    Rules::default()
        .with(Resource::Service, name, Level::Write)
        .with(Resource::Service, &format!("{name}-sidecar-proxy"), Level::Write)
        .with_prefix(Resource::Service, "", Level::Read)
        .with_prefix(Resource::Node, "", Level::Read)
}

fn of_node(name: &str) -> Rules {
    Rules::default().with(Resource::Node, name, Level::Write).with_prefix(
        Resource::Service,
        "",
        Level::Read,
    )
}

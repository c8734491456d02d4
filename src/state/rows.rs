//! The rows of the state: everything a command can put or delete.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{
    CheckDef, Digest, Folded, Health, Index, LeaseId, NodeId, Revision, ServiceDef, SessionId,
    Source, Stamp, TokenId, limits,
};

use super::command::TokenDef;

/// A key: any bytes, 1 to `limits::KEY`.
pub type Key = Bytes;

/// A key's current version, the same under both APIs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    pub value: Bytes,
    /// The revision that created the key.
    pub create: Revision,
    /// The revision that last wrote it.
    pub modified: Revision,
    /// Writes since creation, from 1.
    pub version: i64,
    pub lease: LeaseId,
    /// Consul's flags; etcd does not see them.
    pub flags: u64,
    /// Consul's lock; etcd does not see it, but keeps it when it puts. None: it was never taken.
    pub lock: Option<Arc<Lock>>,
}

impl KeyRow {
    /// The session that holds the key.
    pub fn holder(&self) -> Option<SessionId> {
        self.lock.as_ref().and_then(|lock| lock.holder)
    }

    /// How often the key was taken since it was made.
    pub fn lock_index(&self) -> u64 {
        self.lock.as_ref().map_or(0, |lock| lock.index)
    }
}

/// Who holds a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// None: it has been let go.
    pub holder: Option<SessionId>,
    /// One more each time that another session takes it, never lower while the key is there.
    pub index: u64,
}

/// What becomes of a session's keys when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Behavior {
    /// They stay, and are nobody's.
    #[default]
    Release,
    Delete,
}

/// A check of a service that a session lives by, as Consul has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceCheck {
    pub id: Arc<str>,
    pub namespace: String,
}

/// A session as it was asked for. Three lists name checks, all of its node: they are shown as they
/// were given, and count alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionDef {
    pub id: SessionId,
    pub name: String,
    /// In the case it was given.
    pub node: Arc<str>,
    pub behavior: Behavior,
    /// How long it lives without being renewed, before the cluster's factor. None: for good.
    pub ttl: Option<Duration>,
    /// The same, as it was written.
    pub ttl_text: String,
    /// In nanoseconds, as it was given: `SessionDef::delay` is what counts.
    pub lock_delay: i64,
    pub node_checks: Vec<Arc<str>>,
    /// None was shown as `null`.
    pub service_checks: Option<Vec<ServiceCheck>>,
    /// The list that Consul had before the other two.
    pub checks: Vec<Arc<str>>,
}

impl SessionDef {
    /// The checks it lives by; one may be named twice.
    pub fn all_checks(&self) -> impl Iterator<Item = &Arc<str>> {
        let of_services = self.service_checks.iter().flatten().map(|check| &check.id);
        self.checks.iter().chain(&self.node_checks).chain(of_services)
    }

    /// For how long nobody may take the keys that it loses when it ends.
    pub fn delay(&self) -> Option<Duration> {
        let nanoseconds = u64::try_from(self.lock_delay).ok().filter(|n| *n > 0)?;
        Some(Duration::from_nanos(nanoseconds).min(limits::LOCK_DELAY_MAX))
    }
}

/// A session that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    pub def: SessionDef,
    /// The index that made it; nothing ever changes it.
    pub index: Index,
}

/// Nobody may take a key: the session that held it has ended, and may not know yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockDelay {
    /// How long it lasts: a lower bound, counted by the leader.
    pub lasts: Duration,
    /// The index that began it.
    pub index: Index,
}

/// A lease that was granted and has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRow {
    pub id: LeaseId,
    /// Granted time to live: a lower bound, counted by the leader.
    pub ttl: Duration,
    /// The index of its grant.
    pub index: Index,
}

/// Where a node is and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDef {
    /// In the case it was given; rows are keyed by its folded form.
    pub name: Arc<str>,
    /// The agent that lives there; none for a node that was only registered by catalog.
    pub agent: Option<NodeId>,
    /// Consul's node id, a UUID; empty where none was given.
    pub uuid: String,
    /// An IP address or a host name.
    pub address: Arc<str>,
    pub tagged_addresses: BTreeMap<String, String>,
    pub meta: BTreeMap<String, String>,
    /// How long its agent may be silent before the node counts as dead.
    pub presence_ttl: Duration,
}

/// A node, and the indexes that made and last changed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    pub def: NodeDef,
    pub create: Index,
    pub modified: Index,
}

/// An instance of a service on its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRow {
    /// The key of its node's row.
    pub node: Folded,
    pub def: ServiceDef,
    pub source: Source,
    pub create: Index,
    pub modified: Index,
}

/// A check with its last result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRow {
    /// The key of its node's row.
    pub node: Folded,
    pub def: CheckDef,
    pub status: Health,
    /// What the last probe, or the app, said; at most `limits::CHECK_OUTPUT` bytes.
    pub output: String,
    pub source: Source,
    pub create: Index,
    pub modified: Index,
}

/// A deletion, remembered so that a blocking query on its prefix wakes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    pub revision: Revision,
    pub at: Stamp,
}

/// Settings of the whole cluster, logged at founding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Servers that vote, where there are enough.
    pub voters: u32,
    /// Servers that stand by as learners.
    pub standbys: u32,
    /// How long a node that was lost stays in the catalog before it is removed.
    pub node_grace: Duration,
    /// Bytes that keys and leases may take before writes are refused: `State::live_size`.
    pub quota: u64,
    /// How much of the key space's past is kept, unless it has to make room.
    pub history: Duration,
    /// How many times its TTL a session lives without being renewed.
    pub session_factor: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            voters: 3,
            standbys: 1,
            node_grace: Duration::from_secs(600),
            quota: limits::QUOTA,
            history: limits::HISTORY_AGE,
            session_factor: 2,
        }
    }
}

/// What there is one of: who the cluster is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// Drawn at founding; 0 until then.
    pub cluster: u128,
    /// Changes with a restore, so that followers drop what they have.
    pub lineage: u64,
    /// The version of `apply` in force.
    pub level: u32,
    /// The next member's id.
    pub next_node: u64,
    pub settings: Settings,
    /// The authority's root key; none in a cluster without certificates.
    pub root: Option<Digest>,
    /// The token whose key founded the cluster, until it is retired.
    pub founding: Option<TokenId>,
    /// The revision with which this lineage began: 0 for the first. Nothing older can be trusted
    /// to be of the same past.
    pub restored: Revision,
}

/// A join token as servers know it: nothing in it lets anybody in. Never leaves servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRow {
    pub def: TokenDef,
    /// Cluster time at which it ends. None: it does not.
    pub ends: Option<Stamp>,
    /// How many agents it still lets in. None: any number.
    pub left: Option<u64>,
    /// It was made before the cluster, and goes with the founding token.
    pub offline: bool,
}

/// Names an instance: a node and an id on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceKey {
    pub node: Folded,
    pub id: Arc<str>,
}

impl InstanceKey {
    /// The key of instance `id` on `node`.
    pub fn new(node: &Folded, id: &str) -> InstanceKey {
        InstanceKey { node: node.clone(), id: id.into() }
    }
}

/// Names a check: a node and an id on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CheckKey {
    pub node: Folded,
    pub id: Arc<str>,
}

impl CheckKey {
    /// The key of check `id` on `node`.
    pub fn new(node: &Folded, id: &str) -> CheckKey {
        CheckKey { node: node.clone(), id: id.into() }
    }
}

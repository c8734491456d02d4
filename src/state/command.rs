//! What can be proposed, and what comes of it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::access::{AccountCommand, AccountError, AclCommand, AclError, AclRow, Caller, Denied};
use crate::model::{
    CheckDef, Digest, Folded, Health, Index, LeaseId, NodeId, NodeName, QueryId, Revision, Role,
    ServiceDef, SessionId, Source, Stamp, TokenId,
};

use super::alarms::Alarm;
use super::autopilot::Autopilot;
use super::events::EventDef;
use super::keys::{KeyRange, RangeError};
use super::query::{QueryDef, QueryRefusal};
use super::rows::{Key, KeyRow, NodeDef, SessionDef, Settings};
use super::sequence::{SequenceOp, Sequenced};
use super::txn::{Txn, TxnDone};

/// What the log carries: a command and the cluster time its leader gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    pub stamp: Stamp,
    pub command: Command,
}

/// Released variants are frozen; a change is a new variant (DESIGN.md, Versions).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The founder's first entry.
    Found(Founding),
    /// Lets an agent in, or says again who it is; idempotent on its nonce.
    Admit(Admission),
    /// A member is reached elsewhere, or runs another release.
    Contact {
        id: NodeId,
        peer_addr: SocketAddr,
        client_urls: Vec<String>,
        version: String,
        level: u32,
    },
    /// Takes a member out for good, with its node and everything on it.
    Retire(NodeId),
    Settings(Settings),
    Put(Put),
    DeleteRange(DeleteRange),
    Kv(KvCommand),
    Compact(Revision),
    LeaseGrant {
        id: LeaseId,
        ttl: std::time::Duration,
    },
    LeaseRevoke(LeaseId),
    /// Decided by the leader of `term`; void in an entry of another term.
    LeaseExpire {
        ids: Vec<LeaseId>,
        term: u64,
    },
    SessionCreate(SessionDef),
    /// Of one that is not there: nothing.
    SessionDestroy(SessionId),
    /// Decided by the leader of `term`; void in an entry of another term.
    SessionExpire {
        ids: Vec<SessionId>,
        term: u64,
    },
    /// These keys may be taken again, where it still is that index's delay. Decided by the leader
    /// of `term`; void in an entry of another term.
    LockDelayEnd {
        delays: Vec<(Key, Index)>,
        term: u64,
    },
    /// All or nothing, each operation seeing those before.
    Catalog(Vec<CatalogOp>),
    /// Agents that were silent for their TTL. Decided by the leader of `term`, void in another.
    Silent {
        nodes: Vec<NodeId>,
        term: u64,
    },
    /// Nodes that stayed silent for the grace time: out of the catalog, edges out of the members.
    Reap {
        nodes: Vec<NodeId>,
        term: u64,
    },
    /// Housekeeping by age: forget deletions and history from before these times.
    Forget {
        tombstones: Stamp,
        history: Stamp,
    },
    /// The level of `apply` from here on.
    Raise(u32),
    /// A join token that from now on lets agents in.
    TokenPut(TokenPut),
    /// A join token lets nobody in any more. The founding token takes those made with it along.
    TokenRetire(TokenId),
    /// A piece of a backup, kept apart until `Restore` takes them all.
    Stage {
        id: u128,
        offset: u64,
        bytes: Bytes,
    },
    /// Puts what was staged in the place of what there is, and begins this lineage.
    Restore {
        id: u128,
        lineage: u64,
    },
    /// Forgets what was staged under this id.
    Unstage(u128),
    /// One surviving server goes on alone, in this lineage (`remora recover`).
    Recover {
        survivor: NodeId,
        lineage: u64,
    },
    /// Everyone compares the state as it is after this entry.
    Checkpoint,
    Txn(Txn),
    /// Consul's transaction.
    Sequence(Vec<SequenceOp>),
    /// An operator raises an alarm or ends it.
    Alarm {
        alarm: Alarm,
        on: bool,
    },
    /// The oldest of the keys' past makes room, one step of it, where the quota presses.
    Relieve,
    Account(AccountCommand),
    /// A prepared query; `new`: its id must not be there yet, else it must.
    QueryPut {
        def: QueryDef,
        new: bool,
    },
    QueryDelete(QueryId),
    EventFire(EventDef),
    /// Where they were last changed by that index, if one is given.
    Autopilot {
        settings: Autopilot,
        cas: Option<Index>,
    },
    /// Tokens, policies and roles.
    Acl(AclCommand),
    /// On behalf of somebody, who is judged when it is applied. Without, it is an agent's own.
    For(Box<OnBehalf>),
}

/// A command and who wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnBehalf {
    pub caller: Caller,
    pub command: Command,
}

impl Command {
    /// The command as one that this caller wants.
    pub fn by(self, caller: Caller) -> Command {
        Command::For(Box::new(OnBehalf { caller, command: self }))
    }

    /// The term whose leader alone decides this; none: it may come at any time.
    pub(super) fn term(&self) -> Option<u64> {
        match self {
            Command::LeaseExpire { term, .. }
            | Command::SessionExpire { term, .. }
            | Command::LockDelayEnd { term, .. }
            | Command::Silent { term, .. }
            | Command::Reap { term, .. } => Some(*term),
            _ => None,
        }
    }
}

/// A new cluster and its first member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    pub cluster: u128,
    pub lineage: u64,
    pub settings: Settings,
    pub founder: Admission,
    pub trust: Trust,
    /// Tokens count from the beginning.
    pub acl: Option<Box<AclCommand>>,
}

/// Whom agents that want to be let in have to trust, and what they have to show.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Trust {
    /// The authority's root key. None: a cluster without certificates, of one agent on loopback.
    pub root: Option<Digest>,
    /// The tokens that were made before there was a cluster; the server's is the founding token.
    pub offline: Vec<TokenDef>,
}

/// The public half of a join token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenDef {
    pub id: TokenId,
    pub role: Role,
    /// Of the key that signs proofs: an uncompressed point on P-256.
    pub public: Bytes,
}

/// A token that the cluster makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPut {
    pub def: TokenDef,
    /// In cluster time, from this command on. None: for good.
    pub ttl: Option<std::time::Duration>,
    /// How many agents it lets in. None: any number.
    pub uses: Option<u64>,
}

/// Who asks to be a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    pub name: NodeName,
    /// Drawn and fsynced by the joiner before it asks.
    pub nonce: u128,
    pub role: Role,
    pub peer_addr: SocketAddr,
    pub client_urls: Vec<String>,
    pub version: String,
    /// The level of `apply` that its release speaks at most.
    pub level: u32,
    /// The join token whose proof was seen. None: a member known by its certificate, or a cluster
    /// without certificates.
    pub token: Option<TokenId>,
}

/// etcd's put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    pub key: Key,
    pub value: Bytes,
    pub lease: LeaseId,
    pub prev_kv: bool,
    pub ignore_value: bool,
    pub ignore_lease: bool,
}

/// etcd's delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRange {
    pub range: KeyRange,
    pub prev_kv: bool,
}

/// Consul's writes of keys. `cas` is the revision that must be current; 0: the key must be absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvCommand {
    Set {
        key: Key,
        value: Bytes,
        flags: u64,
        cas: Option<Revision>,
    },
    Delete {
        key: Key,
        cas: Option<Revision>,
    },
    DeleteTree {
        prefix: Key,
    },
    /// Takes the key for a session, unless another has it or nobody may.
    Acquire {
        key: Key,
        value: Bytes,
        flags: u64,
        session: SessionId,
    },
    /// Lets the key go, if the session has it.
    Release {
        key: Key,
        value: Bytes,
        flags: u64,
        session: SessionId,
    },
}

/// One step of a change of the catalog. Node names are given folded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogOp {
    PutNode(NodeDef),
    PutInstance {
        node: Folded,
        def: ServiceDef,
        source: Source,
    },
    PutCheck {
        node: Folded,
        def: CheckDef,
        status: Health,
        output: String,
        source: Source,
    },
    /// Status and output of a check that exists; of one that is gone: nothing.
    Report {
        node: Folded,
        check: Arc<str>,
        status: Health,
        output: String,
    },
    RemoveNode(Folded),
    RemoveInstance {
        node: Folded,
        id: Arc<str>,
    },
    RemoveCheck {
        node: Folded,
        id: Arc<str>,
    },
}

impl CatalogOp {
    /// The node that it is about.
    pub fn node(&self) -> Folded {
        match self {
            CatalogOp::PutNode(def) => Folded::new(&def.name),
            CatalogOp::PutInstance { node, .. }
            | CatalogOp::PutCheck { node, .. }
            | CatalogOp::Report { node, .. }
            | CatalogOp::RemoveNode(node)
            | CatalogOp::RemoveInstance { node, .. }
            | CatalogOp::RemoveCheck { node, .. } => node.clone(),
        }
    }
}

/// What a command that was applied says back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Done,
    Put {
        prev: Option<Arc<KeyRow>>,
        /// The revision that the put made.
        revision: Revision,
    },
    Deleted {
        count: u64,
        prev: Vec<(Key, Arc<KeyRow>)>,
        /// The revision that the deletion made; of one that removed nothing, the one it saw.
        revision: Revision,
    },
    /// Whether the condition of a Consul write held.
    Kv(bool),
    Admitted {
        id: NodeId,
        cluster: u128,
    },
    Refused(Refusal),
    Restored {
        /// The revision that it is all at now.
        revision: Revision,
        keys: u64,
    },
    Txn {
        done: TxnDone,
        /// The revision that it made; of one that wrote nothing, the one it saw.
        revision: Revision,
    },
    Sequence(Sequenced),
    /// Whether that alarm is raised now, or was until now.
    Alarm(bool),
    /// What was put, of tokens, policies and roles.
    Acl(AclRow),
}

/// Why a command that reached the state changed nothing. Fronts turn these into their protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    #[error("the cluster is founded already")]
    Founded,
    #[error("the cluster is not founded yet")]
    NotFounded,
    #[error("the name {0} is taken by another member")]
    NameTaken(NodeName),
    #[error("there is no member {0}")]
    NoMember(NodeId),
    #[error("a key must not be empty")]
    EmptyKey,
    #[error("the key has {len} bytes, at most {max} are allowed")]
    KeyTooLong { len: usize, max: usize },
    #[error("the key does not exist")]
    KeyNotFound,
    #[error("lease {:x} does not exist", .0.0)]
    LeaseNotFound(LeaseId),
    #[error("lease {:x} exists already", .0.0)]
    LeaseExists(LeaseId),
    #[error("session {0} does not exist")]
    SessionNotFound(SessionId),
    #[error("session {0} exists already")]
    SessionExists(SessionId),
    #[error("there is no check {id:?} on node {node}")]
    NoCheck { node: Folded, id: Arc<str> },
    #[error("check {id:?} on node {node} is critical")]
    CheckIsCritical { node: Folded, id: Arc<str> },
    #[error("revision {asked} has been compacted, history begins at {compacted}")]
    Compacted { asked: Revision, compacted: Revision },
    #[error("revision {asked} is in the future, the newest is {current}")]
    FutureRevision { asked: Revision, current: Revision },
    #[error("there is no node {0}")]
    NoNode(Folded),
    #[error("there is no instance {id:?} on node {node} for check {check:?}")]
    NoInstanceForCheck { node: Folded, id: Arc<str>, check: Arc<str> },
    #[error("node {name} belongs to agent {owner}")]
    NodeOwned { name: Folded, owner: NodeId },
    #[error("the term of this decision is over")]
    StaleTerm,
    #[error("level {asked} cannot follow level {current}")]
    Level { asked: u32, current: u32 },
    #[error(
        "the cluster is at level {current} and this release speaks level {spoken} at most: \
         install a newer release"
    )]
    Outdated { spoken: u32, current: u32 },
    #[error("there is no join token {0}: it was retired, or is another cluster's")]
    NoToken(TokenId),
    #[error("there is a join token {0} already")]
    TokenExists(TokenId),
    #[error("there are {0} join tokens, and no more are kept: retire some")]
    TooManyTokens(usize),
    #[error("a new agent needs a join token")]
    TokenNeeded,
    #[error("a join token for the role {} lets in no {}", .token.as_str(), .asked.as_str())]
    TokenRole { token: Role, asked: Role },
    #[error("the join token {0} has expired: `remora join-token` makes another")]
    TokenExpired(TokenId),
    #[error("the join token {0} has been used up: `remora join-token` makes another")]
    TokenUsedUp(TokenId),
    #[error("nothing was restored: {0}")]
    Restore(String),
    #[error("this agent keeps no history")]
    NoHistory,
    #[error("a transaction that writes cannot be answered from a state")]
    NotReadOnly,
    #[error("no space: keys and leases have reached the quota; delete some, or raise the quota")]
    NoSpace,
    #[error("the alarm CORRUPT is raised: no writes are taken until it is ended")]
    Corrupt,
    #[error("{0} alarms are raised, and no more are kept: end some")]
    TooManyAlarms(usize),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Query(#[from] QueryRefusal),
    #[error("an event has at most {max} bytes, this one has {len}")]
    EventTooLarge { len: usize, max: usize },
    #[error(transparent)]
    Acl(#[from] AclError),
}

impl From<RangeError> for Refusal {
    fn from(error: RangeError) -> Refusal {
        match error {
            RangeError::Compacted { asked, compacted } => Refusal::Compacted { asked, compacted },
            RangeError::Future { asked, current } => Refusal::FutureRevision { asked, current },
            RangeError::NoHistory => Refusal::NoHistory,
        }
    }
}

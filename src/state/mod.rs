//! The cluster's truth: `apply` decides, `absorb` alone mutates; queries; the snapshot format.
//!
//! Pure: no clock, no I/O, no random numbers. A clone is O(1) and shares everything, so a reader
//! never holds up the writer.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod absorb;
mod accounts;
mod alarms;
mod apply;
mod autopilot;
mod backup;
mod catalog;
mod change;
mod command;
mod events;
mod hash;
mod history;
mod keys;
mod loading;
mod moved;
mod past;
mod pattern;
mod permits;
mod places;
mod presence;
mod query;
mod recent;
mod rows;
mod sequence;
mod sessions;
mod size;
mod snapshot;
mod staging;
mod tables;
mod topic;
mod txn;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::access::{Accounts, Acl, PasswordHash, Sealed};
use crate::model::{AclId, Applied, Index, LeaseId, Member, NodeId, Revision, Stamp, TokenId};

use catalog::Catalog;
use events::Events;
use moved::Moved;
use query::Queries;
use recent::Recent;
use sessions::Sessions;

pub use accounts::KeyRight;
pub use alarms::{Alarm, AlarmKind, RaisedBy};
pub use autopilot::{Autopilot, AutopilotRow};
pub use backup::{BackupError, BackupHead, BackupReader, backup_end};
pub use change::{Change, Changes};
pub use command::{
    Admission, CatalogOp, Command, DeleteRange, Founding, KvCommand, OnBehalf, Outcome, Proposal,
    Put, Refusal, TokenDef, TokenPut, Trust,
};
pub use events::EventDef;
pub use hash::KeyHash;
pub use history::{History, KeyEvent, RevisionLog};
pub use keys::{KeyRange, RangeError, RangeQuery, RangeResult, SortBy};
pub use past::{EventsPage, EventsQuery, PastAnswer, PastEvent, PastQuery};
pub use pattern::{BadPattern, Pattern};
pub use presence::{ABSENT, PRESENCE_CHECK, PRESENT, Presence, presence_check};
pub use query::{QueryDef, QueryRefusal, QueryRow, QueryTarget, QueryTemplate};
pub use rows::{
    Behavior, CheckKey, CheckRow, Identity, InstanceKey, InstanceRow, Key, KeyRow, LeaseRow, Lock,
    LockDelay, NodeDef, NodeRow, ServiceCheck, SessionDef, SessionRow, Settings, TokenRow,
    Tombstone,
};
pub use sequence::{
    CheckPut, KeyOp, KeyPut, OpError, OpFailure, RowOp, SequenceOp, Sequenced, Shown,
};
pub use snapshot::{Decoder, Part, SnapshotError};
pub use staging::{Piece, Staging};
pub use topic::Topic;
pub use txn::{Compare, Relation, Target, Txn, TxnAnswer, TxnDone, TxnOp};
pub use view::InstanceView;

/// The level of `apply` that this build speaks at most.
pub const LEVEL: u32 = 1;

/// Everything at one point of the log. Rows are private: only `absorb` writes them.
#[derive(Clone)]
pub struct State {
    applied: Applied,
    stamp: Stamp,
    index: Index,
    revision: Revision,
    /// Deletions up to here are forgotten.
    floor: Revision,
    identity: Identity,
    members: OrdMap<NodeId, Arc<Member>>,
    keys: OrdMap<Key, Arc<KeyRow>>,
    tombstones: OrdMap<Key, Tombstone>,
    leases: OrdMap<LeaseId, LeaseRow>,
    sessions: Sessions,
    alarms: OrdMap<Alarm, RaisedBy>,
    catalog: Catalog,
    queries: Queries,
    events: Events,
    autopilot: AutopilotRow,
    /// Derived: what the present keys weigh.
    keys_size: u64,
    accounts: Accounts,
    acl: Acl,
    /// Derived: the keys that hang on each lease.
    lease_keys: OrdMap<LeaseId, OrdSet<Key>>,
    /// Derived: the tombstones from the oldest to the newest.
    deletions: OrdSet<(Revision, Key)>,
    /// Server part: the past of the key space. Edges keep none.
    history: Option<History>,
    /// Derived, where there is no history: the newest of it.
    recent: Recent,
    /// Derived: the services that changed last.
    moved: Moved,
    /// Server part: who may be let in.
    tokens: OrdMap<TokenId, TokenRow>,
    /// Server part: what the passwords of users are held against.
    passwords: OrdMap<Arc<str>, PasswordHash>,
    /// Server part: the secrets of tokens, which servers can read.
    secrets: OrdMap<AclId, Sealed>,
    /// Server part: a backup that is being restored.
    staging: Option<Staging>,
}

impl Default for State {
    fn default() -> State {
        State::new(Part::Shared)
    }
}

impl State {
    /// The state of a cluster that is not founded. `History` is kept by servers only.
    pub fn new(part: Part) -> State {
        State {
            applied: Applied::default(),
            stamp: Stamp::default(),
            index: 0,
            revision: 1,
            floor: 0,
            identity: Identity::default(),
            members: OrdMap::new(),
            keys: OrdMap::new(),
            tombstones: OrdMap::new(),
            leases: OrdMap::new(),
            sessions: Sessions::default(),
            alarms: OrdMap::new(),
            catalog: Catalog::default(),
            queries: Queries::default(),
            events: Events::new(),
            autopilot: AutopilotRow::default(),
            keys_size: 0,
            accounts: Accounts::default(),
            acl: Acl::default(),
            lease_keys: OrdMap::new(),
            deletions: OrdSet::new(),
            history: match part {
                Part::Server => Some(History::default()),
                Part::Shared => None,
            },
            recent: Recent::default(),
            moved: Moved::default(),
            tokens: OrdMap::new(),
            passwords: OrdMap::new(),
            secrets: OrdMap::new(),
            staging: None,
        }
    }

    /// The log position of the last entry in this state.
    pub fn applied(&self) -> Applied {
        self.applied
    }

    /// Cluster time at the last command.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// How many commands have changed anything.
    pub fn index(&self) -> Index {
        self.index
    }

    /// The key space's revision as etcd counts it.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Who the cluster is, and its settings.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether there is a cluster yet.
    pub fn is_founded(&self) -> bool {
        self.identity.cluster != 0
    }

    /// All members in order of their ids.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members.values()
    }

    /// The member with that id.
    pub fn member(&self, id: NodeId) -> Option<&Arc<Member>> {
        self.members.get(&id)
    }

    /// The member of that name, whatever its case.
    pub fn member_named(&self, name: &str) -> Option<&Arc<Member>> {
        self.members.values().find(|m| m.name.as_str().eq_ignore_ascii_case(name))
    }

    /// The lease, if it was granted and has not ended.
    pub fn lease(&self, id: LeaseId) -> Option<&LeaseRow> {
        self.leases.get(&id)
    }

    /// All leases in order of their ids: with their TTLs, what the leader keeps deadlines for.
    pub fn leases(&self) -> impl Iterator<Item = &LeaseRow> {
        self.leases.values()
    }

    /// The keys that go when the lease ends, in order.
    pub fn lease_keys(&self, id: LeaseId) -> impl Iterator<Item = &Key> {
        self.lease_keys.get(&id).into_iter().flat_map(|keys| keys.iter())
    }

    /// The join token, if there is one and this is a server's state.
    pub fn token(&self, id: TokenId) -> Option<&TokenRow> {
        self.tokens.get(&id)
    }

    /// All join tokens in order of their ids; none on an edge.
    pub fn tokens(&self) -> impl Iterator<Item = &TokenRow> {
        self.tokens.values()
    }

    /// Users and roles, and whether they count.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Tokens, policies and roles of Consul's kind, and whether they count.
    pub fn acl(&self) -> &Acl {
        &self.acl
    }

    /// The secret of a token, if this is a server's state.
    pub fn secret(&self, accessor: AclId) -> Option<&Sealed> {
        self.secrets.get(&accessor)
    }

    /// What a user's password is held against, if it has one and this is a server's state.
    pub fn password(&self, user: &str) -> Option<&PasswordHash> {
        self.passwords.get(user)
    }

    /// A bit turns over in memory.
    #[cfg(test)]
    pub fn corrupt(&mut self, key: &[u8]) {
        if let Some(row) = self.keys.get_mut(key) {
            Arc::make_mut(row).flags ^= 1;
        }
    }

    /// The past of the key space; none on an edge.
    pub fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }
}

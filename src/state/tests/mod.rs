//! The state against a deliberately stupid model, and against itself by other ways.

mod accounts;
mod acl;
mod against_model;
mod commands;
mod compaction;
mod followers;
mod housekeeping;
mod indexes;
mod model;
mod moved;
mod places;
mod queries;
mod quota;
mod restore;
mod sequence;
mod sessions;
mod snapshots;
mod table;
mod tokens;
mod txn;

use std::sync::Arc;

use crate::model::{Applied, Digest, LeaseId, NodeName, Role, Stamp, TokenId};

use super::{
    Admission, Changes, Command, Founding, KeyRow, Outcome, Part, Proposal, Put, Settings, State,
    TokenDef, Trust,
};
use model::Write;
use table::Version;

/// A state with everything that it was told.
struct Told {
    state: State,
    entries: Vec<Changes>,
}

impl Told {
    fn founded() -> Told {
        let mut told = Told { state: State::new(Part::Server), entries: Vec::new() };
        let (settings, founder) = (Settings::default(), founder());
        let founding =
            Founding { cluster: 1, lineage: 1, settings, founder, trust: trust(), acl: None };
        told.tell(Stamp(0), Command::Found(founding));
        told
    }

    /// Applies a command as the next entry of term 1.
    fn tell(&mut self, stamp: Stamp, command: Command) -> Outcome {
        let (outcome, changes) = self.decide(stamp, command);
        self.state.absorb(&changes);
        self.entries.push(changes);
        outcome
    }

    fn decide(&self, stamp: Stamp, command: Command) -> (Outcome, Changes) {
        let at = Applied { term: 1, index: self.state.applied().index + 1 };
        self.state.apply(at, &Proposal { stamp, command })
    }
}

/// A cluster that lets nobody in without a token, and knows two from its beginning.
fn trust() -> Trust {
    let token = |id, role| TokenDef { id: TokenId(id), role, public: vec![id as u8; 65].into() };
    let offline = vec![token(1, Role::Server), token(2, Role::Edge)];
    Trust { root: Some(Digest([7; 32])), offline }
}

fn founder() -> Admission {
    Admission {
        name: NodeName::new("n1").unwrap(),
        nonce: 1,
        role: Role::Server,
        peer_addr: ([127, 0, 0, 1], 8300).into(),
        client_urls: Vec::new(),
        version: "1".to_owned(),
        level: 1,
        token: None,
    }
}

fn put(key: &str, value: &str) -> Put {
    Put {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        lease: LeaseId::NONE,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    }
}

fn key_row(version: Version<Write>) -> KeyRow {
    KeyRow {
        value: version.value.value,
        create: version.create as i64,
        modified: version.modified as i64,
        version: version.version,
        lease: version.value.lease,
        flags: version.value.flags,
        lock: version.value.lock.map(Arc::new),
    }
}

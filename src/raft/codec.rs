//! Entries, votes and memberships in bytes of our own, so that openraft may change its types.

use std::collections::BTreeSet;

use bytes::Bytes;
use openraft::{EmptyNode, EntryPayload};
use serde::{Deserialize, Serialize};

use super::types::{Entry, LogId, Logged, Membership, Payload, StoredMembership, Vote};
use super::types::{log_id, position};
use super::wal::Position;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot be read: {1}")]
pub(super) struct CodecError(pub(super) &'static str, pub(super) String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlainVote {
    pub(super) term: u64,
    node: u64,
    committed: bool,
}

impl From<&Vote> for PlainVote {
    fn from(vote: &Vote) -> PlainVote {
        let leader = vote.leader_id();
        PlainVote { term: leader.term, node: leader.voted_for, committed: vote.is_committed() }
    }
}

impl From<PlainVote> for Vote {
    fn from(plain: PlainVote) -> Vote {
        if plain.committed {
            Vote::new_committed(plain.term, plain.node)
        } else {
            Vote::new(plain.term, plain.node)
        }
    }
}

/// A log id as `(term, index)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlainId(u64, u64);

impl From<&LogId> for PlainId {
    fn from(id: &LogId) -> PlainId {
        let Position { index, term } = position(id);
        PlainId(term, index)
    }
}

impl From<PlainId> for LogId {
    fn from(PlainId(term, index): PlainId) -> LogId {
        log_id(Position { index, term })
    }
}

/// The voters, of both sides while they change, and everyone including learners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlainMembership {
    at: Option<PlainId>,
    voters: Vec<BTreeSet<u64>>,
    members: BTreeSet<u64>,
}

impl From<&StoredMembership> for PlainMembership {
    fn from(stored: &StoredMembership) -> PlainMembership {
        let at = stored.log_id().as_ref().map(PlainId::from);
        PlainMembership { at, ..PlainMembership::from(stored.membership()) }
    }
}

impl From<&Membership> for PlainMembership {
    fn from(membership: &Membership) -> PlainMembership {
        PlainMembership {
            at: None,
            voters: membership.get_joint_config().clone(),
            members: membership.nodes().map(|(id, _)| *id).collect(),
        }
    }
}

impl From<PlainMembership> for Membership {
    fn from(plain: PlainMembership) -> Membership {
        let members = plain.members.into_iter().map(|id| (id, EmptyNode::default()));
        let members: std::collections::BTreeMap<_, _> = members.collect();
        Membership::new_with_defaults(plain.voters, members.into_keys())
    }
}

impl From<PlainMembership> for StoredMembership {
    fn from(plain: PlainMembership) -> StoredMembership {
        StoredMembership::new(plain.at.map(LogId::from), plain.into())
    }
}

const BLANK: u8 = 0;
const NORMAL: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// What an entry carries, behind one byte that says what it is.
pub(super) fn encode_payload(payload: &Payload) -> Bytes {
    let (kind, body) = match payload {
        EntryPayload::Blank => (BLANK, Bytes::new()),
        EntryPayload::Normal(logged) => (NORMAL, logged.0.clone()),
        EntryPayload::Membership(membership) => {
            (MEMBERSHIP, encode(&PlainMembership::from(membership)).into())
        }
    };
    let mut bytes = Vec::with_capacity(1 + body.len());
    bytes.push(kind);
    bytes.extend_from_slice(&body);
    bytes.into()
}

pub(super) fn decode_entry(at: Position, bytes: &Bytes) -> Result<Entry, CodecError> {
    let garbled = |why: &str| CodecError("a log entry", format!("entry {}: {why}", at.index));
    let (kind, body) = bytes.split_first().ok_or_else(|| garbled("it is empty"))?;
    let payload = match *kind {
        BLANK => EntryPayload::Blank,
        NORMAL => EntryPayload::Normal(Logged(bytes.slice(1..))),
        MEMBERSHIP => {
            EntryPayload::Membership(decode::<PlainMembership>("a membership", body)?.into())
        }
        other => return Err(garbled(&format!("kind {other} is not known"))),
    };
    Ok(Entry { log_id: log_id(at), payload })
}

pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    match postcard::to_stdvec(value) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("plain data has bytes: {error}"),
    }
}

pub(super) fn decode<'a, T: Deserialize<'a>>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<T, CodecError> {
    postcard::from_bytes(bytes).map_err(|error| CodecError(what, error.to_string()))
}

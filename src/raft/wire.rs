//! What servers say to each other for Raft, and its bytes.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::codec::{self, CodecError, PlainId, PlainVote};
use super::reversion::Held;
use super::types::{LogId, Types, position};
use super::wal::Position;

/// Said first in every message; a change of the messages is a new version.
const VERSION: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    Append(Append),
    Vote(Ballot),
    PreVote(Ballot),
    Chunk(Chunk),
    Transfer(Transfer),
    /// The receiver's log, which it has described so, lacks what the receiver acknowledged.
    Lost(Held),
    /// Would the log take more entries?
    Room,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Response {
    Append(AppendReply, Held),
    Vote(BallotReply, Held),
    Chunk(ChunkReply),
    Transfer(TransferReply),
    Room(bool),
    /// Not handled, and why.
    Failed(String),
    Noted,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Append {
    vote: PlainVote,
    prev: Option<PlainId>,
    /// Position and payload as they lie in the log.
    entries: Vec<(PlainId, Bytes)>,
    commit: Option<PlainId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum AppendReply {
    Success,
    /// The entry before the first one is not the receiver's.
    Conflict,
    HigherVote(PlainVote),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ballot {
    vote: PlainVote,
    last: Option<PlainId>,
    transfer: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BallotReply {
    vote: PlainVote,
    granted: bool,
    last: Option<PlainId>,
}

/// A piece of a snapshot's file. Pieces follow each other; the last one ends at `total`. One of no
/// bytes asks where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chunk {
    pub(super) vote: PlainVote,
    pub(super) parcel: ParcelId,
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
}

/// What a snapshot's file is known by: pieces of one fit onto each other whoever sends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ParcelId {
    /// The last entry in it.
    pub(super) last: Option<PlainId>,
    /// Bytes of the file.
    pub(super) total: u64,
    pub(super) crc: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ChunkReply {
    /// Everything before this offset is durable: go on there.
    More(u64),
    /// All of it was there; the receiver's vote.
    Taken(PlainVote),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Transfer {
    from: PlainVote,
    to: u64,
    last: Option<PlainId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum TransferReply {
    Accepted,
    VoteChanged { expected: PlainVote, actual: PlainVote },
    NotFlushed { expected: Option<PlainId>, actual: Option<PlainId> },
}

pub(super) fn encode<T: Serialize>(message: &T) -> Bytes {
    match postcard::to_extend(message, vec![VERSION]) {
        Ok(bytes) => bytes.into(),
        Err(error) => unreachable!("messages are plain data: {error}"),
    }
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => codec::decode("a message of Raft", rest),
        Some((version, _)) => {
            Err(CodecError("a message of Raft", format!("version {version} is not known")))
        }
        None => Err(CodecError("a message of Raft", "it is empty".to_owned())),
    }
}

fn plain(id: Option<&LogId>) -> Option<PlainId> {
    id.map(PlainId::from)
}

impl From<&AppendEntriesRequest<Types>> for Append {
    fn from(request: &AppendEntriesRequest<Types>) -> Append {
        let entries = request.entries.iter();
        Append {
            vote: PlainVote::from(&request.vote),
            prev: plain(request.prev_log_id.as_ref()),
            entries: entries
                .map(|entry| (PlainId::from(&entry.log_id), codec::encode_payload(&entry.payload)))
                .collect(),
            commit: plain(request.leader_commit.as_ref()),
        }
    }
}

impl Append {
    pub(super) fn has_entries(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Bytes of its entries.
    pub(super) fn size(&self) -> usize {
        self.entries.iter().map(|(_, payload)| payload.len()).sum()
    }
}

impl TryFrom<Append> for AppendEntriesRequest<Types> {
    type Error = CodecError;

    fn try_from(append: Append) -> Result<Self, CodecError> {
        let decoded = append.entries.iter().map(|(id, payload)| {
            let Position { index, term } = position(&LogId::from(*id));
            codec::decode_entry(Position { index, term }, payload)
        });
        Ok(AppendEntriesRequest {
            vote: append.vote.into(),
            prev_log_id: append.prev.map(LogId::from),
            entries: decoded.collect::<Result<_, _>>()?,
            leader_commit: append.commit.map(LogId::from),
        })
    }
}

impl From<AppendEntriesResponse<Types>> for AppendReply {
    fn from(response: AppendEntriesResponse<Types>) -> AppendReply {
        match response {
            // Only a sender's own network layer splits a request; a receiver takes it whole.
            AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_) => {
                AppendReply::Success
            }
            AppendEntriesResponse::Conflict => AppendReply::Conflict,
            AppendEntriesResponse::HigherVote(vote) => {
                AppendReply::HigherVote(PlainVote::from(&vote))
            }
        }
    }
}

impl AppendReply {
    /// What it says of a request that follows `prev` and ends with `last`.
    pub(super) fn of(self, prev: Option<LogId>, last: Option<LogId>) -> StreamAppendResult<Types> {
        match (self, prev) {
            (AppendReply::HigherVote(vote), _) => Err(StreamAppendError::HigherVote(vote.into())),
            (AppendReply::Conflict, Some(prev)) => Err(StreamAppendError::Conflict(prev)),
            // Nothing comes before the first entry, so nothing there can conflict.
            (AppendReply::Conflict, None) => Ok(None),
            (AppendReply::Success, _) => Ok(last),
        }
    }

    pub(super) fn response(self) -> AppendEntriesResponse<Types> {
        match self {
            AppendReply::Success => AppendEntriesResponse::Success,
            AppendReply::Conflict => AppendEntriesResponse::Conflict,
            AppendReply::HigherVote(vote) => AppendEntriesResponse::HigherVote(vote.into()),
        }
    }
}

impl From<&VoteRequest<Types>> for Ballot {
    fn from(request: &VoteRequest<Types>) -> Ballot {
        Ballot {
            vote: PlainVote::from(&request.vote),
            last: plain(request.last_log_id.as_ref()),
            transfer: request.leadership_transfer,
        }
    }
}

impl From<Ballot> for VoteRequest<Types> {
    fn from(ballot: Ballot) -> Self {
        VoteRequest {
            vote: ballot.vote.into(),
            last_log_id: ballot.last.map(LogId::from),
            leadership_transfer: ballot.transfer,
        }
    }
}

impl From<&VoteResponse<Types>> for BallotReply {
    fn from(response: &VoteResponse<Types>) -> BallotReply {
        BallotReply {
            vote: PlainVote::from(&response.vote),
            granted: response.vote_granted,
            last: plain(response.last_log_id.as_ref()),
        }
    }
}

impl BallotReply {
    pub(super) fn is_granted(&self) -> bool {
        self.granted
    }
}

impl From<BallotReply> for VoteResponse<Types> {
    fn from(reply: BallotReply) -> Self {
        VoteResponse {
            vote: reply.vote.into(),
            vote_granted: reply.granted,
            last_log_id: reply.last.map(LogId::from),
        }
    }
}

impl From<&TransferLeaderRequest<Types>> for Transfer {
    fn from(request: &TransferLeaderRequest<Types>) -> Transfer {
        Transfer {
            from: PlainVote::from(request.from_leader()),
            to: *request.to_node_id(),
            last: plain(request.last_log_id()),
        }
    }
}

impl From<Transfer> for TransferLeaderRequest<Types> {
    fn from(transfer: Transfer) -> Self {
        TransferLeaderRequest::new(
            transfer.from.into(),
            transfer.to,
            transfer.last.map(LogId::from),
        )
    }
}

impl From<TransferLeaderResponse<Types>> for TransferReply {
    fn from(response: TransferLeaderResponse<Types>) -> TransferReply {
        match response {
            Ok(()) => TransferReply::Accepted,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                let (expected, actual) = (PlainVote::from(&expected), PlainVote::from(&actual));
                TransferReply::VoteChanged { expected, actual }
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                let (expected, actual) = (plain(expected.as_ref()), plain(actual.as_ref()));
                TransferReply::NotFlushed { expected, actual }
            }
        }
    }
}

impl From<TransferReply> for TransferLeaderResponse<Types> {
    fn from(reply: TransferReply) -> Self {
        match reply {
            TransferReply::Accepted => Ok(()),
            TransferReply::VoteChanged { expected, actual } => {
                let (expected, actual) = (expected.into(), actual.into());
                Err(TransferLeaderError::VoteChanged { expected, actual })
            }
            TransferReply::NotFlushed { expected, actual } => {
                let (expected, actual) = (expected.map(LogId::from), actual.map(LogId::from));
                Err(TransferLeaderError::LogNotFlushed { expected, actual })
            }
        }
    }
}

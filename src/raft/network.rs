//! How openraft reaches other servers: typed calls over a transport of bytes, appends in flight.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt, future, pin_mut, stream};
use openraft::base::BoxStream;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use tokio::time::timeout;

use crate::lifecycle::aside;
use crate::model::NodeId;
use crate::net::peer::{CallError, Purpose};

use super::codec::PlainVote;
use super::machine::Parcel;
use super::reversion::{Acknowledged, Held};
use super::shelf::Kept;
use super::types::{Snapshot, Types, Vote};
use super::wire::{self, AppendReply, Ballot, Chunk, ChunkReply, Request, Response};

/// Appends on their way to one server.
const APPENDS_IN_FLIGHT: usize = 32;
/// An append is answered after the receiver's disk has it; a slow disk is no dead peer.
const APPEND_TIMEOUT: Duration = Duration::from_secs(3);
/// The last piece of a snapshot is answered after the receiver has taken it in.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a server may take to hear that it has lost its log.
const NOTICE_TIMEOUT: Duration = Duration::from_millis(500);

/// Carries bytes to another server. Calls to one server for one purpose arrive in the order in
/// which `call` was called, whenever the futures are polled.
pub trait Transport: Send + Sync + 'static {
    fn call(
        &self,
        to: NodeId,
        purpose: Purpose,
        body: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>>;
}

pub(super) struct Network {
    transport: Arc<dyn Transport>,
    acknowledged: Arc<Acknowledged>,
    /// Bytes of a snapshot that are sent at once.
    piece: usize,
}

impl Network {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        acknowledged: Arc<Acknowledged>,
        piece: usize,
    ) -> Network {
        Network { transport, acknowledged, piece }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _: &EmptyNode) -> Peer {
        let (transport, acknowledged) = (self.transport.clone(), self.acknowledged.clone());
        Peer { target, transport, acknowledged, piece: self.piece }
    }
}

/// One other server.
pub(super) struct Peer {
    target: u64,
    transport: Arc<dyn Transport>,
    acknowledged: Arc<Acknowledged>,
    piece: usize,
}

impl Peer {
    /// Queues a request before it returns; the future is its answer.
    fn call(
        &self,
        purpose: Purpose,
        request: &Request,
        within: Duration,
    ) -> impl Future<Output = Result<Response, RPCError<Types>>> + Send + use<> {
        call(&*self.transport, NodeId(self.target), purpose, request, within)
    }

    /// The answer is of another kind than the question.
    fn odd<T>(&self) -> Result<T, RPCError<Types>> {
        let why = format!("server {} gave an answer to another question", self.target);
        Err(RPCError::Unreachable(Unreachable::from_string(why)))
    }

    async fn ballot(
        &self,
        request: Request,
        option: &RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let check = self.check(self.acknowledged.required_always(self.target));
        match self.call(Purpose::Raft, &request, option.soft_ttl()).await? {
            Response::Vote(reply, held) if reply.is_granted() => {
                check.pass(held).await?;
                Ok(reply.into())
            }
            Response::Vote(reply, _) => Ok(reply.into()),
            _ => self.odd(),
        }
    }

    fn append(
        &self,
        request: &AppendEntriesRequest<Types>,
    ) -> impl Future<Output = Result<AppendReply, RPCError<Types>>> + Send + use<> {
        let last = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        let term = request.vote.leader_id().term;
        let committed = request.leader_commit.map_or(0, |commit| commit.index + 1);
        let check = self.check(self.acknowledged.required(term, self.target));
        let request = Request::Append(request.into());
        let answer = self.call(Purpose::Raft, &request, APPEND_TIMEOUT);
        let (odd, target, acknowledged) = (self.odd(), self.target, self.acknowledged.clone());
        async move {
            let Response::Append(reply, held) = answer.await? else { return odd };
            if matches!(reply, AppendReply::HigherVote(_)) {
                // It follows another leader by now, who may have cut off what this one knows of.
                return Ok(reply);
            }
            check.pass(held).await?;
            if let (AppendReply::Success, Some(last)) = (&reply, last) {
                let has = Held { next: last.index + 1, ..held };
                acknowledged.note(term, target, has, committed);
            }
            Ok(reply)
        }
    }

    /// What an answer to what is asked next is held against.
    fn check(&self, required: Option<Held>) -> Check {
        let (target, transport) = (self.target, self.transport.clone());
        Check { target, required, transport, acknowledged: self.acknowledged.clone() }
    }

    /// Asks how much of it is there already, and sends the rest.
    async fn send_snapshot(
        &self,
        vote: &Vote,
        kept: &Arc<Kept>,
    ) -> Result<SnapshotResponse<Types>, RPCError<Types>> {
        let (vote, parcel) = (PlainVote::from(vote), kept.id());
        let (mut offset, mut bytes) = (0, Bytes::new());
        loop {
            let asked = bytes.is_empty();
            let chunk = Request::Chunk(Chunk { vote, parcel, offset, bytes });
            let answer = self.call(Purpose::Snapshot, &chunk, CHUNK_TIMEOUT).await?;
            offset = match answer {
                Response::Chunk(ChunkReply::Taken(theirs)) => {
                    return Ok(SnapshotResponse::new(theirs.into()));
                }
                // One that took nothing will take nothing the next time either.
                Response::Chunk(ChunkReply::More(next)) if asked || next > offset => next,
                _ => return self.odd(),
            };
            let (file, len) = (kept.clone(), self.piece);
            let read = aside(move || file.piece(offset, len)).await.flatten();
            bytes = read.map_err(|error| RPCError::Network(NetworkError::new(&error)))?.into();
        }
    }
}

/// Keeps the answers of a server that has lost its log from openraft, which would stop over them
/// in a debug build and believe them in a release build.
struct Check {
    target: u64,
    required: Option<Held>,
    transport: Arc<dyn Transport>,
    acknowledged: Arc<Acknowledged>,
}

impl Check {
    async fn pass(self, held: Held) -> Result<(), RPCError<Types>> {
        if !self.acknowledged.is_lost(self.target, self.required, held) {
            return Ok(());
        }
        // It cannot know by itself; it is told as long as it is spoken to.
        let (to, notice) = (NodeId(self.target), Request::Lost(held));
        let _ = call(&*self.transport, to, Purpose::Raft, &notice, NOTICE_TIMEOUT).await;
        let why = format!("server {to} has lost its log");
        Err(RPCError::Unreachable(Unreachable::from_string(why)))
    }
}

/// Queues a request before it returns; the future is its answer.
fn call(
    transport: &dyn Transport,
    to: NodeId,
    purpose: Purpose,
    request: &Request,
    within: Duration,
) -> impl Future<Output = Result<Response, RPCError<Types>>> + Send + use<> {
    let answer = transport.call(to, purpose, wire::encode(request), within);
    async move {
        let answer = answer.await.map_err(|error| match error {
            CallError::NotSent(why) => RPCError::Unreachable(Unreachable::from_string(why)),
            CallError::Lost(why) => RPCError::Network(NetworkError::from_string(why)),
        })?;
        match wire::decode(&answer) {
            Ok(Response::Failed(why)) => {
                let why = format!("server {to}: {why}");
                Err(RPCError::Unreachable(Unreachable::from_string(why)))
            }
            Ok(response) => Ok(response),
            Err(error) => Err(RPCError::Unreachable(Unreachable::new(&error))),
        }
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Parcel;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let answer = timeout(option.soft_ttl(), self.append(&request)).await;
        let late = |_| RPCError::Network(NetworkError::from_string("no answer in time"));
        Ok(answer.map_err(late)??.response())
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _: RPCOption,
    ) -> BoxFuture<'s, Result<AppendResults<'s>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        // Requests are queued in the order in which they come, answers are given in that order.
        let answers = input.map(|request| {
            let prev = request.prev_log_id;
            let last = request.entries.last().map(|entry| entry.log_id).or(prev);
            let answer = self.append(&request);
            async move { Ok(answer.await?.of(prev, last)) }
        });
        let answers = answers.buffered(APPENDS_IN_FLIGHT);
        // After the first that did not succeed, those behind it mean nothing.
        let ending = stream::unfold(Some(Box::pin(answers)), |answers| async move {
            let mut answers = answers?;
            let answer = answers.next().await?;
            let goes_on = matches!(answer, Ok(Ok(_)));
            Some((answer, goes_on.then_some(answers)))
        });
        let ending: AppendResults<'s> = Box::pin(ending);
        Box::pin(future::ready(Ok(ending)))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ballot(Request::Vote(Ballot::from(&request)), &option).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ballot(Request::PreVote(Ballot::from(&request)), &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let Parcel::Kept(kept) = snapshot.snapshot else {
            let why = "only a snapshot in its file can be sent";
            return Err(StreamingError::from(RPCError::Network(NetworkError::from_string(why))));
        };
        let sent = self.send_snapshot(&vote, &kept);
        pin_mut!(sent, cancel);
        match future::select(sent, cancel).await {
            future::Either::Left((result, _)) => result.map_err(StreamingError::from),
            future::Either::Right((closed, _)) => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let within = option.soft_ttl();
        let answer = self.call(Purpose::Raft, &Request::Transfer((&request).into()), within);
        match answer.await? {
            Response::Transfer(reply) => Ok(reply.into()),
            _ => self.odd(),
        }
    }
}

type AppendResults<'s> = BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>;

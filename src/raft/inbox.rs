//! Answers what other servers ask of this one.

use std::future::Future;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use tokio::sync::{Mutex, watch};

use crate::lifecycle::aside;

use super::codec::PlainVote;
use super::log_store::LogStore;
use super::machine::{Machine, Parcel};
use super::open::Opened;
use super::reversion::Held;
use super::shelf::Shelf;
use super::types::{Snapshot, Types};
use super::wal::Pressure;
use super::wire::{self, Append, Chunk, ChunkReply, Request, Response};

type Core = openraft::Raft<Types, Machine>;

#[derive(Clone)]
pub(super) struct Inbox {
    core: Core,
    shelf: Shelf,
    pressure: Arc<Pressure>,
    log: LogStore,
    incarnation: u64,
    /// Another server says that this one's log lacks what this one acknowledged.
    lost: Arc<watch::Sender<bool>>,
    /// Pieces are taken one after the other, whoever sends them.
    receiving: Arc<Mutex<()>>,
}

impl Inbox {
    pub(super) fn new(core: Core, opened: Opened) -> Inbox {
        let Opened { incarnation, log, pressure, snapshots: shelf } = opened;
        let lost = Arc::new(watch::Sender::new(false));
        Inbox { core, shelf, pressure, log, incarnation, lost, receiving: Arc::default() }
    }

    pub(super) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    pub(super) fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    /// How this server describes its log in an answer.
    fn held(&self) -> Held {
        Held { incarnation: self.incarnation, next: self.log.next() }
    }

    /// True once another server has found that this one has lost its log.
    pub(super) fn lost(&self) -> watch::Receiver<bool> {
        self.lost.subscribe()
    }

    /// The future is to be polled once before the next message of the same sender is looked at:
    /// that is what keeps appends in order.
    pub(super) fn handle(&self, body: &Bytes) -> impl Future<Output = Bytes> + Send + use<> {
        let request = wire::decode::<Request>(body);
        let inbox = self.clone();
        async move {
            let answer = match request {
                Ok(request) => inbox.answer(request).await,
                Err(error) => Err(error.to_string()),
            };
            wire::encode(&answer.unwrap_or_else(Response::Failed))
        }
    }

    async fn answer(&self, request: Request) -> Result<Response, String> {
        match request {
            Request::Append(append) => self.append(append).await,
            Request::Vote(ballot) => {
                let reply = self.core.vote(ballot.into()).await.map_err(text)?;
                Ok(Response::Vote((&reply).into(), self.held()))
            }
            Request::PreVote(ballot) => {
                let reply = self.core.pre_vote(ballot.into()).await.map_err(text)?;
                Ok(Response::Vote((&reply).into(), self.held()))
            }
            Request::Chunk(chunk) => self.chunk(chunk).await,
            Request::Transfer(transfer) => {
                let reply = self.core.handle_transfer_leader(transfer.into()).await;
                Ok(Response::Transfer(reply.map_err(text)?.into()))
            }
            Request::Lost(log) => {
                if log.incarnation == self.incarnation {
                    self.lost.send_replace(true);
                }
                Ok(Response::Noted)
            }
            Request::Room => Ok(Response::Room(!self.pressure.is_short())),
        }
    }

    async fn append(&self, append: Append) -> Result<Response, String> {
        // openraft stops for good when an append fails, so it does not get to see one that would.
        if append.has_entries() && self.pressure.refuses(append.size()) {
            return Err(FULL.to_owned());
        }
        let request: AppendEntriesRequest<Types> = append.try_into().map_err(text)?;
        let term = request.vote.leader_id().term;
        let response = self.core.append_entries(request).await.map_err(text)?;
        let held = match response {
            AppendEntriesResponse::HigherVote(_) => self.held(),
            _ => {
                let next = self.log.next_in(term).ok_or("another leader has taken over")?;
                Held { next, ..self.held() }
            }
        };
        Ok(Response::Append(response.into(), held))
    }

    async fn chunk(&self, chunk: Chunk) -> Result<Response, String> {
        let _turn = self.receiving.lock().await;
        let Chunk { vote, parcel, offset, bytes } = chunk;
        if self.pressure.is_short() {
            // What came so far would be in the way of the log.
            self.shelf.forget(&parcel);
            return Err(FULL.to_owned());
        }
        let shelf = self.shelf.clone();
        let received = blocking(move || shelf.receive(&parcel, vote.term, offset, &bytes)).await?;
        if received < parcel.total {
            return Ok(Response::Chunk(ChunkReply::More(received)));
        }
        // Read before openraft sees it, which stops for good where that fails.
        let shelf = self.shelf.clone();
        let (meta, state) = blocking(move || shelf.unpack(&parcel)).await?;
        let snapshot = Snapshot { meta, snapshot: Parcel::Arrived(parcel, Box::new(state)) };
        let answer = self.core.install_full_snapshot(vote.into(), snapshot).await;
        self.shelf.forget(&parcel);
        Ok(Response::Chunk(ChunkReply::Taken(PlainVote::from(&answer.map_err(text)?.vote))))
    }
}

/// What is said of anything that would need room on the disk.
const FULL: &str = "the disk is full";

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, String> {
    aside(work).await.map_err(text)?.map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

//! Answers what other servers ask of this one.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use tokio::sync::watch;

use crate::lifecycle::aside;
use crate::model::limits;

use super::codec::PlainVote;
use super::log_store::LogStore;
use super::machine::Machine;
use super::open::Opened;
use super::reversion::Held;
use super::snapshot::{self, SnapshotStore};
use super::types::{Snapshot, Types};
use super::wal::Pressure;
use super::wire::{self, Append, Chunk, Request, Response};

type Core = openraft::Raft<Types, Machine>;

/// A snapshot that is coming in.
#[derive(Default)]
struct Incoming {
    sending: u64,
    bytes: Vec<u8>,
}

#[derive(Clone)]
pub(super) struct Inbox {
    core: Core,
    store: SnapshotStore,
    pressure: Arc<Pressure>,
    log: LogStore,
    incarnation: u64,
    /// Another server says that this one's log lacks what this one acknowledged.
    lost: Arc<watch::Sender<bool>>,
    incoming: Arc<Mutex<Incoming>>,
}

impl Inbox {
    pub(super) fn new(core: Core, opened: Opened) -> Inbox {
        let Opened { incarnation, log, pressure, snapshots: store } = opened;
        let lost = Arc::new(watch::Sender::new(false));
        Inbox { core, store, pressure, log, incarnation, lost, incoming: Arc::default() }
    }

    pub(super) fn snapshots(&self) -> &SnapshotStore {
        &self.store
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
        }
    }

    async fn append(&self, append: Append) -> Result<Response, String> {
        // openraft stops for good when an append fails, so it does not get to see one that would.
        if append.has_entries() && self.pressure.is_full() {
            return Err("the disk is full".to_owned());
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
        let vote = chunk.vote;
        let Some(bytes) = self.gather(chunk)? else { return Ok(Response::Chunk(vote)) };
        // Read and written before openraft sees it, which stops for good where that fails.
        let (store, staged) = (self.store.clone(), bytes.clone());
        let checked = aside(move || {
            let (meta, _) = snapshot::decode(&staged)?;
            store.stage(&meta, &staged)?;
            Ok::<_, std::io::Error>(meta)
        });
        let meta = checked.await.map_err(text)?.map_err(text)?;
        let snapshot = Snapshot { meta, snapshot: bytes };
        let answer = self.core.install_full_snapshot(vote.into(), snapshot).await;
        Ok(Response::Chunk(PlainVote::from(&answer.map_err(text)?.vote)))
    }

    /// Adds a piece; the whole once it is there.
    fn gather(&self, chunk: Chunk) -> Result<Option<Bytes>, String> {
        if chunk.total > limits::SNAPSHOT as u64 {
            return Err(format!("a snapshot of {} bytes is too large", chunk.total));
        }
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        if chunk.offset == 0 {
            *incoming = Incoming { sending: chunk.sending, bytes: Vec::new() };
        }
        let at = incoming.bytes.len() as u64;
        if incoming.sending != chunk.sending || at != chunk.offset {
            return Err(format!("a snapshot's piece at {} does not follow {at}", chunk.offset));
        }
        let end = at + chunk.bytes.len() as u64;
        if end > chunk.total {
            return Err(format!("a snapshot's piece ends at {end}, after {}", chunk.total));
        }
        incoming.bytes.extend_from_slice(&chunk.bytes);
        let whole = end == chunk.total;
        Ok(whole.then(|| std::mem::take(&mut incoming.bytes).into()))
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

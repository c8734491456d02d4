//! openraft's state machine over the replica's writer: apply in order, publish once, then answer.

use std::io;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use tokio::time::Instant;

use crate::replica::Writer;
use crate::state::State;
use crate::telemetry::{Counter, Metrics};

use super::ceiling::Ceiling;
use super::clock::ClusterClock;
use super::shelf::{Kept, Shelf};
use super::types::{
    Entry, LogId, Membership, Reply, Snapshot, SnapshotMeta, StoredMembership, Types, applied,
};
use super::wire::ParcelId;

/// A snapshot as openraft hands it about.
pub(super) enum Parcel {
    /// This server's own, in its file.
    Kept(Arc<Kept>),
    /// It came from the leader and was read; its file is durable under a passing name.
    Arrived(ParcelId, Box<State>),
}

pub(super) struct Machine {
    writer: Writer,
    last: Option<LogId>,
    membership: StoredMembership,
    shelf: Shelf,
    clock: Arc<ClusterClock>,
    installed: Counter,
    ceiling: Arc<Ceiling>,
}

impl Machine {
    pub(super) fn new(
        writer: Writer,
        shelf: Shelf,
        clock: Arc<ClusterClock>,
        metrics: &Metrics,
        ceiling: Arc<Ceiling>,
    ) -> Machine {
        let installed = metrics.register(
            "raft_snapshots_installed",
            "Snapshots taken over from the leader",
            Counter::default(),
        );
        let membership = StoredMembership::default();
        Machine { writer, last: None, membership, shelf, clock, installed, ceiling }
    }

    #[cfg(test)]
    pub(super) fn corrupt(&mut self, key: &[u8]) {
        self.writer.corrupt(key);
    }

    /// Everything that a snapshot of this moment is of.
    pub(super) fn view(&self) -> (SnapshotMeta, State) {
        let meta =
            SnapshotMeta { last_log_id: self.last, last_membership: self.membership.clone() };
        (meta, self.writer.state().clone())
    }

    fn apply_entry(&mut self, entry: &Entry) -> io::Result<Reply> {
        let at = applied(&entry.log_id);
        let reply = match &entry.payload {
            EntryPayload::Normal(logged) => {
                let proposal = logged.decode().map_err(|error| {
                    let why = format!("entry {} of the log cannot be read: {error}", at.index);
                    io::Error::new(io::ErrorKind::InvalidData, why)
                })?;
                let outcome = self.writer.apply(at, &proposal);
                self.ceiling.check(self.writer.state())?;
                Reply(Some(outcome))
            }
            EntryPayload::Blank => {
                self.writer.blank(at);
                Reply(None)
            }
            EntryPayload::Membership(membership) => {
                self.writer.blank(at);
                self.take_membership(entry.log_id, membership);
                Reply(None)
            }
        };
        self.last = Some(entry.log_id);
        self.clock.note(at.term, self.writer.state().stamp(), Instant::now());
        Ok(reply)
    }

    fn take_membership(&mut self, at: LogId, membership: &Membership) {
        self.membership = StoredMembership::new(Some(at), membership.clone());
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Parcel;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut answers = Vec::new();
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let reply = self.apply_entry(&entry)?;
            answers.extend(responder.map(|responder| (responder, reply)));
        }
        // Whoever is answered finds the outcome in the state.
        self.writer.publish();
        for (responder, reply) in answers {
            responder.send(reply);
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        if force {
            return Some(self.get_snapshot_builder().await);
        }
        // Built beforehand, where a full disk is no reason to stop (`retention`).
        self.shelf.newest().map(Builder::Built)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let (meta, state) = self.view();
        Builder::Build(self.shelf.clone(), meta, Box::new(state))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        parcel: Parcel,
    ) -> Result<(), io::Error> {
        let state = match parcel {
            Parcel::Kept(kept) => {
                let state = kept.read()?;
                self.ceiling.check(&state)?;
                self.shelf.save(meta, &state)?;
                state
            }
            Parcel::Arrived(id, state) => {
                self.ceiling.check(&state)?;
                self.shelf.adopt(&id, meta)?;
                *state
            }
        };
        self.last = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.writer.install(state);
        self.installed.inc();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let newest = self.shelf.newest();
        Ok(newest.map(|kept| Snapshot { meta: kept.meta.clone(), snapshot: Parcel::Kept(kept) }))
    }
}

/// Hands openraft a snapshot.
pub(super) enum Builder {
    Built(Arc<Kept>),
    Build(Shelf, SnapshotMeta, Box<State>),
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Parcel;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let kept = match self {
            Builder::Built(kept) => kept.clone(),
            Builder::Build(shelf, meta, state) => {
                shelf.save(meta, state)?;
                shelf.newest().ok_or_else(|| io::Error::other("no snapshot was kept"))?
            }
        };
        Ok(Snapshot { meta: kept.meta.clone(), snapshot: Parcel::Kept(kept) })
    }
}

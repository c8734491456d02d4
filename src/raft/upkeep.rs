//! Upkeep in the background: snapshots when they are due, another leader where the disk is full.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::lifecycle::aside;
use crate::model::NodeId;
use crate::net::peer::Purpose;
use crate::telemetry::Gauge;

use super::config::LogSizes;
use super::log_store::LogStore;
use super::network::Transport;
use super::node::Core;
use super::retention::snapshot_due;
use super::shelf::Shelf;
use super::status::Status;
use super::wal::Pressure;
use super::wire::{self, Request, Response};

/// How often it is asked what is due.
const PACE: Duration = Duration::from_secs(1);
/// How long what failed rests.
const REST: Duration = Duration::from_secs(5);

/// Takes snapshots when the log has grown enough, purges, and steps aside where it cannot grow.
pub(super) struct Upkeep {
    pub(super) core: Core,
    pub(super) shelf: Shelf,
    pub(super) log: LogStore,
    pub(super) pressure: Arc<Pressure>,
    pub(super) status: watch::Receiver<Status>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) sizes: LogSizes,
    /// 1 while the disk has no room for the next segment.
    pub(super) short: Gauge,
}

impl Upkeep {
    pub(super) fn spawn(self) {
        let mut server = self.core.server_metrics();
        tokio::spawn(async move {
            let mut taken_at = 0;
            let mut rested = Instant::now();
            loop {
                tokio::select! {
                    () = sleep(PACE) => {}
                    changed = server.changed() => if changed.is_err() { return },
                }
                self.short.set(i64::from(self.pressure.is_short()));
                if Instant::now() < rested {
                    continue;
                }
                if self.pressure.is_short() && self.step_aside().await {
                    rested = Instant::now() + REST;
                }
                if let Err(error) = self.snapshot(&mut taken_at).await {
                    tracing::warn!(%error, "a snapshot could not be taken");
                    rested = Instant::now() + REST;
                }
                self.purge().await;
            }
        });
    }

    async fn snapshot(&self, taken_at: &mut u64) -> Result<(), String> {
        let written = self.pressure.written();
        let last = self.shelf.newest().map_or(0, |newest| newest.sum.bytes);
        let grown = written - *taken_at;
        if snapshot_due(grown, last, self.sizes.snapshot_bytes, self.shelf.is_sending()) {
            take_snapshot(&self.core, &self.shelf).await?;
            *taken_at = written;
        }
        Ok(())
    }

    /// openraft keeps a number of entries before a snapshot for those who lag; large ones are
    /// bounded in bytes here.
    async fn purge(&self) {
        let newest = self.shelf.newest().and_then(|newest| newest.meta.last_log_id);
        let Some(newest) = newest else { return };
        if let Some(upto) = self.log.excess(newest.index, self.sizes.keep_bytes) {
            // It fails only where openraft has ended.
            let _ = self.core.trigger().purge_log(upto).await;
        }
    }

    /// A leader whose disk is full would refuse every write, though others could take them: it
    /// asks one that has room. True if somebody was asked to lead.
    async fn step_aside(&self) -> bool {
        let heirs = self.status.borrow().heirs();
        for heir in heirs {
            if self.has_room(heir).await {
                tracing::warn!(%heir, "the disk is full: another server is asked to lead");
                // It fails only where openraft has ended.
                let _ = self.core.trigger().transfer_leader(heir.0).await;
                return true;
            }
        }
        false
    }

    async fn has_room(&self, server: NodeId) -> bool {
        let ask = wire::encode(&Request::Room);
        let answer = self.transport.call(server, Purpose::Raft, ask, PACE).await;
        matches!(answer.map(|answer| wire::decode(&answer)), Ok(Ok(Response::Room(true))))
    }
}

/// Writes a snapshot of the present state and tells openraft, which then purges the log before it.
/// Written before openraft hears of it, as openraft stops for good where building one fails.
pub(super) async fn take_snapshot(core: &Core, shelf: &Shelf) -> Result<(), String> {
    let view = core.with_state_machine(|machine| Box::pin(std::future::ready(machine.view())));
    let (meta, state) = view.await.map_err(|fatal| fatal.to_string())?;
    let newest = shelf.newest().and_then(|newest| newest.meta.last_log_id);
    if meta.last_log_id <= newest {
        return Ok(());
    }
    let shelf = shelf.clone();
    let written = aside(move || shelf.save(&meta, &state));
    written.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    core.trigger().snapshot().await.map_err(|fatal| fatal.to_string())
}

//! Upkeep in the background: snapshots when they are due, another leader where the disk is full.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::lifecycle::aside;

use super::node::Core;
use super::retention::snapshot_due;
use super::snapshot::{self, SnapshotStore};
use super::status::Status;
use super::wal::Pressure;

/// How often it is asked what is due, and how long what failed rests.
const PACE: Duration = Duration::from_secs(1);

/// Takes snapshots when the log has grown enough, and steps aside where it cannot grow.
pub(super) struct Upkeep {
    pub(super) core: Core,
    pub(super) store: SnapshotStore,
    pub(super) pressure: Arc<Pressure>,
    pub(super) status: watch::Receiver<Status>,
    /// Bytes of log below which no snapshot is due.
    pub(super) floor: u64,
}

impl Upkeep {
    /// A leader whose disk is full would refuse every write, though others could take them.
    async fn step_aside(&self) {
        if !self.pressure.is_full() {
            return;
        }
        let heir = self.status.borrow().heir();
        if let Some(heir) = heir {
            tracing::warn!(%heir, "the disk is full: another server is asked to lead");
            // It fails only where openraft has ended.
            let _ = self.core.trigger().transfer_leader(heir.0).await;
        }
    }

    pub(super) fn spawn(self) {
        let mut server = self.core.server_metrics();
        tokio::spawn(async move {
            let mut taken_at = 0;
            loop {
                tokio::select! {
                    () = sleep(PACE) => {}
                    changed = server.changed() => if changed.is_err() { return },
                }
                self.step_aside().await;
                let written = self.pressure.written();
                let last = self.store.newest().map_or(0, |newest| newest.bytes);
                if !snapshot_due(written - taken_at, last, self.floor) {
                    continue;
                }
                match take_snapshot(&self.core, &self.store).await {
                    Ok(()) => taken_at = written,
                    Err(error) => tracing::warn!(%error, "a snapshot could not be taken"),
                }
            }
        });
    }
}

/// Writes a snapshot of the present state and tells openraft, which then purges the log before it.
/// Written before openraft hears of it, as openraft stops for good where building one fails.
pub(super) async fn take_snapshot(core: &Core, store: &SnapshotStore) -> Result<(), String> {
    let view = core.with_state_machine(|machine| Box::pin(std::future::ready(machine.view())));
    let (meta, state) = view.await.map_err(|fatal| fatal.to_string())?;
    let newest = store.newest().and_then(|newest| newest.meta.last_log_id);
    if meta.last_log_id <= newest {
        return Ok(());
    }
    let store = store.clone();
    let written = aside(move || {
        let bytes = snapshot::encode(&meta, &state)?;
        store.save(&meta, &bytes)
    });
    written.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    core.trigger().snapshot().await.map_err(|fatal| fatal.to_string())
}

//! The connections that are open, so that those of agents that belong here no more can be cut.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::Peer;

/// Cheap to clone; all clones are the same register.
#[derive(Clone, Default)]
pub(super) struct Register {
    rows: Arc<Mutex<Rows>>,
}

#[derive(Default)]
struct Rows {
    next: u64,
    open: BTreeMap<u64, (Peer, CancellationToken)>,
}

/// Leave to go on talking; in the register until it is dropped.
pub(super) struct Pass {
    register: Register,
    row: u64,
    cut: CancellationToken,
}

impl Register {
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stranger's connection cannot be recalled: there is nobody whom it could belong to.
    pub fn enter(&self, peer: Option<Peer>) -> Pass {
        let cut = CancellationToken::new();
        let mut rows = self.lock();
        rows.next += 1;
        let row = rows.next;
        if let Some(peer) = peer {
            rows.open.insert(row, (peer, cut.clone()));
        }
        drop(rows);
        Pass { register: self.clone(), row, cut }
    }

    /// Cuts the connections of everyone about whom `knows` has something to say.
    pub fn recheck(&self, knows: impl Fn(Peer) -> Result<(), String>) {
        let open: Vec<(Peer, CancellationToken)> = self.lock().open.values().cloned().collect();
        for (peer, cut) in open {
            if let Err(why) = knows(peer) {
                tracing::info!(id = %peer.id, role = peer.role.as_str(), why, "connection cut");
                cut.cancel();
            }
        }
    }
}

impl Pass {
    /// Returns once the other side has lost its place here.
    pub async fn revoked(&self) -> io::Error {
        self.cut.cancelled().await;
        revoked()
    }
}

fn revoked() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "the other side belongs here no more")
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.register.lock().open.remove(&self.row);
    }
}

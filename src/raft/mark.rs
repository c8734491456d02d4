//! What a server writes down about its log outside of it, so that a log that was lost shows.

use std::fmt;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Kept beside the log by whoever opens it, and shown at the next open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogMark {
    /// Drawn when the log was made: tells it from any other log of this server.
    pub incarnation: u64,
    /// The index that the log has reached and can never fall behind again. 0: none is known.
    pub floor: u64,
}

/// Makes a mark durable. Called when the log is made, with its first entries, and with each new
/// segment, before what was written is acknowledged; never at once from two threads.
#[derive(Clone)]
pub struct Marker(pub Arc<dyn Fn(LogMark) -> io::Result<()> + Send + Sync>);

impl Default for Marker {
    /// Writes nothing down: a log that is lost does not show.
    fn default() -> Marker {
        Marker(Arc::new(|_| Ok(())))
    }
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marker").finish_non_exhaustive()
    }
}

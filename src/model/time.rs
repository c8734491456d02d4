//! Cluster time: what durations are counted in, never a wall clock.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds of cluster time since the cluster was founded. It stands still without a leader.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The moment `duration` later.
    pub fn plus(self, duration: Duration) -> Stamp {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Stamp(self.0.saturating_add(ms))
    }

    /// The time since `earlier`; zero if that is later.
    pub fn since(self, earlier: Stamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

//! How long a request without a leader is held before it fails.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What Consul's clients are used to.
pub const LEADER_HOLD: Duration = Duration::from_secs(7);
const PAUSE: Duration = Duration::from_millis(100);

/// Attempts that found no leader, of which nothing was appended, may be made again until it ends.
pub struct Patience {
    pub deadline: Instant,
}

impl Patience {
    pub fn of(hold: Duration) -> Patience {
        Patience { deadline: Instant::now() + hold }
    }

    /// Waits for the next attempt; false where the time is over, or there was a leader.
    pub async fn again(&self, no_leader: bool) -> bool {
        if !no_leader || Instant::now() + PAUSE >= self.deadline {
            return false;
        }
        sleep(PAUSE).await;
        true
    }
}

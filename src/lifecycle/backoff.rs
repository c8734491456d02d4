//! How long to wait before the next try: doubling, with full jitter, bounded.

use std::time::Duration;

use super::chance;

/// Waits are drawn from `[delay / 2, delay]`; `delay` doubles with every failure up to `most`.
#[derive(Debug, Clone)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(least: Duration, most: Duration) -> Backoff {
        Backoff { least, most, next: least }
    }

    /// The wait before the next try.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (self.next * 2).min(self.most);
        delay.mul_f64(chance::random_range(0.5..=1.0))
    }

    /// A try succeeded.
    pub fn reset(&mut self) {
        self.next = self.least;
    }
}

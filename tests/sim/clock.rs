//! Virtual time: one for the world, which each host's runtime follows with a clock of its own.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Since the beginning of the run.
pub type Now = Duration;

/// What the wall clocks show when a run begins, in seconds.
const EPOCH: i64 = 1_800_000_000;

#[derive(Debug, Clone, Copy)]
enum Source {
    /// Between the hosts' turns.
    World(Now),
    /// A host's turn: its runtime's clock, and what the world's was at an instant of it.
    Host { origin: Instant, began: Now },
}

thread_local! {
    static SOURCE: Cell<Source> = const { Cell::new(Source::World(Duration::ZERO)) };
}

pub fn now() -> Now {
    match SOURCE.get() {
        Source::World(now) => now,
        Source::Host { origin, began } => began + origin.elapsed(),
    }
}

/// Micros, as histories count.
pub fn micros() -> u64 {
    u64::try_from(now().as_micros()).unwrap()
}

pub fn set_world(now: Now) {
    SOURCE.set(Source::World(now));
}

pub fn set_host(origin: Instant, began: Now) {
    SOURCE.set(Source::Host { origin, began });
}

/// A host's wall clock: right, or wrong by hours.
#[derive(Clone, Default)]
pub struct Wall(Arc<AtomicI64>);

impl Wall {
    /// Shows so many hours too much from now on; 0: it is right again.
    pub fn jump(&self, hours: i64) {
        self.0.store(hours, Ordering::Relaxed);
    }

    pub fn read(&self) -> SystemTime {
        let began = EPOCH + self.0.load(Ordering::Relaxed) * 3600;
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(began).unwrap()) + now()
    }
}

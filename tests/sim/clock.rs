//! Virtual time: one for the world, which each host's runtime follows with a clock of its own.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// Since the beginning of the run.
pub type Now = Duration;

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

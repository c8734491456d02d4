//! The level of `apply` beyond which this server must not go on.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::state::{Refusal, State};

/// A state beyond the level that this release speaks would be altered wrongly from there on.
#[derive(Debug)]
pub(super) struct Ceiling {
    spoken: u32,
    /// The level that was met, once that is beyond.
    met: AtomicU32,
}

impl Ceiling {
    pub(super) fn new(spoken: u32) -> Ceiling {
        Ceiling { spoken, met: AtomicU32::new(0) }
    }

    /// An error where the state is beyond: openraft stops on it, and nothing of it is shown.
    pub(super) fn check(&self, state: &State) -> io::Result<()> {
        let current = state.identity().level;
        if current <= self.spoken {
            return Ok(());
        }
        self.met.store(current, Ordering::Release);
        Err(io::Error::other(Refusal::Outdated { spoken: self.spoken, current }))
    }

    /// Why this server must not go on.
    pub(super) fn outdated(&self) -> Option<String> {
        let current = self.met.load(Ordering::Acquire);
        let outdated = Refusal::Outdated { spoken: self.spoken, current };
        (current > self.spoken).then(|| outdated.to_string())
    }
}

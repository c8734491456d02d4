//! When to act on a change: a lone one at once, a burst once it is over.

use tokio::time::Instant;

use super::Wait;

/// Time is given; nothing here waits.
#[derive(Debug)]
pub(super) struct Damper {
    wait: Wait,
    /// The last change or the last time it acted.
    stirred: Option<Instant>,
    /// The first change not acted upon, and when to.
    pending: Option<Pending>,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    first: Instant,
    due: Instant,
}

impl Damper {
    pub(super) fn new(wait: Wait) -> Damper {
        Damper { wait, stirred: None, pending: None }
    }

    pub(super) fn changed(&mut self, now: Instant) {
        let Wait { min, max } = self.wait;
        let quiet = self.stirred.is_none_or(|last| now.duration_since(last) >= min);
        self.pending = Some(match self.pending {
            Some(Pending { first, .. }) => Pending { first, due: (now + min).min(first + max) },
            None if quiet => Pending { first: now, due: now },
            None => Pending { first: now, due: now + min.min(max) },
        });
        self.stirred = Some(now);
    }

    /// When to act next; none while nothing has changed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.pending.map(|pending| pending.due)
    }

    pub(super) fn acted(&mut self, now: Instant) {
        self.pending = None;
        self.stirred = Some(now);
    }
}

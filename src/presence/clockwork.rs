//! What the passing of time does to checks: TTLs run out, instances are given up, outputs rest.
//!
//! Pure: the time is an argument everywhere.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::health::Deadlines;
use crate::model::{CheckKind, Health};

use super::promise::Check;
use super::resting::Resting;

/// An output that changed while the status did not is shown at once, then not again for this
/// long: an app that notes the time with every report must not fill the log.
pub(super) const OUTPUT_REST: Duration = Duration::from_secs(60);
/// The shortest `deregister_after`.
const GIVE_UP_LEAST: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Clockwork {
    ttls: Deadlines,
    /// By check: when its instance is given up.
    give_ups: Deadlines,
    /// By check: until when its output rests.
    rests: Deadlines,
    held: Resting,
}

/// What has become due.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// TTL checks that were silent for too long.
    pub(super) silent: Vec<Arc<str>>,
    /// Checks that were critical for so long that their instance goes.
    pub(super) given_up: Vec<Arc<str>>,
    /// Outputs that have rested.
    pub(super) rested: Vec<(Arc<str>, String)>,
}

impl Clockwork {
    /// Outputs that rest can be read in `held` meanwhile.
    pub(super) fn new(held: Resting) -> Clockwork {
        Clockwork { held, ..Clockwork::default() }
    }

    /// A check was added or redefined.
    pub(super) fn watch(&mut self, check: &Check, now: Instant) {
        let id = &check.def.id;
        match check.def.kind {
            CheckKind::Ttl { ttl } => self.ttls.set(id, now + ttl),
            _ => self.ttls.clear(id),
        }
        self.mind_critical(check, now);
    }

    /// A check is gone.
    pub(super) fn forget(&mut self, id: &Arc<str>) {
        for deadlines in [&mut self.ttls, &mut self.give_ups, &mut self.rests] {
            deadlines.clear(id);
        }
        self.held.take(id);
    }

    /// The app has reported: its TTL starts anew.
    pub(super) fn heard(&mut self, id: &Arc<str>, ttl: Duration, now: Instant) {
        self.ttls.set(id, now + ttl);
    }

    /// Takes a result into the check; true if the catalog is to be told.
    pub(super) fn take(
        &mut self,
        check: &mut Check,
        status: Health,
        output: String,
        now: Instant,
    ) -> bool {
        let id = check.def.id.clone();
        if check.status != status {
            self.held.take(&id);
            check.status = status;
            check.output = output;
            self.mind_critical(check, now);
            return true;
        }
        if check.output == output {
            self.held.take(&id);
            return false;
        }
        if self.rests.contains(&id) {
            self.held.put(id, output);
            return false;
        }
        self.rests.set(&id, now + OUTPUT_REST);
        check.output = output;
        true
    }

    /// The newest output of a check, shown or resting.
    pub(super) fn newest(&self, check: &Check) -> String {
        self.held.newest(&check.def.id).unwrap_or_else(|| check.output.clone())
    }

    pub(super) fn next(&self) -> Option<Instant> {
        [self.ttls.next(), self.give_ups.next(), self.rests.next()].into_iter().flatten().min()
    }

    pub(super) fn take_due(&mut self, now: Instant) -> Due {
        let rested = self.rests.take_due(now).into_iter();
        Due {
            silent: self.ttls.take_due(now),
            given_up: self.give_ups.take_due(now),
            rested: rested.filter_map(|id| Some((id.clone(), self.held.take(&id)?))).collect(),
        }
    }

    /// Giving up could not be done: if it still has to be, try again at `at`.
    pub(super) fn give_up_later(&mut self, check: &Check, at: Instant) {
        if patience(check).is_some() {
            self.give_ups.set(&check.def.id, at);
        }
    }

    fn mind_critical(&mut self, check: &Check, now: Instant) {
        match patience(check) {
            Some(after) => self.give_ups.set_if_none(&check.def.id, now + after),
            None => self.give_ups.clear(&check.def.id),
        }
    }
}

/// How long the check's instance may be as it is; none: for ever.
fn patience(check: &Check) -> Option<Duration> {
    let after = check.def.deregister_after?;
    let ill = check.status == Health::Critical && check.def.service_id.is_some();
    ill.then(|| after.max(GIVE_UP_LEAST))
}

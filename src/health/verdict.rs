//! What consecutive results make of a check: a pure count of good ones and bad ones.

use crate::model::{Flaps, Health};

/// Turns results into a verdict. Passing and warning are good results, critical is a bad one.
#[derive(Debug, Clone)]
pub struct Judge {
    flaps: Flaps,
    /// None before the first result.
    verdict: Option<Health>,
    /// Bad results made the verdict what it is, be it only a warning.
    ill: bool,
    /// Consecutive results of the kind that came last.
    good: u32,
    bad: u32,
}

/// What one result changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// The verdict is now this.
    Turned(Health),
    /// The result agrees with the verdict.
    Confirmed,
    /// The result speaks against the verdict, but not often enough yet.
    Doubted,
}

impl Judge {
    /// The first result is the verdict whatever the counts are (as in Consul).
    pub fn new(flaps: Flaps) -> Judge {
        Judge { flaps, verdict: None, ill: false, good: 0, bad: 0 }
    }

    pub fn observe(&mut self, result: Health) -> Ruling {
        let Some(verdict) = self.verdict else {
            return self.turn(result, result == Health::Critical);
        };
        if result == Health::Critical {
            self.good = 0;
            self.bad = self.bad.saturating_add(1);
            self.doubt(verdict)
        } else {
            self.bad = 0;
            self.good = self.good.saturating_add(1);
            if self.ill && self.good < self.flaps.rise {
                Ruling::Doubted
            } else {
                self.turn(result, false)
            }
        }
    }

    /// One more bad result: it never makes a verdict better.
    fn doubt(&mut self, verdict: Health) -> Ruling {
        if verdict == Health::Critical || self.bad >= self.flaps.fall {
            self.turn(Health::Critical, true)
        } else if self.flaps.warn.is_some_and(|warn| self.bad >= warn) {
            self.turn(Health::Warning, true)
        } else {
            Ruling::Doubted
        }
    }

    fn turn(&mut self, verdict: Health, ill: bool) -> Ruling {
        self.ill = ill;
        let was = self.verdict.replace(verdict);
        if was == Some(verdict) { Ruling::Confirmed } else { Ruling::Turned(verdict) }
    }
}

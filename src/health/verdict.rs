//! What consecutive results make of a check: a pure count of rises and falls.

use crate::model::Health;

/// Turns results into a verdict. Passing and warning are good results, critical is a bad one.
#[derive(Debug, Clone)]
pub struct Judge {
    rise: u32,
    fall: u32,
    /// None before the first result.
    verdict: Option<Health>,
    /// Consecutive results on the other side of the verdict.
    against: u32,
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
    /// `rise` good results turn a critical check good, `fall` bad ones a good check critical;
    /// 0 counts as 1. The first result is the verdict whatever the counts are (as in Consul).
    pub fn new(rise: u32, fall: u32) -> Judge {
        Judge { rise: rise.max(1), fall: fall.max(1), verdict: None, against: 0 }
    }

    pub fn observe(&mut self, result: Health) -> Ruling {
        let Some(verdict) = self.verdict else { return self.turn(result) };
        if result == verdict {
            self.against = 0;
            return Ruling::Confirmed;
        }
        let needed = match (verdict, result) {
            (_, Health::Critical) => self.fall,
            (Health::Critical, _) => self.rise,
            // Both good: how good is told at once.
            _ => 1,
        };
        let same_side = (verdict == Health::Critical) == (result == Health::Critical);
        self.against = if same_side { 1 } else { self.against + 1 };
        if self.against >= needed { self.turn(result) } else { Ruling::Doubted }
    }

    fn turn(&mut self, verdict: Health) -> Ruling {
        self.verdict = Some(verdict);
        self.against = 0;
        Ruling::Turned(verdict)
    }
}

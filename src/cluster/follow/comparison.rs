//! Whether this agent's state is what the servers agree on: compared after each checkpoint.

use tokio::sync::watch;

use crate::lifecycle::aside;
use crate::replica::{Checksum, Replica};
use crate::state::Part;
use crate::telemetry::Counter;

/// What both sides say. Neither waits for the other.
pub(super) struct Comparison {
    own: watch::Sender<Option<Checksum>>,
    /// The servers', until this agent's own is known for that place.
    theirs: Option<Checksum>,
    /// How often the two differed.
    differed: Counter,
}

impl Comparison {
    pub fn new(differed: Counter) -> Comparison {
        Comparison { own: watch::Sender::new(None), theirs: None, differed }
    }

    /// Where this agent's own checksum is to be put.
    pub fn own(&self) -> watch::Sender<Option<Checksum>> {
        self.own.clone()
    }

    pub fn hear(&mut self, theirs: Checksum) {
        self.theirs = Some(theirs);
    }

    /// The state is another one now: nothing that was said of the last one counts.
    pub fn begin(&mut self) {
        self.own.send_replace(None);
        self.theirs = None;
    }

    /// True once for each place where the two differ. What could not be compared does not.
    pub fn differs(&mut self) -> bool {
        let (Some(theirs), Some(own)) = (self.theirs, *self.own.borrow()) else { return false };
        if own.at < theirs.at {
            return false;
        }
        self.theirs = None;
        let differs = own.at == theirs.at && own.sum != theirs.sum;
        if differs {
            self.differed.inc();
            tracing::error!(
                at = own.at.index,
                "this agent's state differs from that of the servers: it is taken anew"
            );
        }
        differs
    }
}

/// Sums up the state as it is after each checkpoint, off the threads that serve.
pub(super) async fn sum_up(replica: Replica, own: watch::Sender<Option<Checksum>>) {
    let mut checkpoints = replica.checkpoints();
    while checkpoints.changed().await.is_ok() {
        let Some(state) = replica.take_checkpoint() else { continue };
        let at = state.applied();
        if let Ok(sum) = aside(move || state.checksum(Part::Shared)).await {
            own.send_replace(Some(Checksum { at, sum }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Applied;

    fn checksum(index: u64, sum: u32) -> Checksum {
        Checksum { at: Applied { term: 1, index }, sum }
    }

    #[test]
    fn a_difference_is_told_once_whoever_speaks_first() {
        let mut both = Comparison::new(Counter::default());
        both.hear(checksum(5, 7));
        assert!(!both.differs(), "its own is not known yet");
        both.own().send_replace(Some(checksum(5, 8)));
        assert!(both.differs());
        assert!(!both.differs(), "told already");
        both.own().send_replace(Some(checksum(9, 1)));
        both.hear(checksum(9, 2));
        assert!(both.differs());
        assert_eq!(both.differed.get(), 2);
    }

    #[test]
    fn only_one_place_of_one_state_is_compared() {
        let mut both = Comparison::new(Counter::default());
        both.own().send_replace(Some(checksum(5, 8)));
        both.hear(checksum(4, 7));
        assert!(!both.differs(), "it is beyond that place");
        both.hear(checksum(5, 8));
        assert!(!both.differs(), "equal");
        both.hear(checksum(5, 7));
        both.begin();
        assert!(!both.differs(), "a new state");
        both.hear(checksum(5, 7));
        assert!(!both.differs(), "what was known of the old one is forgotten");
    }
}

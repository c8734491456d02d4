//! What is asked of the state, apart from who asks, how fresh it is to be and for how long.

use crate::consul::error::Failure;
use crate::consul::guard::Seer;
use crate::model::Index;
use crate::replica::Topic;
use crate::state::State;

use super::Content;

/// Where an answer stands: clients ask for anything newer than its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub index: Index,
    /// There is something to show.
    pub found: bool,
}

pub trait Question: Send + Sync {
    /// All that can raise the mark.
    fn topics(&self) -> Vec<Topic>;

    fn mark(&self, state: &State) -> Mark;

    /// Whatever the rows show has moved one of these, in the same lineage. More than the mark
    /// where rows show what clients do not wait for.
    fn stamp(&self, state: &State) -> [Index; 2] {
        [self.mark(state).index, 0]
    }

    /// An error: who asks may not even wait for it.
    fn admit(&self, _: &Seer<'_>) -> Result<(), Failure> {
        Ok(())
    }

    /// The rows that may be seen, encoded, for who was admitted.
    fn answer(&self, seer: &Seer<'_>) -> Result<Content, Failure>;
}

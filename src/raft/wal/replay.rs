//! The log's present, from its history: records applied one after the other.

use std::collections::VecDeque;

use bytes::Bytes;

use super::record::{Position, Record};

/// What a log holds when it is opened.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Recovered {
    pub vote: Option<Bytes>,
    pub committed: Option<Position>,
    pub purged: Option<Position>,
    /// Consecutive, following `purged`.
    pub entries: VecDeque<(Position, Bytes)>,
}

impl Recovered {
    /// The position of the last entry, purged or not.
    pub fn last(&self) -> Option<Position> {
        self.entries.back().map(|(position, _)| *position).or(self.purged)
    }

    /// Applies one record; says why it cannot follow the ones before.
    pub(super) fn apply(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Entry(position, payload) => {
                if let Some((last, _)) = self.entries.back()
                    && position.index != last.index + 1
                {
                    return Err(format!("entry {} follows {}", position.index, last.index));
                }
                self.entries.push_back((position, payload));
            }
            Record::Vote(vote) => self.vote = Some(vote),
            Record::Committed(position) => self.committed = position,
            Record::Truncate(position) => {
                let keep = |at: &Position| position.is_some_and(|last| at.index <= last.index);
                while self.entries.back().is_some_and(|(at, _)| !keep(at)) {
                    self.entries.pop_back();
                }
            }
            Record::Purge(position) => {
                self.purged = self.purged.max(Some(position));
                while self.entries.front().is_some_and(|(at, _)| at.index <= position.index) {
                    self.entries.pop_front();
                }
            }
        }
        Ok(())
    }

    /// The index that should come first, if the log does not begin there.
    pub(super) fn gap(&self) -> Option<u64> {
        let (first, _) = self.entries.front()?;
        let expected = self.purged.map_or(0, |purged| purged.index + 1);
        (first.index != expected).then_some(first.index)
    }
}

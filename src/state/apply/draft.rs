//! Changes in the making: what the steps of one command have put so far, and how it looks.

use crate::model::{Applied, Index, Revision, Stamp};
use crate::state::State;
use crate::state::change::{Change, Changes};
use crate::state::topic::Touch;

/// Collects rows. A step that reads after another has written sees its rows; the copy that this
/// takes is made only then, so a command of one step costs none.
pub(super) struct Draft<'a> {
    base: &'a State,
    working: Option<State>,
    /// How many of `rows` the working copy has taken in.
    taken: usize,
    at: Applied,
    stamp: Stamp,
    rows: Vec<Change>,
    /// Index and revision after the command, where they are not the next ones.
    jump: Option<(Index, Revision)>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(base: &'a State, at: Applied, stamp: Stamp) -> Draft<'a> {
        Draft { base, working: None, taken: 0, at, stamp, rows: Vec::new(), jump: None }
    }

    /// The state with everything pushed so far.
    pub(super) fn state(&mut self) -> &State {
        if self.taken < self.rows.len() {
            let (index, revision, stamp) = (self.index(), self.revision(), self.stamp);
            let working = self.working.get_or_insert_with(|| {
                let mut copy = self.base.clone();
                copy.index = index;
                copy.revision = revision;
                copy.stamp = stamp;
                copy
            });
            let mut touch = Touch::at(index);
            for change in self.rows.get(self.taken..).unwrap_or_default() {
                working.absorb_row(change, &mut touch);
            }
            self.taken = self.rows.len();
        }
        self.working.as_ref().unwrap_or(self.base)
    }

    /// The state as it was before the command.
    pub(super) fn base(&self) -> &'a State {
        self.base
    }

    pub(super) fn push(&mut self, change: Change) {
        self.rows.push(change);
    }

    /// Puts other rows in the place of those that were pushed so far.
    pub(super) fn rewrite(&mut self, change: impl FnOnce(Vec<Change>) -> Vec<Change>) {
        self.rows = change(std::mem::take(&mut self.rows));
        self.working = None;
        self.taken = 0;
    }

    /// What was pushed so far.
    pub(super) fn rows(&self) -> &[Change] {
        &self.rows
    }

    /// Cluster time of the command.
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Counters go on from here: what was given out elsewhere must not be given out again.
    pub(super) fn jump(&mut self, index: Index, revision: Revision) {
        self.jump = Some((index, revision));
    }

    /// The index that this command's rows carry.
    pub(super) fn index(&self) -> Index {
        self.jump.map_or(self.base.index + 1, |(index, _)| index)
    }

    /// The revision that this command's keys carry.
    pub(super) fn revision(&self) -> Revision {
        self.jump.map_or(self.base.revision + 1, |(_, revision)| revision)
    }

    /// Whether anything was pushed.
    pub(super) fn has_written(&self) -> bool {
        !self.rows.is_empty()
    }

    /// Forgets everything: the command is refused as a whole.
    pub(super) fn discard(&mut self) {
        self.rows.clear();
        self.jump = None;
        self.working = None;
        self.taken = 0;
    }

    pub(super) fn finish(self) -> Changes {
        let wrote_keys = self.rows.iter().any(|row| matches!(row, Change::Key(..)));
        let wrote = self.rows.iter().any(|row| !row.is_quiet());
        let next = (self.base.index + u64::from(wrote), self.base.revision + i64::from(wrote_keys));
        let (index, revision) = self.jump.unwrap_or(next);
        Changes { applied: self.at, stamp: self.stamp, index, revision, rows: self.rows }
    }
}

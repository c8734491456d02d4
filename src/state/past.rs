//! Questions about revisions before the present one, and their answers. Servers know the whole
//! history; other agents know the newest revisions and pass the rest on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::Revision;

use super::State;
use super::command::Refusal;
use super::history::KeyEvent;
use super::keys::{KeyRange, RangeError};
use super::rows::{Key, KeyRow};
use super::txn::{Txn, TxnDone};

/// Revisions that are looked through for one answer.
const PASS: usize = 1000;
/// Bytes of keys and values in one answer, but for one row or revision that has more.
const PASS_BYTES: usize = 1024 * 1024;

/// A question to an agent that keeps the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PastQuery {
    Events(EventsQuery),
    /// The keys of a range as they were, in order, in pages.
    Rows {
        range: KeyRange,
        revision: Revision,
        /// The last key of the page before.
        after: Option<Key>,
    },
    /// A transaction that writes nothing, and looks at past revisions.
    Txn(Txn),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PastAnswer {
    Events(EventsPage),
    /// Whether there is a next page.
    Rows(Vec<(Key, Arc<KeyRow>)>, bool),
    Txn(TxnDone),
    Refused(Refusal),
}

/// What happened to the keys of a range from a revision on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsQuery {
    pub range: KeyRange,
    pub from: Revision,
    /// Up to here as much as fits is told in one answer; what is newer goes revision by revision.
    pub past: Revision,
    /// With what each key was before.
    pub prev: bool,
    /// Of the state that the question is about: another one has another past.
    pub lineage: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsPage {
    pub events: Vec<PastEvent>,
    /// The next revision to ask about: everything before it was looked through.
    pub next: Revision,
    /// The newest revision there is.
    pub current: Revision,
}

/// A key put or deleted at a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastEvent {
    pub revision: Revision,
    pub event: KeyEvent,
    /// What the key was before; none where it was not asked for, not there, or compacted away.
    pub prev: Option<Arc<KeyRow>>,
}

/// A page of events in the making.
struct Gathering<'a> {
    query: &'a EventsQuery,
    events: Vec<PastEvent>,
    bytes: usize,
    next: Revision,
}

impl Gathering<'_> {
    fn add(&mut self, revision: Revision, event: &KeyEvent, prev: Option<&Arc<KeyRow>>) {
        let rows = event.row.iter().chain(prev);
        self.bytes += event.key.len() + rows.map(|row| row.value.len()).sum::<usize>();
        self.events.push(PastEvent { revision, event: event.clone(), prev: prev.cloned() });
    }

    /// Whether the page ends after this revision.
    fn is_done(&mut self, revision: Revision) -> bool {
        self.next = revision + 1;
        !self.events.is_empty() && (revision > self.query.past || self.bytes > PASS_BYTES)
    }
}

impl State {
    /// A page of what happened. `RangeError::NoHistory` says that a server has to be asked.
    pub fn events(&self, query: &EventsQuery) -> Result<EventsPage, RangeError> {
        let current = self.revision;
        let compacted = match (&self.history, &self.recent) {
            (Some(history), _) => history.compacted(),
            (None, recent) => recent.compacted(),
        };
        let gone = RangeError::Compacted { asked: query.from, compacted };
        if self.identity.lineage != query.lineage {
            // What a server says of it is more than what an agent without history can.
            return Err(if self.history.is_some() { gone } else { RangeError::NoHistory });
        }
        if query.from < compacted {
            return Err(gone);
        }
        let (events, next) = (Vec::new(), query.from);
        let mut page = Gathering { query, events, bytes: 0, next };
        let ended = match &self.history {
            Some(history) => history.from(query.from).take(PASS).any(|(revision, log)| {
                for event in log.events.iter().filter(|event| query.range.contains(&event.key)) {
                    let before = revision - 1;
                    let known = query.prev && before >= compacted;
                    let prev = if known { history.at(&event.key, before) } else { None };
                    page.add(revision, event, prev);
                }
                page.is_done(revision)
            }),
            None if !self.recent.reaches(query.from) => return Err(RangeError::NoHistory),
            None => self.recent.from(query.from).any(|(revision, events)| {
                for PastEvent { event, prev, .. } in events {
                    if query.range.contains(&event.key) {
                        let known = query.prev && revision > compacted;
                        page.add(revision, event, prev.as_ref().filter(|_| known));
                    }
                }
                page.is_done(revision)
            }),
        };
        let last = self.history.as_ref().is_none_or(|past| past.from(page.next).next().is_none());
        if last && !ended {
            page.next = page.next.max(current + 1);
        }
        Ok(EventsPage { events: page.events, next: page.next, current })
    }

    /// Answers an agent that keeps no history.
    pub fn recall(&self, query: &PastQuery) -> PastAnswer {
        let answer = match query {
            PastQuery::Events(query) => {
                self.events(query).map(PastAnswer::Events).map_err(Refusal::from)
            }
            PastQuery::Rows { range, revision, after } => {
                self.page_at(range, *revision, after.as_ref()).map_err(Refusal::from)
            }
            PastQuery::Txn(txn) => self.read_txn(txn).map(PastAnswer::Txn),
        };
        answer.unwrap_or_else(PastAnswer::Refused)
    }

    /// Keys of a range as they were, after a key.
    fn page_at(
        &self,
        range: &KeyRange,
        revision: Revision,
        after: Option<&Key>,
    ) -> Result<PastAnswer, RangeError> {
        let history = self.history.as_ref().ok_or(RangeError::NoHistory)?;
        let (compacted, current) = (history.compacted(), self.revision);
        if revision < compacted {
            return Err(RangeError::Compacted { asked: revision, compacted });
        }
        if revision > current {
            return Err(RangeError::Future { asked: revision, current });
        }
        let (mut page, mut bytes) = (Vec::new(), 0);
        let rest = after.map_or_else(|| Some(range.clone()), |after| range.after(after));
        let Some(rest) = rest else { return Ok(PastAnswer::Rows(page, false)) };
        for (key, row) in history.rows_at(&rest, revision) {
            if bytes > PASS_BYTES {
                return Ok(PastAnswer::Rows(page, true));
            }
            bytes += size_of::<KeyRow>() + key.len() + row.value.len();
            page.push((key, row));
        }
        Ok(PastAnswer::Rows(page, false))
    }
}

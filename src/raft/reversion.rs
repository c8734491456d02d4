//! Whether a server has lost what it acknowledged: openraft would go on silently.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::model::NodeId;

/// A log as its server describes it in every answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) incarnation: u64,
    /// The index after its last entry.
    pub(super) next: u64,
}

/// What each server has acknowledged to this one. What was acknowledged in this server's present
/// term must stay; of earlier terms only what was committed, as the rest may rightly be gone.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    term: u64,
    logs: BTreeMap<u64, Log>,
    lost: BTreeSet<u64>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Log {
    incarnation: u64,
    /// The index after the highest that was acknowledged in this term, or committed before.
    next: u64,
    /// The index after the highest that was acknowledged and is committed.
    committed: u64,
}

impl Acknowledged {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The book for a term; none for a term that is over.
    fn book_of(&self, term: u64) -> Option<MutexGuard<'_, Book>> {
        let mut book = self.book();
        if book.term < term {
            book.term = term;
            book.logs.values_mut().for_each(|log| log.next = log.committed);
        }
        (book.term == term).then_some(book)
    }

    /// What the log of a server must hold in an answer to what is sent to it from now on.
    pub(super) fn required(&self, term: u64, server: u64) -> Option<Held> {
        let book = self.book_of(term)?;
        let log = book.logs.get(&server).filter(|log| log.next > 0)?;
        Some(Held { incarnation: log.incarnation, next: log.next })
    }

    /// The same for an answer that is given in any term.
    pub(super) fn required_always(&self, server: u64) -> Option<Held> {
        let book = self.book();
        let log = book.logs.get(&server).filter(|log| log.committed > 0)?;
        Some(Held { incarnation: log.incarnation, next: log.committed })
    }

    /// The server has everything before `next`, durably; what comes before `committed` is
    /// committed.
    pub(super) fn note(&self, term: u64, server: u64, log: Held, committed: u64) {
        let Some(mut book) = self.book_of(term) else { return };
        let known = book.logs.entry(server).or_default();
        known.incarnation = log.incarnation;
        known.next = known.next.max(log.next);
        known.committed = known.committed.max(known.next.min(committed));
    }

    /// Whether an answer shows that the server has lost its log: what it says from then on counts
    /// for nothing. `required` is from before it was asked.
    pub(super) fn is_lost(&self, server: u64, required: Option<Held>, held: Held) -> bool {
        let Some(required) = required else { return false };
        let whole = held.incarnation == required.incarnation && held.next >= required.next;
        if !whole && self.book().lost.insert(server) {
            tracing::error!(
                server,
                acknowledged = required.next - 1,
                ends_before = held.next,
                "a server has lost entries that it acknowledged; it is given nothing more, and \
                 must join again under a new id"
            );
        }
        !whole
    }

    /// Who was found to have lost its log.
    pub(super) fn lost(&self) -> Vec<NodeId> {
        self.book().lost.iter().copied().map(NodeId).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(next: u64) -> Held {
        Held { incarnation: 5, next }
    }

    #[test]
    fn what_was_acknowledged_must_stay() {
        let book = Acknowledged::default();
        assert!(!book.is_lost(7, book.required(2, 7), held(0)));
        book.note(2, 7, held(51), 10);
        book.note(2, 7, held(41), 10);
        let required = book.required(2, 7);
        assert_eq!(required, Some(held(51)));
        assert!(!book.is_lost(7, required, held(51)));
        assert!(book.lost().is_empty());
        assert!(book.is_lost(7, required, held(50)));
        assert_eq!(book.lost(), [NodeId(7)]);
        assert!(!book.is_lost(8, book.required(2, 8), held(0)));
    }

    #[test]
    fn another_log_under_the_same_id_is_a_lost_one() {
        let book = Acknowledged::default();
        book.note(2, 7, held(51), 10);
        assert!(book.is_lost(7, book.required(2, 7), Held { incarnation: 6, next: 90 }));
    }

    #[test]
    fn an_answer_is_held_against_what_was_known_when_it_was_asked_for() {
        let book = Acknowledged::default();
        book.note(2, 7, held(41), 10);
        let before = book.required(2, 7);
        book.note(2, 7, held(51), 10);
        assert!(!book.is_lost(7, before, held(41)));
    }

    #[test]
    fn in_another_term_only_what_was_committed_must_stay() {
        let book = Acknowledged::default();
        book.note(2, 7, held(51), 31);
        assert_eq!(book.required(3, 7), Some(held(31)));
        book.note(4, 7, held(60), 40);
        assert_eq!(book.required(4, 7), Some(held(60)));
        assert_eq!(book.required_always(7), Some(held(40)));
        book.note(2, 7, held(90), 90);
        assert_eq!(book.required(4, 7), Some(held(60)), "that term is over");
    }
}

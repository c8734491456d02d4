//! Whether a server has lost what it acknowledged: openraft would go on silently.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What each server has acknowledged to this one while it led. Only within one term: what was
/// acknowledged to an earlier leader and never committed may rightly be gone.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    term: u64,
    highest: BTreeMap<u64, u64>,
    reported: BTreeSet<u64>,
}

impl Acknowledged {
    fn book(&self, term: u64) -> MutexGuard<'_, Book> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if book.term != term {
            *book = Book { term, ..Book::default() };
        }
        book
    }

    /// The server has everything up to `index`, durably.
    pub(super) fn note(&self, term: u64, server: u64, index: u64) {
        let mut book = self.book(term);
        let highest = book.highest.entry(server).or_default();
        *highest = index.max(*highest);
    }

    /// The server says that it has no entry `index` of ours, though it acknowledged it: it has
    /// lost its log, and what it says from now on counts for nothing.
    pub(super) fn is_lost(&self, term: u64, server: u64, index: u64) -> bool {
        let mut book = self.book(term);
        let lost = book.highest.get(&server).is_some_and(|highest| index <= *highest);
        if lost && book.reported.insert(server) {
            tracing::error!(
                server,
                index,
                "a server has lost entries that it acknowledged; it is given nothing more, and \
                 must join again under a new id"
            );
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_must_stay() {
        let acknowledged = Acknowledged::default();
        assert!(!acknowledged.is_lost(2, 7, 0));
        acknowledged.note(2, 7, 50);
        acknowledged.note(2, 7, 40);
        assert!(acknowledged.is_lost(2, 7, 50));
        assert!(!acknowledged.is_lost(2, 7, 51));
        assert!(!acknowledged.is_lost(2, 8, 50));
    }

    #[test]
    fn another_term_begins_with_a_clean_book() {
        let acknowledged = Acknowledged::default();
        acknowledged.note(2, 7, 50);
        assert!(!acknowledged.is_lost(3, 7, 50));
    }
}

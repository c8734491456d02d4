//! Outputs that are newer than what the catalog shows, for who asks this agent itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One for each check at most, and no longer than outputs are.
#[derive(Debug, Clone, Default)]
pub(super) struct Resting {
    held: Arc<Mutex<BTreeMap<Arc<str>, String>>>,
}

impl Resting {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, String>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, check: Arc<str>, output: String) {
        self.lock().insert(check, output);
    }

    pub(super) fn take(&self, check: &str) -> Option<String> {
        self.lock().remove(check)
    }

    pub(super) fn newest(&self, check: &str) -> Option<String> {
        self.lock().get(check).cloned()
    }
}

//! What a rendering asked the state: the set of things whose change makes its text stale.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::{Folded, limits};
use crate::state::State;

/// One thing a template looked at, whether it was there or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    Key(String),
    /// All keys that start with it; empty: all keys.
    Prefix(String),
    /// A service's instances, their nodes and checks.
    Service(Folded),
    /// The names and tags of all services.
    Services,
}

/// What the functions of one rendering share: what they may look at, and what they looked at.
pub(super) struct Session {
    pub(super) state: Arc<State>,
    pub(super) environment: Arc<BTreeMap<String, String>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) reads: BTreeSet<Read>,
    /// Keys that the template cannot do without and that are not there.
    pub(super) missing: BTreeSet<String>,
}

/// A template asked for more different things than `limits::TEMPLATE_READS`.
#[derive(Debug)]
pub(super) struct TooManyReads;

impl fmt::Display for TooManyReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = limits::TEMPLATE_READS;
        write!(f, "a template may ask for at most {most} different keys, prefixes and services")
    }
}

impl Session {
    pub(super) fn new(
        state: &Arc<State>,
        environment: &Arc<BTreeMap<String, String>>,
    ) -> Arc<Session> {
        Arc::new(Session {
            state: state.clone(),
            environment: environment.clone(),
            seen: Mutex::default(),
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self, read: Read) -> Result<(), TooManyReads> {
        let mut seen = self.seen();
        if seen.reads.len() >= limits::TEMPLATE_READS && !seen.reads.contains(&read) {
            return Err(TooManyReads);
        }
        seen.reads.insert(read);
        Ok(())
    }

    pub(super) fn miss(&self, key: &str) {
        self.seen().missing.insert(key.to_owned());
    }

    pub(super) fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen())
    }
}

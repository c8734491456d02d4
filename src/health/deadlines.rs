//! Which of many named things is due: one deadline per name, asked with the time as an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

/// Deadlines of TTL checks, of instances that have been critical for too long, of outputs that
/// rest. Setting, clearing and asking for the next one cost a tree lookup each.
#[derive(Debug, Default)]
pub struct Deadlines {
    at: BTreeMap<Arc<str>, Instant>,
    queue: BTreeSet<(Instant, Arc<str>)>,
}

impl Deadlines {
    /// Sets or moves the deadline of `name`.
    pub fn set(&mut self, name: &Arc<str>, at: Instant) {
        self.clear(name);
        self.at.insert(name.clone(), at);
        self.queue.insert((at, name.clone()));
    }

    /// Sets the deadline of `name` unless it has one.
    pub fn set_if_none(&mut self, name: &Arc<str>, at: Instant) {
        if !self.contains(name) {
            self.set(name, at);
        }
    }

    pub fn clear(&mut self, name: &Arc<str>) {
        if let Some(at) = self.at.remove(name) {
            self.queue.remove(&(at, name.clone()));
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.at.contains_key(name)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes out everything due at `now`, the earliest first.
    pub fn take_due(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut due = Vec::new();
        while self.next().is_some_and(|at| at <= now) {
            let Some((_, name)) = self.queue.pop_first() else { break };
            self.at.remove(&name);
            due.push(name);
        }
        due
    }
}

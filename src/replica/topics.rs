//! Who waits for what: a change wakes only those who asked for a thing it touched.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::state::Topic;

use super::intervals::Intervals;

/// Wakes when one of its topics was touched since it was made or last woke.
#[derive(Debug)]
pub struct Watch {
    id: u64,
    signal: Arc<Notify>,
    topics: BTreeSet<Topic>,
    table: Arc<Mutex<Table>>,
}

/// By topic, then by the watch's number: a watch comes and goes in logarithmic time, however many
/// wait for the same.
#[derive(Debug, Default)]
struct Table {
    next: u64,
    waiting: HashMap<Topic, BTreeMap<u64, Arc<Notify>>>,
    /// How many prefixes of each length are watched, so that a key is looked up only under those.
    prefix_lengths: BTreeMap<usize, usize>,
    /// Who waits for a range: found by where a key lies.
    ranges: Intervals<Arc<Notify>>,
}

#[derive(Debug, Default)]
pub(super) struct Topics {
    table: Arc<Mutex<Table>>,
}

impl Watch {
    /// Returns at once if a topic was touched since the last call.
    pub async fn changed(&mut self) {
        // `notify_one` stores a permit, so a wake-up between two calls is not lost.
        self.signal.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        for topic in &self.topics {
            table.remove(self.id, topic);
        }
    }
}

impl Topics {
    pub(super) fn watch(&self, topics: impl IntoIterator<Item = Topic>) -> Watch {
        let topics: BTreeSet<Topic> = topics.into_iter().collect();
        let signal = Arc::new(Notify::new());
        let mut table = lock(&self.table);
        let id = table.next;
        table.next += 1;
        for topic in &topics {
            table.insert(id, topic, &signal);
        }
        drop(table);
        Watch { id, signal, topics, table: self.table.clone() }
    }

    pub(super) fn wake(&self, touched: BTreeSet<Topic>) {
        let table = lock(&self.table);
        if table.waiting.is_empty() && table.ranges.is_empty() {
            return;
        }
        for topic in touched {
            table.wake(&topic);
            if let Topic::Key(key) = topic {
                table.ranges.at(&key, &mut |signal| signal.notify_one());
                for length in table.prefix_lengths.range(..=key.len()).map(|(length, _)| *length) {
                    table.wake(&Topic::Prefix(key.slice(..length)));
                }
            }
        }
    }

    pub(super) fn wake_all(&self) {
        let table = lock(&self.table);
        // In the order of the watches, not of a hash map.
        let ranges = table.ranges.values();
        let ranges = ranges.iter().map(|(id, signal)| (id, *signal));
        let all: BTreeMap<&u64, &Arc<Notify>> =
            table.waiting.values().flatten().chain(ranges).collect();
        all.values().for_each(|signal| signal.notify_one());
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let table = lock(&self.table);
        table.waiting.is_empty() && table.prefix_lengths.is_empty() && table.ranges.is_empty()
    }
}

impl Table {
    fn insert(&mut self, id: u64, topic: &Topic, signal: &Arc<Notify>) {
        if let Topic::Range(range) = topic {
            return self.ranges.insert(range, id, signal.clone());
        }
        let waiting = self.waiting.entry(topic.clone()).or_default();
        if let (Topic::Prefix(prefix), true) = (topic, waiting.is_empty()) {
            *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
        }
        waiting.insert(id, signal.clone());
    }

    fn remove(&mut self, id: u64, topic: &Topic) {
        if let Topic::Range(range) = topic {
            return self.ranges.remove(range, id);
        }
        let Some(waiting) = self.waiting.get_mut(topic) else { return };
        waiting.remove(&id);
        if !waiting.is_empty() {
            return;
        }
        self.waiting.remove(topic);
        if let Topic::Prefix(prefix) = topic
            && let Some(count) = self.prefix_lengths.get_mut(&prefix.len())
        {
            *count -= 1;
            if *count == 0 {
                self.prefix_lengths.remove(&prefix.len());
            }
        }
    }

    fn wake(&self, topic: &Topic) {
        for signal in self.waiting.get(topic).into_iter().flat_map(BTreeMap::values) {
            signal.notify_one();
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

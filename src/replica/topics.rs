//! Who waits for what: a change wakes only those who asked for a thing it touched.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::model::Folded;
use crate::state::{Change, Changes, State};

/// A thing that can change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    Key(Bytes),
    /// Any key that starts with it; empty: any key.
    Prefix(Bytes),
    /// A service's instances, their nodes and their checks.
    Service(Folded),
    /// Any instance: the list of services and tags.
    Services,
    /// A node with all that is on it.
    Node(Folded),
    /// Any node's own row.
    Nodes,
    /// Any check.
    Checks,
    Members,
    Leases,
    /// Whatever changes.
    All,
}

/// Wakes when one of its topics was touched since it was made or last woke.
#[derive(Debug)]
pub struct Watch {
    signal: Arc<Signal>,
    _interests: Vec<Interest>,
}

#[derive(Debug, Default)]
struct Signal {
    notify: Notify,
}

/// Takes its topic out of the table when the watch goes.
#[derive(Debug)]
struct Interest {
    topic: Topic,
    signal: Weak<Signal>,
    table: Weak<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    waiting: HashMap<Topic, Vec<Arc<Signal>>>,
    /// How many watch a prefix of each length, so that a key is looked up only under those.
    prefix_lengths: BTreeMap<usize, usize>,
}

#[derive(Debug, Default)]
pub(super) struct Topics {
    table: Arc<Mutex<Table>>,
}

impl Watch {
    /// Returns at once if a topic was touched since the last call.
    pub async fn changed(&mut self) {
        // `notify_one` stores a permit, so a wake-up between two calls is not lost.
        self.signal.notify.notified().await;
    }
}

impl Topics {
    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    pub(super) fn watch(&self, topics: impl IntoIterator<Item = Topic>) -> Watch {
        let signal = Arc::new(Signal::default());
        let mut interests = Vec::new();
        let mut table = self.table();
        for topic in topics {
            if let Topic::Prefix(prefix) = &topic {
                *table.prefix_lengths.entry(prefix.len()).or_default() += 1;
            }
            table.waiting.entry(topic.clone()).or_default().push(signal.clone());
            interests.push(Interest {
                topic,
                signal: Arc::downgrade(&signal),
                table: Arc::downgrade(&self.table),
            });
        }
        drop(table);
        Watch { signal, _interests: interests }
    }

    pub(super) fn wake(&self, changes: &Changes, state: &State) {
        let table = self.table();
        if table.waiting.is_empty() {
            return;
        }
        for change in &changes.rows {
            table.wake_for(change, state);
        }
        if !changes.rows.is_empty() {
            table.wake(&Topic::All);
        }
    }

    pub(super) fn wake_all(&self) {
        for signals in self.table().waiting.values() {
            signals.iter().for_each(|signal| signal.notify.notify_one());
        }
    }
}

impl Table {
    fn wake(&self, topic: &Topic) {
        for signal in self.waiting.get(topic).into_iter().flatten() {
            signal.notify.notify_one();
        }
    }

    fn wake_for(&self, change: &Change, state: &State) {
        match change {
            Change::Key(key, _) => {
                self.wake(&Topic::Key(key.clone()));
                let lengths = self.prefix_lengths.range(..=key.len());
                for (length, _) in lengths {
                    self.wake(&Topic::Prefix(key.slice(..*length)));
                }
            }
            Change::Node(node, _) => {
                self.wake(&Topic::Nodes);
                self.wake(&Topic::Node(node.clone()));
                self.wake_services_on(node, state);
            }
            Change::Instance(key, row) => {
                self.wake(&Topic::Services);
                self.wake(&Topic::Node(key.node.clone()));
                match row {
                    Some(row) => self.wake(&Topic::Service(Folded::new(&row.def.name))),
                    None => self.wake_lost_services(),
                }
            }
            Change::Check(key, row) => {
                self.wake(&Topic::Checks);
                self.wake(&Topic::Node(key.node.clone()));
                let subject = row.as_ref().and_then(|row| row.def.service_id.as_ref());
                match subject.and_then(|id| state.instance(&key.node, id)) {
                    Some(instance) => {
                        self.wake(&Topic::Service(Folded::new(&instance.def.name)));
                    }
                    None => self.wake_services_on(&key.node, state),
                }
            }
            Change::Member(..) | Change::Identity(_) => self.wake(&Topic::Members),
            Change::Lease(..) => self.wake(&Topic::Leases),
            Change::Floor(_) => {
                for topic in self.waiting.keys().filter(|topic| matches!(topic, Topic::Prefix(_))) {
                    self.wake(topic);
                }
            }
            Change::Compacted(_) => {}
        }
    }

    fn wake_services_on(&self, node: &Folded, state: &State) {
        for row in state.instances_on_node(node) {
            self.wake(&Topic::Service(Folded::new(&row.def.name)));
        }
    }

    /// A row that is gone does not say which service it was of.
    fn wake_lost_services(&self) {
        for topic in self.waiting.keys().filter(|topic| matches!(topic, Topic::Service(_))) {
            self.wake(topic);
        }
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        let Some(table) = self.table.upgrade() else { return };
        let mut table = lock(&table);
        let Some(signals) = table.waiting.get_mut(&self.topic) else { return };
        signals.retain(|signal| !std::ptr::eq(Arc::as_ptr(signal), self.signal.as_ptr()));
        if signals.is_empty() {
            table.waiting.remove(&self.topic);
        }
        if let Topic::Prefix(prefix) = &self.topic
            && let Some(count) = table.prefix_lengths.get_mut(&prefix.len())
        {
            *count -= 1;
            if *count == 0 {
                table.prefix_lengths.remove(&prefix.len());
            }
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A table as a list of everything that was ever written to it; answers by scanning.

/// One write (`Some`) or removal (`None`).
#[derive(Clone, Debug)]
struct Event<K, V> {
    at: u64,
    key: K,
    value: Option<V>,
}

/// A key's value with what its past says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Version<V> {
    pub value: V,
    pub create: u64,
    pub modified: u64,
    pub version: i64,
}

#[derive(Clone, Debug)]
pub struct Table<K, V> {
    events: Vec<Event<K, V>>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Table { events: Vec::new() }
    }
}

impl<K: Clone + Ord, V: Clone> Table<K, V> {
    pub fn put(&mut self, at: u64, key: &K, value: V) {
        self.events.push(Event { at, key: key.clone(), value: Some(value) });
    }

    pub fn remove(&mut self, at: u64, key: &K) {
        self.events.push(Event { at, key: key.clone(), value: None });
    }

    pub fn get(&self, key: &K) -> Option<Version<V>> {
        self.get_at(key, u64::MAX)
    }

    pub fn get_at(&self, key: &K, upto: u64) -> Option<Version<V>> {
        let mut found: Option<Version<V>> = None;
        for event in self.events.iter().filter(|event| event.at <= upto && event.key == *key) {
            found = event.value.clone().map(|value| Version {
                value,
                create: found.as_ref().map_or(event.at, |found| found.create),
                modified: event.at,
                version: found.as_ref().map_or(1, |found| found.version + 1),
            });
        }
        found
    }

    pub fn has(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Everything that is there, in order of keys.
    pub fn all(&self) -> Vec<(K, Version<V>)> {
        self.all_at(u64::MAX)
    }

    pub fn all_at(&self, upto: u64) -> Vec<(K, Version<V>)> {
        let mut keys: Vec<K> = self.events.iter().map(|event| event.key.clone()).collect();
        keys.sort();
        keys.dedup();
        let found = |key: K| self.get_at(&key, upto).map(|version| (key, version));
        keys.into_iter().filter_map(found).collect()
    }

    /// When each key that is gone went, in order of keys.
    pub fn gone(&self) -> Vec<(K, u64)> {
        let mut keys: Vec<K> = self.events.iter().map(|event| event.key.clone()).collect();
        keys.sort();
        keys.dedup();
        keys.retain(|key| !self.has(key));
        let last = |key: K| {
            let at = self.events.iter().rev().find(|event| event.key == key).map(|event| event.at);
            at.map(|at| (key, at))
        };
        keys.into_iter().filter_map(last).collect()
    }

    /// What was written after `after`, in order.
    pub fn writes_since(&self, after: u64) -> Vec<(K, Option<V>)> {
        let events = self.events.iter().filter(|event| event.at > after);
        events.map(|event| (event.key.clone(), event.value.clone())).collect()
    }

    /// What happened after `after`, in order.
    pub fn since(&self, after: u64) -> Vec<(u64, K, bool)> {
        let events = self.events.iter().filter(|event| event.at > after);
        events.map(|event| (event.at, event.key.clone(), event.value.is_some())).collect()
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }
}

//! What both families should see: maps and a clock, and nothing of how the product does it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A key as both see it; etcd does not see flags, holder and locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub value: String,
    pub create: i64,
    pub modified: i64,
    pub version: i64,
    pub lease: i64,
    pub flags: u64,
    pub holder: Option<String>,
    pub locks: u64,
}

pub type Keys = BTreeMap<String, Key>;

#[derive(Debug, Clone)]
pub struct Session {
    pub external: bool,
    pub deletes: bool,
    pub delay: u64,
    pub ttl: Option<u64>,
    /// When it ends, unless it is renewed.
    pub ends: Option<Duration>,
}

#[derive(Debug, Clone)]
pub struct Lease {
    pub ttl: u64,
    pub ends: Duration,
}

#[derive(Clone)]
pub struct Model {
    pub now: Duration,
    pub revision: i64,
    pub keys: Keys,
    /// The keys as they were at each revision.
    pub past: BTreeMap<i64, Keys>,
    pub sessions: BTreeMap<String, Session>,
    pub leases: BTreeMap<i64, Lease>,
    /// Until when nobody may take a key.
    pub delays: BTreeMap<String, Duration>,
    /// Whether the other node is there, and what its check says.
    pub mark: Option<bool>,
    written: BTreeSet<String>,
    reborn: BTreeSet<String>,
}

/// What has to be said of who takes or frees a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    Keep,
    Take(String),
    Free,
}

impl Model {
    pub fn new() -> Model {
        Model {
            now: Duration::ZERO,
            revision: 1,
            keys: Keys::new(),
            past: BTreeMap::from([(1, Keys::new())]),
            sessions: BTreeMap::new(),
            leases: BTreeMap::new(),
            delays: BTreeMap::new(),
            mark: None,
            written: BTreeSet::new(),
            reborn: BTreeSet::new(),
        }
    }

    /// All that was written since the last commit becomes one revision, with one event of each key.
    pub fn commit(&mut self) {
        let next = self.revision + 1;
        let before = &self.past[&self.revision];
        let mut changed = false;
        for key in std::mem::take(&mut self.written) {
            let old = before.get(&key);
            let kept = old.filter(|_| !self.reborn.contains(&key));
            if let Some(new) = self.keys.get_mut(&key) {
                new.modified = next;
                new.create = kept.map_or(next, |old| old.create);
                new.version = kept.map_or(1, |old| old.version + 1);
            }
            changed |= old.is_some() || self.keys.contains_key(&key);
        }
        self.reborn.clear();
        if changed {
            self.revision = next;
            self.past.insert(next, self.keys.clone());
        }
    }

    pub fn modified(&self, key: &str) -> i64 {
        self.keys.get(key).map_or(0, |key| key.modified)
    }

    pub fn remove(&mut self, key: &str) {
        if self.keys.remove(key).is_some() {
            self.written.insert(key.to_owned());
            self.reborn.insert(key.to_owned());
        }
    }

    pub fn remove_tree(&mut self, prefix: &str) -> usize {
        let gone: Vec<String> =
            self.keys.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
        gone.iter().for_each(|key| self.remove(key));
        gone.len()
    }

    /// Whatever it says, it is a write.
    pub fn put(&mut self, key: &str, row: Key) {
        let create = self.keys.get(key).map_or(self.revision + 1, |old| old.create);
        let row = Key { create, modified: self.revision + 1, ..row };
        self.keys.insert(key.to_owned(), row);
        self.written.insert(key.to_owned());
    }

    fn blank() -> Key {
        Key {
            value: String::new(),
            create: 0,
            modified: 0,
            version: 0,
            lease: 0,
            flags: 0,
            holder: None,
            locks: 0,
        }
    }

    /// Consul's: without a lease, and none where it changes nothing.
    pub fn write(&mut self, key: &str, value: &str, flags: u64, lock: Lock) {
        let old = self.keys.get(key).cloned();
        let mut new = old.clone().unwrap_or_else(Model::blank);
        (new.value, new.flags, new.lease) = (value.to_owned(), flags, 0);
        match lock {
            Lock::Keep => {}
            Lock::Free => new.holder = None,
            Lock::Take(session) => {
                if new.holder.as_ref() != Some(&session) {
                    (new.holder, new.locks) = (Some(session), new.locks + 1);
                }
            }
        }
        if old.as_ref() != Some(&new) {
            self.put(key, new);
        }
    }

    /// etcd's: what it does not see stays.
    pub fn etcd_put(&mut self, key: &str, value: Option<&str>, lease: Option<i64>) {
        let mut new = self.keys.get(key).cloned().unwrap_or_else(Model::blank);
        if let Some(value) = value {
            new.value = value.to_owned();
        }
        if let Some(lease) = lease {
            new.lease = lease;
        }
        self.put(key, new);
    }

    pub fn is_delayed(&self, key: &str) -> bool {
        self.delays.contains_key(key)
    }

    pub fn end_session(&mut self, id: &str) {
        let Some(session) = self.sessions.remove(id) else { return };
        let held: Vec<(String, Key)> = self
            .keys
            .iter()
            .filter(|(_, row)| row.holder.as_deref() == Some(id))
            .map(|(key, row)| (key.clone(), row.clone()))
            .collect();
        for (key, row) in held {
            match session.deletes {
                true => self.remove(&key),
                false => self.put(&key, Key { holder: None, ..row }),
            }
            if session.delay > 0 {
                self.delays.insert(key, self.now + Duration::from_secs(session.delay));
            }
        }
    }

    pub fn end_lease(&mut self, id: i64) -> bool {
        let on_it = self.keys.iter().filter(|(_, row)| row.lease == id);
        let on_it: Vec<String> = on_it.map(|(key, _)| key.clone()).collect();
        on_it.iter().for_each(|key| self.remove(key));
        self.leases.remove(&id).is_some()
    }

    /// The check on the other node says this now; none: it has gone with its node.
    pub fn set_mark(&mut self, mark: Option<bool>) {
        self.mark = mark;
        if mark != Some(true) {
            let external = self.sessions.iter().filter(|(_, session)| session.external);
            let ended: Vec<String> = external.map(|(id, _)| id.clone()).collect();
            ended.iter().for_each(|id| self.end_session(id));
        }
    }

    /// When something ends by itself, from the soonest on.
    fn ends(&self) -> Vec<Duration> {
        let sessions = self.sessions.values().filter_map(|session| session.ends);
        let leases = self.leases.values().map(|lease| lease.ends);
        let mut ends: Vec<Duration> =
            sessions.chain(leases).chain(self.delays.values().copied()).collect();
        ends.sort();
        ends
    }

    /// The next end, if it is at `until` at the latest.
    pub fn next_end(&self, until: Duration) -> Option<Duration> {
        self.ends().into_iter().find(|end| *end <= until)
    }

    /// Whether something ends so near to a moment that nobody can say what comes first.
    pub fn is_crowded(&self, moment: Duration, margin: Duration) -> bool {
        self.ends().iter().any(|end| end.abs_diff(moment) < margin)
    }

    /// Ends what is over at `now`, each by itself.
    pub fn pass(&mut self, now: Duration) {
        while let Some(end) = self.next_end(now) {
            self.now = end;
            let over = |ends: Option<Duration>| ends.is_some_and(|ends| ends <= end);
            if let Some((id, _)) = self.leases.iter().find(|(_, lease)| over(Some(lease.ends))) {
                let id = *id;
                self.end_lease(id);
            } else if let Some((id, _)) = self.sessions.iter().find(|(_, s)| over(s.ends)) {
                let id = id.clone();
                self.end_session(&id);
            } else {
                self.delays.retain(|_, until| *until > end);
            }
            self.commit();
        }
        self.now = now;
    }
}

//! Watchers of the key space on every server: by revision from where they were, over restarts.

use std::time::Duration;

use super::clients::at;
use super::clock::Now;
use super::history::{Event, Watch};
use super::host::Host;

const PACE: Duration = Duration::from_millis(14);
/// Bookmarks are few, for each is checked against everything.
const MARK: Duration = Duration::from_millis(900);

struct Watcher {
    watch: Watch,
    cursor: i64,
    next: Now,
    mark: Now,
    messages: u64,
    /// Its connection broke.
    broken: bool,
}

pub struct Watchers(Vec<Option<Watcher>>);

impl Watchers {
    pub fn new(hosts: &[Host]) -> Watchers {
        let watcher = |host: &Host| Watcher {
            watch: Watch { name: format!("h{}", host.index), from: 2, ..Watch::default() },
            cursor: 2,
            next: Now::ZERO,
            mark: Now::ZERO,
            messages: 0,
            broken: false,
        };
        Watchers(hosts.iter().map(|host| host.is_server().then(|| watcher(host))).collect())
    }

    pub fn step(&mut self, now: Now, hosts: &[Host]) {
        for (watcher, host) in self.0.iter_mut().zip(hosts) {
            let Some(watcher) = watcher.as_mut().filter(|watcher| watcher.next <= now) else {
                continue;
            };
            watcher.next = now + PACE;
            if !host.paused {
                watcher.look(now, host);
            }
        }
    }

    pub fn lose(&mut self, host: usize) {
        if let Some(Some(watcher)) = self.0.get_mut(host) {
            watcher.broken = true;
        }
    }

    pub fn into_watches(self) -> Vec<Watch> {
        self.0.into_iter().flatten().map(|watcher| watcher.watch).collect()
    }
}

impl Watcher {
    fn look(&mut self, now: Now, host: &Host) {
        let Some(cluster) = host.cluster() else { return };
        let state = cluster.snapshot();
        let Some(history) = state.history().filter(|_| state.revision() >= self.cursor) else {
            return;
        };
        assert!(history.compacted() < self.cursor, "nothing is as old as to be compacted");
        if std::mem::take(&mut self.broken) {
            self.watch.resumed.push((at(self.cursor), self.watch.events.len()));
        }
        for (revision, log) in history.from(self.cursor) {
            self.watch.events.extend(log.events.iter().map(|event| Event {
                revision: at(revision),
                key: String::from_utf8_lossy(&event.key).into_owned(),
                value: event.row.as_ref().map(|row| String::from_utf8_lossy(&row.value).into()),
                message: self.messages,
            }));
            self.cursor = revision + 1;
        }
        self.messages += 1;
        if self.mark <= now {
            self.mark = now + MARK;
            self.watch.bookmarks.push((at(state.revision()), self.watch.events.len()));
        }
    }
}

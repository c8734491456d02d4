//! What a watcher may rely on, in etcd's six words.

use std::collections::BTreeSet;

use super::Revision;
use super::versions::Versions;

/// A key that was put (`Some`) or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub revision: Revision,
    pub key: String,
    pub value: Option<String>,
    /// Counts the messages in which events came, from the beginning of the watch.
    pub message: u64,
}

/// A watcher's life, over as many connections as it took: after each it resumed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watch {
    pub name: String,
    pub prefix: String,
    /// The first revision that was asked for.
    pub from: Revision,
    pub events: Vec<Event>,
    /// Revisions up to which it was told to have everything, and how many events it had then.
    pub bookmarks: Vec<(Revision, usize)>,
    /// Revisions from which it asked again, and how many events it had then.
    pub resumed: Vec<(Revision, usize)>,
}

impl Watch {
    pub(super) fn check(&self, versions: &Versions<'_>) -> Vec<String> {
        let mut wrong = self.in_order();
        wrong.extend(self.whole(versions));
        wrong.extend(self.marked());
        let name = &self.name;
        wrong.into_iter().map(|why| format!("watch {name}: {why}")).collect()
    }

    /// Ordered, unique, atomic.
    fn in_order(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (before, event) in self.events.iter().zip(self.events.iter().skip(1)) {
            if event.revision < before.revision {
                wrong.push(format!("not ordered: {event:?} comes after {before:?}"));
            }
            if event.revision == before.revision && event.message != before.message {
                wrong.push(format!("not atomic: {before:?} and {event:?} came apart"));
            }
        }
        let mut places: Vec<(Revision, &str)> =
            self.events.iter().map(|event| (event.revision, event.key.as_str())).collect();
        places.sort_unstable();
        for (one, other) in places.iter().zip(places.iter().skip(1)) {
            if one == other {
                wrong.push(format!("not unique: {} at {} came twice", one.1, one.0));
            }
        }
        let early = self.events.iter().filter(|event| event.revision < self.from);
        wrong.extend(early.map(|event| format!("{event:?} is from before {}", self.from)));
        wrong
    }

    /// Reliable and resumable: nothing is left out between the first revision and the last.
    fn whole(&self, versions: &Versions<'_>) -> Vec<String> {
        let marked = self.bookmarks.iter().map(|(revision, _)| *revision).max();
        let upto = self.events.iter().map(|event| event.revision).max().max(marked);
        let Some(upto) = upto else { return Vec::new() };
        let known = versions.from(self.from).into_iter();
        let had: BTreeSet<(Revision, &str)> =
            self.events.iter().map(|event| (event.revision, event.key.as_str())).collect();
        known
            .filter(|(at, key, _)| *at <= upto && key.starts_with(&self.prefix))
            .filter(|(at, key, _)| !had.contains(&(*at, *key)))
            .map(|missed| format!("not reliable: {missed:?} is left out"))
            .collect()
    }

    /// Bookmarkable: nothing comes after a mark that belongs before it. Resumable: nothing comes
    /// after a resumption from before it.
    fn marked(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (revision, had) in &self.bookmarks {
            let late = self.events.iter().skip(*had).filter(|event| event.revision <= *revision);
            wrong.extend(late.map(|event| format!("not bookmarkable: {event:?} after {revision}")));
        }
        for (revision, had) in &self.resumed {
            let late = self.events.iter().skip(*had).filter(|event| event.revision < *revision);
            wrong.extend(late.map(|event| format!("not resumable: {event:?}, from {revision}")));
        }
        wrong
    }
}

//! Every version of every key that anyone has seen, gathered into one table.

use std::collections::BTreeMap;

use super::{Deed, End, History, Micros, Operation, Revision};

/// A key's value from one revision on; none: it was deleted there.
type Version = Option<String>;

pub(super) struct Versions<'a> {
    of: BTreeMap<&'a str, BTreeMap<Revision, Version>>,
    /// The write that each value is of.
    writes: BTreeMap<&'a str, &'a Operation>,
    /// When deletions whose place is not known were called, by key.
    doubtful: BTreeMap<&'a str, Micros>,
}

impl<'a> Versions<'a> {
    /// The table, and what is wrong with it already.
    pub(super) fn gather(history: &'a History) -> (Versions<'a>, Vec<String>) {
        let mut versions =
            Versions { of: BTreeMap::new(), writes: BTreeMap::new(), doubtful: BTreeMap::new() };
        let mut wrong = Vec::new();
        for operation in &history.operations {
            wrong.extend(versions.take_write(operation));
        }
        for operation in &history.operations {
            wrong.extend(versions.take_read(operation));
        }
        for event in history.watches.iter().flat_map(|watch| &watch.events) {
            let (key, value) = (event.key.as_str(), event.value.as_deref());
            wrong.extend(versions.insert(key, event.revision, value, "a watch"));
        }
        for (key, value, revision) in history.last.iter().flatten() {
            wrong.extend(versions.insert(key, *revision, Some(value), "the end"));
        }
        wrong.extend(versions.one_place_each());
        (versions, wrong)
    }

    fn take_write(&mut self, operation: &'a Operation) -> Option<String> {
        let key = operation.deed.key();
        let twice =
            operation.deed.value().and_then(|value| self.writes.insert(value, operation)).map(
                |_| format!("the history itself is of no use: {operation:?} writes a value twice"),
            );
        if twice.is_some() {
            return twice;
        }
        match (&operation.end, &operation.deed) {
            (End::Unknown | End::Wrote(None), Deed::Delete { .. }) => {
                let since = self.doubtful.entry(key).or_insert(operation.called);
                *since = operation.called.min(*since);
                None
            }
            (End::Wrote(Some(revision)), deed) => {
                self.insert(key, *revision, deed.value(), &operation.client)
            }
            _ => None,
        }
    }

    fn take_read(&mut self, operation: &'a Operation) -> Option<String> {
        let End::Read(seen) = &operation.end else { return None };
        let (value, revision) = seen.value.as_ref()?;
        let key = operation.deed.key();
        if *revision > seen.revision {
            let newer = format!("its value is of revision {revision}");
            return Some(format!("{operation:?} is of revision {}, but {newer}", seen.revision));
        }
        let from = self.writes.get(value.as_str());
        if from.is_some_and(|write| write.called > operation.returned) {
            return Some(format!("{operation:?} saw a value that was written only later"));
        }
        self.insert(key, *revision, Some(value), &operation.client)
    }

    fn insert(
        &mut self,
        key: &'a str,
        revision: Revision,
        value: Option<&str>,
        who: &str,
    ) -> Option<String> {
        let value = value.map(str::to_owned);
        let before = self.of.entry(key).or_default().insert(revision, value.clone());
        let other = before.filter(|before| *before != value)?;
        Some(format!("{key} at revision {revision}: {who} has {value:?}, others {other:?}"))
    }

    /// Each value was written once, by a write that may have happened, to its own key.
    fn one_place_each(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut places: BTreeMap<&str, (&str, Revision)> = BTreeMap::new();
        let all = self.of.iter().flat_map(|(key, of)| of.iter().map(move |(at, v)| (*key, *at, v)));
        for (key, at, value) in all {
            let Some(value) = value.as_deref() else { continue };
            if let Some((other, before)) = places.insert(value, (key, at)) {
                let both = format!("{other} at {before} and {key} at {at}");
                wrong.push(format!("{value} was written once and happened twice: {both}"));
            }
            match self.writes.get(value) {
                None => wrong.push(format!("{key} at {at}: nobody wrote {value}")),
                Some(write) if write.deed.key() != key => {
                    wrong.push(format!("{key} at {at} has a value of another key: {write:?}"));
                }
                Some(write) if write.end == End::Failed => {
                    wrong.push(format!("it failed, yet {key} has its value at {at}: {write:?}"));
                }
                Some(_) => {}
            }
        }
        wrong
    }

    /// The newest version of a key at or before a revision that anyone knows of.
    pub(super) fn at(&self, key: &str, revision: Revision) -> Option<(Revision, &Version)> {
        let (at, version) = self.of.get(key)?.range(..=revision).next_back()?;
        Some((*at, version))
    }

    /// Every version that anyone knows of, by revision.
    pub(super) fn from(&self, revision: Revision) -> Vec<(Revision, &'a str, Version)> {
        let all = self.of.iter().flat_map(|(key, of)| {
            of.range(revision..).map(|(at, version)| (*at, *key, version.clone()))
        });
        let mut all: Vec<_> = all.collect();
        all.sort();
        all
    }

    /// A deletion may have taken the key away before `now` without anyone knowing where.
    pub(super) fn may_be_gone(&self, key: &str, now: Micros) -> bool {
        self.doubtful.get(key).is_some_and(|called| *called < now)
    }
}

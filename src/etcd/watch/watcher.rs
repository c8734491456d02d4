//! One watch of one stream: what it is told of the past and of each new revision. Pure.
//!
//! It holds no events, but the revision that it has to look at next: whoever is slow reads on
//! from there in the history, and only a compaction past that place ends the watch.

use bytes::Bytes;

use crate::etcd::kv::key_value;
use crate::etcd::proto::{Event, KeyValue, WatchCreateRequest, event, watch_create_request};
use crate::model::Revision;
use crate::replica::Topic;
use crate::state::{History, KeyEvent, KeyRange, State};

/// Revisions that are looked through before others have their turn.
const PASS: usize = 1000;
/// Bytes of keys and values of one answer, roughly, while it catches up.
const PASS_BYTES: usize = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Watcher {
    pub id: i64,
    range: KeyRange,
    /// The first revision that it has not been told of.
    next: Revision,
    /// What was there already when it began is told in one go.
    past: Revision,
    /// Of the state that it began with: another is another past.
    lineage: u64,
    prev_kv: bool,
    no_put: bool,
    no_delete: bool,
    pub fragment: bool,
    pub progress_notify: bool,
    /// It was told something since it was last told how far the store is.
    pub told: bool,
}

/// Why a watch cannot begin; etcd's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    EmptyRange,
    DuplicateId,
    /// A negative revision.
    BeforeEverything,
}

impl Refused {
    pub fn reason(self) -> &'static str {
        match self {
            Refused::EmptyRange => "mvcc: watcher range is empty",
            Refused::DuplicateId => "mvcc: duplicate watch ID provided on the WatchStream",
            Refused::BeforeEverything => "etcdserver: mvcc: required revision has been compacted",
        }
    }
}

/// What a watcher is to be told next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// Nothing more: it knows everything up to the state's revision.
    Nothing,
    /// With the revision that the answer stands at.
    Events(Vec<Event>, Revision),
    /// Nothing of interest in this pass, but there is more to look through.
    More,
    /// What it has to see next is gone: history begins at this revision.
    Compacted(Revision),
}

impl Watcher {
    pub fn new(id: i64, request: &WatchCreateRequest, state: &State) -> Result<Watcher, Refused> {
        let everything = Bytes::from_static(b"\0");
        let key = if request.key.is_empty() { everything } else { request.key.clone() };
        let range = KeyRange { key, end: request.range_end.clone() };
        if range.is_empty() {
            return Err(Refused::EmptyRange);
        }
        let current = state.revision();
        let next = match request.start_revision {
            start if start < 0 => return Err(Refused::BeforeEverything),
            0 => current + 1,
            start => start,
        };
        let filters =
            |filter: watch_create_request::FilterType| request.filters.contains(&i32::from(filter));
        Ok(Watcher {
            id,
            range,
            next,
            past: current,
            lineage: state.identity().lineage,
            prev_kv: request.prev_kv,
            no_put: filters(watch_create_request::FilterType::Noput),
            no_delete: filters(watch_create_request::FilterType::Nodelete),
            fragment: request.fragment,
            progress_notify: request.progress_notify,
            told: false,
        })
    }

    /// What to be woken by: nothing less than its range.
    pub fn topic(&self) -> Topic {
        match self.range.end.as_ref() {
            b"" => Topic::Key(self.range.key.clone()),
            b"\0" => Topic::Prefix(Bytes::new()),
            end => {
                let same = self.range.key.iter().zip(end).take_while(|(a, b)| a == b).count();
                let key = &self.range.key;
                // `[a/b, a/c)` is a prefix whole: the two differ in their last byte alone.
                let whole = KeyRange::prefix(key).end == self.range.end;
                Topic::Prefix(if whole { key.clone() } else { key.slice(..same) })
            }
        }
    }

    /// Whether it knows everything that the state does.
    pub fn is_synced(&self, state: &State) -> bool {
        self.next > state.revision()
    }

    /// Looks through the next revisions. To be called until there is nothing more.
    pub fn next(&mut self, state: &State, history: &History) -> Next {
        let compacted = history.compacted();
        if self.lineage != state.identity().lineage || self.next < compacted {
            return Next::Compacted(compacted);
        }
        if self.is_synced(state) {
            return Next::Nothing;
        }
        let (mut events, mut weight) = (Vec::new(), 0);
        for (revision, log) in history.from(self.next).take(PASS) {
            let found = log.events.iter().filter(|event| self.range.contains(&event.key));
            let before = events.len();
            events.extend(found.filter_map(|event| self.event(history, event, revision)));
            self.next = revision + 1;
            let fresh = events.get(before..).unwrap_or_default();
            weight += fresh.iter().map(weight_of).sum::<usize>();
            // What is new goes revision by revision, what is old in one answer.
            if !events.is_empty() && (revision > self.past || weight > PASS_BYTES) {
                self.told = true;
                let at = if revision > self.past { revision } else { state.revision() };
                return Next::Events(events, at);
            }
        }
        if history.from(self.next).next().is_none() {
            self.next = self.next.max(state.revision() + 1);
        }
        if events.is_empty() {
            return if self.is_synced(state) { Next::Nothing } else { Next::More };
        }
        self.told = true;
        Next::Events(events, state.revision())
    }

    fn event(&self, history: &History, event: &KeyEvent, revision: Revision) -> Option<Event> {
        let filtered = if event.row.is_some() { self.no_put } else { self.no_delete };
        if filtered {
            return None;
        }
        let before = revision - 1;
        let prev_kv = match self.prev_kv && before >= history.compacted() {
            true => history.at(&event.key, before).map(|row| key_value(&event.key, row, false)),
            false => None,
        };
        let (kind, kv) = match &event.row {
            Some(row) => (event::EventType::Put, key_value(&event.key, row, false)),
            None => {
                let (key, mod_revision) = (event.key.clone(), revision);
                (event::EventType::Delete, KeyValue { key, mod_revision, ..KeyValue::default() })
            }
        };
        Some(Event { r#type: kind.into(), kv: Some(kv), prev_kv })
    }
}

fn weight_of(event: &Event) -> usize {
    let rows = event.kv.iter().chain(&event.prev_kv);
    rows.map(|row| row.key.len() + row.value.len()).sum()
}

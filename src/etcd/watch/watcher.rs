//! One watch of one stream: what it is told of the past and of each new revision. Pure.
//!
//! It holds no events, but the revision that it has to look at next: whoever is slow reads on
//! from there in the history, and only a compaction past that place ends the watch.

use bytes::Bytes;

use crate::access::{Caller, Denied, Need};
use crate::etcd::proto::{WatchCreateRequest, watch_create_request};
use crate::model::Revision;
use crate::replica::Topic;
use crate::state::{EventsPage, EventsQuery, KeyRange, PastEvent, RangeError, State};

/// So many revisions behind the store a watch counts as slow: it catches up in answers of many
/// revisions, where one that keeps up gets an answer for each.
const BEHIND: Revision = 64;

#[derive(Debug)]
pub(super) struct Watcher {
    pub id: i64,
    /// Tells it from a later one with the same id.
    pub serial: u64,
    /// What it has to be told of next, from the first revision that it has not been told of.
    query: EventsQuery,
    no_put: bool,
    no_delete: bool,
    pub fragment: bool,
    pub progress_notify: bool,
    /// A server is being asked about what it has to see next.
    pub recalling: bool,
    /// It was told something since it was last told how far the store is.
    pub told: bool,
}

/// Why a watch cannot begin; etcd's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    EmptyRange,
    DuplicateId,
    /// A negative revision.
    BeforeEverything,
    Denied(Denied),
}

impl Refused {
    pub fn reason(self) -> &'static str {
        match self {
            Refused::EmptyRange => "mvcc: watcher range is empty",
            Refused::DuplicateId => "mvcc: duplicate watch ID provided on the WatchStream",
            Refused::Denied(Denied::Nobody) => {
                "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"
            }
            // Clients compare this one, to log in again.
            Refused::Denied(Denied::Token) => {
                "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
            }
            Refused::Denied(Denied::Permission | Denied::Lacks(_)) => {
                "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
            }
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
    Events(Vec<PastEvent>, Revision),
    /// Nothing of interest in this pass, but there is more to look through.
    More,
    /// What it has to see next is gone: history begins at this revision.
    Compacted(Revision),
    /// What it has to see next is known to servers alone.
    Elsewhere,
}

impl Watcher {
    /// The range that a request names: without a key it begins at the first one.
    pub fn range_of(request: &WatchCreateRequest) -> KeyRange {
        let everything = Bytes::from_static(b"\0");
        let key = if request.key.is_empty() { everything } else { request.key.clone() };
        KeyRange { key, end: request.range_end.clone() }
    }

    /// With the id that is asked for; 0 is none.
    pub fn new(
        serial: u64,
        request: &WatchCreateRequest,
        state: &State,
    ) -> Result<Watcher, Refused> {
        let range = Watcher::range_of(request);
        if range.is_empty() {
            return Err(Refused::EmptyRange);
        }
        let current = state.revision();
        let from = match request.start_revision {
            start if start < 0 => return Err(Refused::BeforeEverything),
            0 => current + 1,
            start => start,
        };
        let filters =
            |filter: watch_create_request::FilterType| request.filters.contains(&i32::from(filter));
        Ok(Watcher {
            id: request.watch_id,
            serial,
            // What was there already is told in one go.
            query: EventsQuery {
                range,
                from,
                past: current,
                prev: request.prev_kv,
                lineage: state.identity().lineage,
            },
            no_put: filters(watch_create_request::FilterType::Noput),
            no_delete: filters(watch_create_request::FilterType::Nodelete),
            fragment: request.fragment,
            progress_notify: request.progress_notify,
            recalling: false,
            told: false,
        })
    }

    /// Whether somebody may be told of its keys.
    pub fn is_open_to(&self, caller: &Caller, state: &State) -> Result<(), Refused> {
        state.judge(caller, Need::Read(&self.query.range)).map_err(Refused::Denied)
    }

    /// What to be woken by: its range, and nothing else.
    pub fn topic(&self) -> Topic {
        Topic::Range(self.query.range.clone())
    }

    /// Whether it knows everything that the state does.
    pub fn is_synced(&self, state: &State) -> bool {
        self.query.from > state.revision()
    }

    /// What it has to be told of next.
    pub fn query(&self) -> EventsQuery {
        self.query.clone()
    }

    /// Looks through the next revisions. To be called until there is nothing more.
    pub fn next(&mut self, state: &State) -> Next {
        if self.is_synced(state) && self.query.lineage == state.identity().lineage {
            return Next::Nothing;
        }
        if state.revision() - self.query.from >= BEHIND {
            self.query.past = state.revision();
        }
        match state.events(&self.query) {
            Ok(page) => self.take(page),
            Err(RangeError::Compacted { compacted, .. }) => Next::Compacted(compacted),
            Err(RangeError::NoHistory) => Next::Elsewhere,
            // Only reads of one revision can lie in the future.
            Err(RangeError::Future { .. }) => Next::Nothing,
        }
    }

    /// What a page says that answers its question.
    pub fn take(&mut self, page: EventsPage) -> Next {
        // What is new stands at its own revision, what is old at the store's.
        let newest = page.events.last().map_or(page.current, |last| last.revision);
        let at = if newest > self.query.past { newest } else { page.current };
        self.query.from = page.next;
        let mut events = page.events;
        events.retain(|past| if past.event.row.is_some() { !self.no_put } else { !self.no_delete });
        if events.is_empty() {
            return if page.next > page.current { Next::Nothing } else { Next::More };
        }
        self.told = true;
        Next::Events(events, at)
    }
}

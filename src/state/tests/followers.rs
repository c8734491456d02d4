//! Absorbing the changes from any snapshot on makes the same state as applying the commands.

use proptest::prelude::*;

use crate::model::{Applied, Folded, Revision, Stamp, limits};
use crate::state::{
    Command, EventsQuery, Key, KeyRange, Part, PastAnswer, PastEvent, PastQuery, Proposal,
    RangeError, RangeQuery, State,
};

use super::commands::{NODES, SERVICES, commands};
use super::{Told, put};

/// Rows, indexes and what is derived: the answers to the questions that need a derived table.
fn picture(state: &State) -> String {
    let mut lines = vec![format!("{:?}", state.services())];
    for service in SERVICES {
        lines.extend(state.instances(service).map(|view| format!("{view:?}")));
    }
    for node in NODES.map(Folded::new) {
        lines.push(format!("{:?}", state.checks_of(&node, "")));
    }
    lines.extend(state.presences().map(|presence| format!("{presence:?}")));
    let leases = state.leases().map(|lease| (lease.id, state.lease_keys(lease.id)));
    lines.extend(leases.map(|(id, keys)| format!("{id:?} {:?}", keys.collect::<Vec<_>>())));
    lines.push(format!("{:?}", state.deletions));
    lines.join("\n")
}

/// Everything from a revision on, with what was before.
fn events_from(state: &State, from: Revision) -> EventsQuery {
    let lineage = state.identity().lineage;
    EventsQuery { range: KeyRange::prefix(&Key::new()), from, past: 1 << 40, prev: true, lineage }
}

/// What an agent that keeps no history knows by itself, and what it has to ask a server.
#[test]
fn the_newest_revisions_are_kept_and_the_rest_is_asked_for() {
    let mut told = Told::founded();
    let mut edge = State::decode(&told.state.encode(Part::Server), Part::Shared).unwrap();
    let first = edge.revision() + 1;
    let last = first + limits::RECENT_REVISIONS as Revision;
    for n in first..=last {
        told.tell(Stamp(1), Command::Put(put(&format!("k{}", n % 7), &format!("v{n}"))));
        edge.absorb(told.entries.last().unwrap());
    }
    assert_eq!(edge.events(&events_from(&edge, first)), Err(RangeError::NoHistory));
    for from in [first + 1, last - 3, last, last + 1] {
        let query = events_from(&edge, from);
        let known = edge.events(&query).unwrap();
        let asked = told.state.recall(&PastQuery::Events(query.clone()));
        // A server's page ends after so many revisions.
        let PastAnswer::Events(mut page) = asked else { panic!("{asked:?}") };
        while page.next <= page.current {
            let next = EventsQuery { from: page.next, ..query.clone() };
            let more = told.state.events(&next).unwrap();
            page.events.extend(more.events);
            page.next = more.next;
        }
        assert_eq!(known, page, "from {from}");
        let again = |past: &PastEvent| past.prev.is_some() == (past.revision >= first + 7);
        assert!(known.events.iter().all(again));
    }
    let big = "x".repeat(limits::RECENT_BYTES);
    told.tell(Stamp(1), Command::Put(put("big", &big)));
    edge.absorb(told.entries.last().unwrap());
    assert_eq!(edge.events(&events_from(&edge, last + 1)), Err(RangeError::NoHistory));
    assert_eq!(edge.events(&events_from(&edge, last + 2)).unwrap().events, []);

    told.tell(Stamp(2), Command::Put(put("k1", "after")));
    edge.absorb(told.entries.last().unwrap());
    told.tell(Stamp(2), Command::Compact(last + 2));
    edge.absorb(told.entries.last().unwrap());
    let gone = RangeError::Compacted { asked: last + 1, compacted: last + 2 };
    assert_eq!(edge.events(&events_from(&edge, last + 1)), Err(gone));
    let known = edge.events(&events_from(&edge, last + 2)).unwrap();
    assert_eq!(Ok(&known), told.state.events(&events_from(&edge, last + 2)).as_ref());
    assert_eq!(known.events.first().unwrap().prev, None, "that is compacted away");
}

/// Rows of a past revision come in pages, and are what a server's own range says.
#[test]
fn a_past_range_is_read_in_pages() {
    let mut told = Told::founded();
    let value = "x".repeat(300 * 1024);
    for n in 0..9 {
        told.tell(Stamp(1), Command::Put(put(&format!("k{n}"), &value)));
    }
    let revision = told.state.revision();
    told.tell(Stamp(1), Command::Put(put("k3", "later")));
    let range = KeyRange { key: "k1".into(), end: "k8".into() };
    let (mut rows, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let query = PastQuery::Rows { range: range.clone(), revision, after };
        let PastAnswer::Rows(page, more) = told.state.recall(&query) else { panic!("no rows") };
        after = page.last().map(|(key, _)| key.clone());
        rows.extend(page);
        pages += 1;
        if !more {
            break;
        }
    }
    assert!(pages > 1);
    let query = RangeQuery { revision, ..RangeQuery::new(range) };
    assert_eq!(told.state.range(&query), Ok(query.select(rows.into_iter())));
}

proptest! {
    #[test]
    fn from_any_snapshot_on(commands in commands(), cut in any::<prop::sample::Index>()) {
        let mut told = Told::founded();
        let cut = cut.index(commands.len() + 1);
        let mut server = None;
        for (n, (stamp, command)) in commands.iter().cloned().enumerate() {
            if n == cut {
                server = Some(told.state.encode(Part::Server));
            }
            told.tell(stamp, command);
        }
        let bytes = server.unwrap_or_else(|| told.state.encode(Part::Server));

        let mut edge = State::decode(&bytes, Part::Shared).unwrap();
        prop_assert!(edge.history().is_none());
        let since = edge.revision();
        for entry in told.entries.iter().skip(cut + 1) {
            // As they travel.
            let bytes = postcard::to_stdvec(&*entry.shared()).unwrap();
            edge.absorb(&postcard::from_bytes(&bytes).unwrap());
        }
        prop_assert_eq!(edge.checksum(Part::Shared), told.state.checksum(Part::Shared));
        prop_assert_eq!(picture(&edge), picture(&told.state));
        prop_assert_eq!(edge.encode(Part::Server), told.state.encode(Part::Shared));
        for from in 1..=edge.revision() + 1 {
            let query = events_from(&edge, from);
            match edge.events(&query) {
                Err(RangeError::NoHistory) => prop_assert!(from <= since, "it has seen {}", from),
                known => prop_assert_eq!(known, told.state.events(&query), "from {}", from),
            }
        }

        let mut server = State::decode(&bytes, Part::Server).unwrap();
        for (stamp, command) in commands.into_iter().skip(cut) {
            let at = Applied { term: 1, index: server.applied().index + 1 };
            let (_, changes) = server.apply(at, &Proposal { stamp, command });
            server.absorb(&changes);
        }
        prop_assert_eq!(&server.history, &told.state.history);
        prop_assert_eq!(picture(&server), picture(&told.state));
        prop_assert_eq!(server.encode(Part::Server), told.state.encode(Part::Server));
    }

    #[test]
    fn a_root_that_was_taken_never_changes(commands in commands()) {
        let mut told = Told::founded();
        let mut taken = Vec::new();
        for (stamp, command) in commands {
            taken.push((told.state.clone(), told.state.encode(Part::Server)));
            told.tell(stamp, command);
        }
        for (root, bytes) in taken {
            prop_assert_eq!(root.encode(Part::Server), bytes);
        }
    }
}

//! Each kind of violation is found, and what is well is let pass.

use super::*;

fn op(deed: Deed, called: Micros, returned: Micros, end: End) -> Operation {
    Pending::call("c", deed, called).end(end, returned)
}

fn put(value: &str, called: Micros, returned: Micros, end: End) -> Operation {
    op(Deed::Put { key: "k".into(), value: value.into() }, called, returned, end)
}

fn get(called: Micros, at: Revision, value: Option<(&str, Revision)>) -> Operation {
    let value = value.map(|(value, revision)| (value.to_owned(), revision));
    let seen = Seen { revision: at, value };
    op(Deed::Get { key: "k".into() }, called, called + 5, End::Read(seen))
}

fn wrote(revision: Revision) -> End {
    End::Wrote(Some(revision))
}

fn history(operations: impl IntoIterator<Item = Operation>) -> History {
    History { operations: operations.into_iter().collect(), ..History::default() }
}

#[track_caller]
fn well(history: &History) {
    assert_eq!(history.check(), Vec::<String>::new());
}

#[track_caller]
fn wrong(history: &History, why: &str) {
    let found = history.check();
    assert!(found.iter().any(|text| text.contains(why)), "{why:?} is not among {found:#?}");
}

#[test]
fn a_history_in_order_passes() {
    let history = history([
        put("a", 0, 10, wrote(2)),
        get(11, 2, Some(("a", 2))),
        put("b", 20, 30, wrote(3)),
        // Called before b was acknowledged: it may see either.
        get(25, 2, Some(("a", 2))),
        get(31, 3, Some(("b", 3))),
    ]);
    well(&history);
    assert_eq!(history.acknowledged(), 2);
}

#[test]
fn a_stale_read_is_found() {
    let old = get(21, 2, Some(("a", 2)));
    let mut history = history([put("a", 0, 10, wrote(2)), put("b", 11, 20, wrote(3)), old]);
    wrong(&history, "is not after it");
    // Asked for whatever the agent has, it is none.
    history.operations[2].deed = Deed::StaleGet { key: "k".into() };
    well(&history);
}

#[test]
fn a_read_that_goes_back_behind_another_read_is_found() {
    let pending = put("b", 11, 90, End::Unknown);
    let new = get(20, 3, Some(("b", 3)));
    let old = get(30, 2, Some(("a", 2)));
    wrong(&history([put("a", 0, 10, wrote(2)), pending, new, old]), "is not after it");
}

#[test]
fn a_read_that_misses_a_version_at_its_own_revision_is_found() {
    let blind = get(21, 3, Some(("a", 2)));
    let history = history([put("a", 0, 10, wrote(2)), put("b", 11, 20, wrote(3)), blind]);
    wrong(&history, "missed");
}

#[test]
fn a_read_from_the_future_is_found() {
    wrong(&history([get(0, 2, Some(("a", 2))), put("a", 10, 20, wrote(2))]), "only later");
    wrong(&history([put("a", 0, 10, wrote(5)), get(11, 4, Some(("a", 5)))]), "is of revision 4");
}

#[test]
fn a_write_behind_an_earlier_one_is_found() {
    wrong(&history([put("a", 0, 10, wrote(3)), put("b", 11, 20, wrote(2))]), "is not after it");
}

#[test]
fn an_unknown_write_may_have_happened_or_not_but_not_both() {
    let lost = put("a", 0, 10, End::Unknown);
    well(&history([lost.clone(), get(11, 1, None)]));
    // It may even happen later.
    well(&history([lost.clone(), get(11, 1, None), get(20, 2, Some(("a", 2)))]));
    let back = [lost, get(11, 2, Some(("a", 2))), get(20, 2, None)];
    wrong(&history(back), "missed");
}

#[test]
fn a_write_that_happened_twice_is_found() {
    let reads = [get(11, 2, Some(("a", 2))), get(21, 3, Some(("a", 3)))];
    let history = history([put("a", 0, 10, End::Unknown)].into_iter().chain(reads));
    wrong(&history, "happened twice");
}

#[test]
fn a_failed_write_that_happened_is_found() {
    wrong(&history([put("a", 0, 10, End::Failed), get(11, 2, Some(("a", 2)))]), "it failed, yet");
}

#[test]
fn a_value_that_nobody_wrote_or_of_another_key_is_found() {
    wrong(&history([get(11, 2, Some(("a", 2)))]), "nobody wrote");
    let mut other = put("a", 0, 10, wrote(2));
    other.deed = Deed::Put { key: "j".into(), value: "a".into() };
    wrong(&history([other, get(11, 3, Some(("a", 3)))]), "of another key");
}

#[test]
fn two_values_at_one_revision_are_found() {
    wrong(&history([put("a", 0, 10, wrote(2)), put("b", 0, 10, wrote(2))]), "others");
}

#[test]
fn an_acknowledged_write_must_be_there_at_the_end() {
    let mut history = history([put("a", 0, 10, wrote(2)), put("b", 11, 20, End::Unknown)]);
    history.last = Some(Vec::new());
    wrong(&history, "is lost");
    history.last = Some(vec![("k".into(), "a".into(), 2)]);
    well(&history);
    history.last = Some(vec![("k".into(), "b".into(), 3)]);
    well(&history);
}

#[test]
fn an_acknowledged_write_that_an_older_one_replaced_is_found() {
    let mut history = history([put("a", 0, 10, wrote(2)), put("b", 11, 20, wrote(3))]);
    history.last = Some(vec![("k".into(), "a".into(), 2)]);
    wrong(&history, "is lost");
}

#[test]
fn a_deletion_counts_as_a_version() {
    let deleted = |end| op(Deed::Delete { key: "k".into() }, 11, 20, end);
    let mut gone = history([put("a", 0, 10, wrote(2)), deleted(wrote(3)), get(21, 3, None)]);
    gone.last = Some(Vec::new());
    well(&gone);
    let back = get(21, 3, Some(("a", 2)));
    wrong(&history([put("a", 0, 10, wrote(2)), deleted(wrote(3)), back]), "missed");
    // Of unknown outcome it explains an absence, but not one before it was called.
    let doubtful = deleted(End::Unknown);
    well(&history([put("a", 0, 10, wrote(2)), doubtful.clone(), get(21, 3, None)]));
    let mut early = get(10, 2, None);
    early.returned = 11;
    wrong(&history([put("a", 0, 5, wrote(2)), doubtful, early]), "missed");
}

#[test]
fn a_comparison_that_was_wrong_is_found() {
    let cas =
        |expected, end| op(Deed::Cas { key: "k".into(), expected, value: "c".into() }, 21, 30, end);
    let writes = [put("a", 0, 10, wrote(2)), put("b", 11, 20, wrote(3))];
    let with = |cas| history(writes.iter().cloned().chain([cas]));
    well(&with(cas(3, wrote(4))));
    wrong(&with(cas(2, wrote(4))), "came after");
    wrong(&with(cas(0, wrote(4))), "came after");
}

fn event(revision: Revision, value: &str, message: u64) -> Event {
    Event { revision, key: "k".into(), value: Some(value.into()), message }
}

/// Three acknowledged writes at 2, 3 and 4, and a watch of them.
fn watched(events: Vec<Event>) -> History {
    let writes = [("a", 2), ("b", 3), ("c", 4)];
    let writes = writes.map(|(value, at)| put(value, at * 10, at * 10 + 5, wrote(at)));
    let watch = Watch { name: "w".into(), from: 2, events, ..Watch::default() };
    History { watches: vec![watch], ..history(writes) }
}

#[test]
fn a_true_watch_passes() {
    let mut history = watched(vec![event(2, "a", 0), event(3, "b", 1), event(4, "c", 1)]);
    history.watches[0].bookmarks = vec![(2, 1), (4, 3)];
    history.watches[0].resumed = vec![(3, 1), (5, 3)];
    well(&history);
    // One that has not had the rest yet is no liar.
    well(&watched(vec![event(2, "a", 0)]));
}

#[test]
fn a_watch_out_of_order_is_found() {
    wrong(&watched(vec![event(3, "b", 0), event(2, "a", 1)]), "not ordered");
}

#[test]
fn an_event_that_comes_twice_is_found() {
    wrong(&watched(vec![event(2, "a", 0), event(2, "a", 0)]), "not unique");
}

#[test]
fn an_event_that_is_left_out_is_found() {
    wrong(&watched(vec![event(2, "a", 0), event(4, "c", 1)]), "not reliable");
}

#[test]
fn a_revision_in_two_messages_is_found() {
    let mut history = watched(vec![event(2, "a", 0), event(2, "x", 1)]);
    history.watches[0].events[1].key = "k2".into();
    wrong(&history, "not atomic");
}

#[test]
fn a_watch_that_resumes_too_early_is_found() {
    let mut history = watched(vec![event(2, "a", 0), event(3, "b", 1)]);
    history.watches[0].resumed = vec![(4, 1)];
    wrong(&history, "not resumable");
}

#[test]
fn a_mark_that_comes_too_early_is_found() {
    let mut history = watched(vec![event(2, "a", 0), event(3, "b", 1)]);
    history.watches[0].bookmarks = vec![(3, 1)];
    wrong(&history, "not bookmarkable");
    // Nor may a mark pass over what never comes.
    let mut history = watched(vec![event(2, "a", 0)]);
    history.watches[0].bookmarks = vec![(3, 1)];
    wrong(&history, "not reliable");
}

#[test]
fn an_event_that_contradicts_a_write_is_found() {
    wrong(&watched(vec![event(2, "b", 0)]), "others");
}

#[test]
fn a_lease_that_ends_early_is_found() {
    let lease = |gone| Lease { name: "l".into(), ttl: 10, renewed: vec![0, 7], gone };
    let with = |gone| History { leases: vec![lease(gone)], ..History::default() };
    well(&with(None));
    well(&with(Some(17)));
    wrong(&with(Some(16)), "ended 9 us after");
}

fn hold(holder: &str, token: Revision, until: Option<Revision>, called: Micros) -> Hold {
    let (lock, holder) = ("l".to_owned(), holder.to_owned());
    let returned = called + 5;
    Hold { lock, holder, token, since: token, until, called, returned, sure: returned }
}

#[test]
fn holders_of_a_lock_must_be_disjoint_and_their_tokens_rise() {
    let with = |holds: &[Hold]| History { holds: holds.into(), ..History::default() };
    well(&with(&[hold("x", 2, Some(4), 0), hold("y", 4, None, 3)]));
    wrong(&with(&[hold("x", 2, Some(5), 0), hold("y", 4, None, 3)]), "two hold a lock");
    wrong(&with(&[hold("x", 2, Some(2), 0), hold("y", 2, None, 3)]), "one token");
    wrong(&with(&[hold("x", 4, None, 0), hold("y", 2, Some(3), 10)]), "a token fell");
    // The third comes between the first and what it gave up.
    let between = [hold("x", 2, Some(9), 0), hold("y", 4, Some(3), 3), hold("z", 5, None, 4)];
    wrong(&with(&between), "two hold a lock");
    // Who waited in the queue meanwhile held nothing.
    let queued = Hold { since: 9, ..hold("y", 4, None, 3) };
    well(&with(&[hold("x", 2, Some(9), 0), queued]));
}

#[test]
fn a_lock_that_is_taken_from_its_holder_is_found() {
    let with = |sure| {
        let one = Hold { sure, ..hold("x", 2, None, 0) };
        History { holds: vec![one, hold("y", 4, None, 3)], ..History::default() }
    };
    well(&with(8));
    wrong(&with(9), "taken from its holder");
}

//! Linearizability by revision: sort by time and sweep.

use super::versions::Versions;
use super::{Deed, End, History, Micros, Operation, Revision, Seen};

/// The revision that an operation proves to have existed when it returned.
fn reached(operation: &Operation) -> Option<Revision> {
    match &operation.end {
        End::Wrote(revision) => *revision,
        End::Read(seen) => Some(seen.revision),
        End::Failed | End::Unknown => None,
    }
}

pub(super) fn operations(history: &History, versions: &Versions<'_>) -> Vec<String> {
    let mut wrong = real_time(history);
    for operation in &history.operations {
        match (&operation.deed, &operation.end) {
            (_, End::Read(seen)) => wrong.extend(value(operation, seen, versions)),
            (Deed::Cas { key, expected, .. }, End::Wrote(Some(revision))) => {
                wrong.extend(compared(operation, key, *expected, *revision, versions));
            }
            _ => {}
        }
    }
    wrong
}

/// Who is called after another has returned finds at least its revision; a write makes a new one.
fn real_time(history: &History) -> Vec<String> {
    let mut ends: Vec<(Micros, Revision, &Operation)> = history
        .operations
        .iter()
        .filter_map(|operation| Some((operation.returned, reached(operation)?, operation)))
        .collect();
    ends.sort_by_key(|(returned, revision, _)| (*returned, *revision));
    let mut calls: Vec<&Operation> = history.operations.iter().collect();
    calls.sort_by_key(|operation| operation.called);
    let (mut wrong, mut highest) = (Vec::new(), None::<(Revision, &Operation)>);
    let mut ends = ends.into_iter().peekable();
    for operation in calls {
        while let Some((_, revision, ended)) = ends.next_if(|(at, ..)| *at < operation.called) {
            if highest.is_none_or(|(before, _)| before < revision) {
                highest = Some((revision, ended));
            }
        }
        let (Some((before, first)), Some(own)) = (highest, reached(operation)) else { continue };
        let behind = match (&operation.deed, &operation.end) {
            (Deed::StaleGet { .. }, _) => false,
            (_, End::Read(_)) => own < before,
            _ => own <= before,
        };
        if behind {
            wrong.push(format!("{operation:?} was called after {first:?}, but is not after it"));
        }
    }
    wrong
}

/// A read sees the newest version at its revision.
fn value(operation: &Operation, seen: &Seen, versions: &Versions<'_>) -> Option<String> {
    let key = operation.deed.key();
    let known = versions.at(key, seen.revision);
    let missed = match (&seen.value, known) {
        (Some((_, at)), Some((newest, _))) => newest > *at,
        (None, Some((_, Some(_)))) => !versions.may_be_gone(key, operation.returned),
        _ => false,
    };
    missed.then(|| format!("{operation:?} missed {known:?}"))
}

/// A compare-and-set was right about what came before it.
fn compared(
    operation: &Operation,
    key: &str,
    expected: Revision,
    revision: Revision,
    versions: &Versions<'_>,
) -> Option<String> {
    let before = versions.at(key, revision.saturating_sub(1));
    let right = match before {
        Some((_, Some(_))) if expected == 0 => versions.may_be_gone(key, operation.returned),
        Some((at, Some(_))) => at == expected,
        Some((_, None)) => expected == 0,
        None => true,
    };
    (!right).then(|| format!("{operation:?} came after {before:?}"))
}

/// Nothing that was acknowledged is missing at the end.
pub(super) fn last(history: &History, versions: &Versions<'_>) -> Vec<String> {
    let Some(last) = &history.last else { return Vec::new() };
    let mut wrong = Vec::new();
    let mut keys: Vec<&str> = history.operations.iter().map(|op| op.deed.key()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let found = last.iter().find(|(name, ..)| name == key);
        let known = versions.at(key, Revision::MAX);
        let lost = match (found, known) {
            (Some((_, _, at)), Some((newest, _))) => newest > *at,
            (None, Some((_, Some(_)))) => !versions.may_be_gone(key, Micros::MAX),
            _ => false,
        };
        if lost {
            wrong.push(format!("{key}: {known:?} is lost, at the end there is {found:?}"));
        }
    }
    wrong
}

//! A lock has one holder at a time, and every new one a higher fencing token.

use std::collections::BTreeMap;

use super::{Micros, Revision};

/// One holder's time with a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub lock: String,
    pub holder: String,
    /// The fencing token: the revision at which it took its place in the queue.
    pub token: Revision,
    /// A revision at which it had the lock, as it was told.
    pub since: Revision,
    /// The revision at which it was given up or taken away; none if nobody knows.
    pub until: Option<Revision>,
    /// When the holder asked for it, and when it was told that it had it.
    pub called: Micros,
    pub returned: Micros,
    /// Until when nobody may take it away: it gives it up then, or its lease may end.
    pub sure: Micros,
}

pub(super) fn check(holds: &[Hold]) -> Vec<String> {
    let mut locks: BTreeMap<&str, Vec<&Hold>> = BTreeMap::new();
    for hold in holds {
        locks.entry(hold.lock.as_str()).or_default().push(hold);
    }
    let mut wrong = Vec::new();
    for mut holds in locks.into_values() {
        holds.sort_by_key(|hold| hold.token);
        for (one, next) in holds.iter().zip(holds.iter().skip(1)) {
            if one.token == next.token {
                wrong.push(format!("two holders have one token: {one:?}, {next:?}"));
            }
        }
        wrong.extend(disjoint(&holds));
        wrong.extend(rising(&holds));
    }
    wrong
}

/// Nobody is told that it has a lock which another has still, by revision or by the clock.
fn disjoint(holds: &[&Hold]) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut longest, mut surest) = (None::<&Hold>, None::<&Hold>);
    for next in holds {
        if let Some(one) = longest.filter(|one| one.until > Some(next.since)) {
            wrong.push(format!("two hold a lock at once: {one:?}, {next:?}"));
        }
        if let Some(one) = surest.filter(|one| one.sure > next.returned) {
            wrong.push(format!("a lock was taken from its holder: {one:?}, {next:?}"));
        }
        longest = longest.into_iter().chain([*next]).max_by_key(|hold| hold.until);
        surest = surest.into_iter().chain([*next]).max_by_key(|hold| hold.sure);
    }
    wrong
}

/// Whoever asked after another had the lock got a higher token.
fn rising(holds: &[&Hold]) -> Vec<String> {
    let mut wrong = Vec::new();
    for one in holds {
        let later = holds.iter().filter(|next| next.called > one.returned);
        let lower = later.filter(|next| next.token < one.token);
        wrong.extend(lower.map(|next| format!("a token fell: {one:?}, then {next:?}")));
    }
    wrong
}

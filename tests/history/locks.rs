//! A lock has one holder at a time, and every new one a higher fencing token.

use std::collections::BTreeMap;

use super::{Micros, Revision};

/// One holder's time with a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub lock: String,
    pub holder: String,
    /// The fencing token: the revision at which it was taken.
    pub token: Revision,
    /// The revision at which it was given up or taken away; none if nobody knows.
    pub until: Option<Revision>,
    /// When the holder asked for it, and when it was told that it had it.
    pub called: Micros,
    pub returned: Micros,
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
            } else if one.until.is_some_and(|until| until > next.token) {
                wrong.push(format!("two hold a lock at once: {one:?}, {next:?}"));
            }
        }
        wrong.extend(rising(&holds));
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

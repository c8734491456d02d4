//! Decides, by what replicas say after a checkpoint, whether one of them is odd. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Applied, NodeId};

/// What a replica's state comes to after a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Sum {
    /// Over what everyone holds.
    pub shared: u32,
    /// Over what servers hold: the same and the history.
    pub server: u32,
}

/// What one replica says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    pub id: NodeId,
    /// The checkpoint's place in the log.
    pub at: Applied,
    pub sum: Sum,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verdict {
    /// Not everyone has said anything yet.
    Pending,
    Equal,
    /// These differ from at least two who are equal, and who are the most.
    Odd(Vec<NodeId>),
    /// They differ, and nobody can tell who is right.
    Split,
    /// Those who said anything are equal; of these it is not known. That is not "equal".
    Unknown(Vec<NodeId>),
}

impl Verdict {
    /// Whether what this replica says is what the servers agree on.
    pub fn is_for(&self, id: NodeId) -> bool {
        match self {
            Verdict::Equal => true,
            Verdict::Odd(ids) => !ids.contains(&id),
            Verdict::Pending | Verdict::Split | Verdict::Unknown(_) => false,
        }
    }
}

/// `waited`: who has said nothing by now will not.
pub(super) fn judge(sums: &BTreeMap<NodeId, Sum>, servers: &[NodeId], waited: bool) -> Verdict {
    let missing: Vec<NodeId> =
        servers.iter().copied().filter(|id| !sums.contains_key(id)).collect();
    if !missing.is_empty() && !waited {
        return Verdict::Pending;
    }
    let mut groups: BTreeMap<Sum, usize> = BTreeMap::new();
    for sum in sums.values() {
        *groups.entry(*sum).or_default() += 1;
    }
    let Some((most, count)) = groups.iter().max_by_key(|(_, count)| **count) else {
        return Verdict::Unknown(missing);
    };
    let others = sums.len() - count;
    match (others, *count) {
        (0, _) if missing.is_empty() => Verdict::Equal,
        (0, _) => Verdict::Unknown(missing),
        (others, count) if count >= 2 && count > others => {
            Verdict::Odd(sums.iter().filter(|(_, sum)| *sum != most).map(|(id, _)| *id).collect())
        }
        _ => Verdict::Split,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(all: &[(u64, u32)], servers: u64, waited: bool) -> Verdict {
        let sum = |server| Sum { shared: 1, server };
        let sums = all.iter().map(|(id, server)| (NodeId(*id), sum(*server))).collect();
        judge(&sums, &(1..=servers).map(NodeId).collect::<Vec<_>>(), waited)
    }

    #[test]
    fn all_are_heard_before_anything_is_said() {
        assert_eq!(judged(&[(1, 7), (2, 8)], 3, false), Verdict::Pending);
        assert_eq!(judged(&[(1, 7), (2, 7), (3, 7)], 3, false), Verdict::Equal);
    }

    #[test]
    fn the_odd_one_is_found_against_two_that_are_equal() {
        assert_eq!(judged(&[(1, 7), (2, 8), (3, 7)], 3, false), Verdict::Odd(vec![NodeId(2)]));
        let five = [(1, 7), (2, 8), (3, 7), (4, 9), (5, 7)];
        assert_eq!(judged(&five, 5, false), Verdict::Odd(vec![NodeId(2), NodeId(4)]));
        assert_eq!(judged(&[(1, 7), (3, 8), (4, 7)], 4, true), Verdict::Odd(vec![NodeId(3)]));
    }

    #[test]
    fn only_what_is_agreed_on_is_told_to_those_who_follow() {
        let agreed = |all: &[(u64, u32)]| judged(all, 3, true).is_for(NodeId(1));
        assert!(agreed(&[(1, 7), (2, 7), (3, 7)]));
        assert!(agreed(&[(1, 7), (2, 7), (3, 8)]), "another one is odd");
        assert!(!agreed(&[(1, 8), (2, 7), (3, 7)]), "it is the odd one");
        assert!(!agreed(&[(1, 7), (2, 8)]));
        assert!(!agreed(&[(1, 7), (2, 7)]), "the third has said nothing");
    }

    #[test]
    fn without_a_majority_nobody_is_odd() {
        assert_eq!(judged(&[(1, 7), (2, 8)], 2, false), Verdict::Split);
        assert_eq!(judged(&[(1, 7), (2, 8), (3, 7), (4, 8)], 4, false), Verdict::Split);
        assert_eq!(judged(&[(1, 7), (2, 8), (3, 9)], 3, false), Verdict::Split);
    }

    #[test]
    fn what_could_not_be_compared_is_not_equal() {
        assert_eq!(judged(&[(1, 7), (2, 7)], 3, true), Verdict::Unknown(vec![NodeId(3)]));
        assert_eq!(judged(&[], 1, true), Verdict::Unknown(vec![NodeId(1)]));
        assert_eq!(judged(&[(1, 7)], 1, false), Verdict::Equal);
    }
}

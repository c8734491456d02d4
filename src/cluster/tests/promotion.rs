//! Who learns, who votes, who is dropped.

use std::collections::BTreeSet;

use crate::cluster::promotion::{Step, View, next_step};
use crate::model::NodeId;

fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

/// Everything is as it should be: three vote, led by 1.
fn calm() -> View {
    View {
        leader: NodeId(1),
        members: ids(&[1, 2, 3]),
        voters: ids(&[1, 2, 3]),
        wanted: 3,
        ..View::default()
    }
}

#[test]
fn where_all_is_well_nothing_is_done() {
    assert_eq!(next_step(&calm()), None);
    let spare =
        View { members: ids(&[1, 2, 3, 4]), learners: ids(&[4]), ready: ids(&[4]), ..calm() };
    assert_eq!(next_step(&spare), None, "a fourth stands by");
}

#[test]
fn a_member_learns_before_it_votes_and_votes_only_when_it_has_caught_up() {
    let newcomer = View { voters: ids(&[1, 2]), ..calm() };
    assert_eq!(next_step(&newcomer), Some(Step::Learn(NodeId(3))));
    let learning = View { learners: ids(&[3]), ..newcomer };
    assert_eq!(next_step(&learning), None);
    let ready = View { ready: ids(&[3]), ..learning };
    assert_eq!(next_step(&ready), Some(Step::Vote(ids(&[1, 2, 3]))));
}

#[test]
fn one_change_at_a_time() {
    let two = View { voters: ids(&[1]), learners: ids(&[2, 3]), ready: ids(&[2, 3]), ..calm() };
    assert_eq!(next_step(&two), Some(Step::Vote(ids(&[1, 2]))));
}

#[test]
fn a_dead_voter_is_replaced_in_one_step_if_somebody_can() {
    let dead = View { dead: ids(&[2]), ..calm() };
    assert_eq!(next_step(&dead), None, "there is no spare");
    let spare = View { members: ids(&[1, 2, 3, 4]), learners: ids(&[4]), ready: ids(&[4]), ..dead };
    assert_eq!(next_step(&spare), Some(Step::Vote(ids(&[1, 3, 4]))));
    let itself = View { dead: ids(&[1]), ..spare };
    assert_eq!(next_step(&itself), None, "the leader does not depose itself");
}

#[test]
fn who_is_no_member_is_dropped_first() {
    let retired = View { members: ids(&[1, 3, 4]), ..calm() };
    assert_eq!(next_step(&retired), Some(Step::Drop(NodeId(2))));
    let leader = View { members: ids(&[2, 3]), ..calm() };
    assert_eq!(next_step(&leader), None, "the leader's own end is not its own to begin");
}

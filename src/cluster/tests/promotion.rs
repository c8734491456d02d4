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
        there: ids(&[1, 2, 3, 4, 5, 6]),
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
fn voters_come_in_pairs_so_that_their_number_stays_odd() {
    let alone = View { voters: ids(&[1]), learners: ids(&[2, 3]), ..calm() };
    let both = View { ready: ids(&[2, 3]), ..alone.clone() };
    assert_eq!(next_step(&both), Some(Step::Vote(ids(&[1, 2, 3]))));
    let one = View { ready: ids(&[3]), ..alone.clone() };
    assert_eq!(next_step(&one), None, "the other one is there, and catches up");
    let gone = View { there: ids(&[1, 3]), ready: ids(&[3]), ..alone.clone() };
    assert_eq!(next_step(&gone), Some(Step::Vote(ids(&[1, 3]))), "there is no other one");
    let two = View { wanted: 2, ..one };
    assert_eq!(next_step(&two), Some(Step::Vote(ids(&[1, 3]))), "an even number is wanted");
}

#[test]
fn a_dead_voter_is_replaced_in_one_step_if_somebody_can() {
    let dead = View { dead: ids(&[2]), there: ids(&[1, 3, 4]), ..calm() };
    assert_eq!(next_step(&dead), None, "there is no spare");
    let spare = View { members: ids(&[1, 2, 3, 4]), learners: ids(&[4]), ready: ids(&[4]), ..dead };
    assert_eq!(next_step(&spare), Some(Step::Vote(ids(&[1, 3, 4]))));
    let itself = View { dead: ids(&[1]), ..spare.clone() };
    assert_eq!(next_step(&itself), None, "the leader does not depose itself");
    let four = View { wanted: 5, ..spare };
    assert_eq!(next_step(&four), Some(Step::Vote(ids(&[1, 3, 4]))), "never beside the dead one");
}

#[test]
fn the_old_one_comes_back_and_stands_by() {
    let back = View {
        members: ids(&[1, 2, 3, 4]),
        voters: ids(&[1, 3, 4]),
        learners: ids(&[2]),
        ready: ids(&[2]),
        ..calm()
    };
    assert_eq!(next_step(&back), None);
}

#[test]
fn no_change_is_begun_that_has_no_majority() {
    let alone = View {
        members: ids(&[1, 2, 3, 4]),
        learners: ids(&[4]),
        ready: ids(&[4]),
        dead: ids(&[2, 3]),
        there: ids(&[1, 4]),
        ..calm()
    };
    assert_eq!(next_step(&alone), None, "two of three voters are gone");
}

#[test]
fn two_dead_of_five_leave_three_where_nobody_can_take_their_place() {
    let five = View {
        members: ids(&[1, 2, 3, 4, 5]),
        voters: ids(&[1, 2, 3, 4, 5]),
        there: ids(&[1, 2, 3, 4]),
        dead: ids(&[5]),
        wanted: 5,
        ..calm()
    };
    assert_eq!(next_step(&five), None, "four bear no more than five");
    let two = View { there: ids(&[1, 2, 3]), dead: ids(&[4, 5]), ..five };
    assert_eq!(next_step(&two), Some(Step::Vote(ids(&[1, 2, 3]))));
}

#[test]
fn where_fewer_are_wanted_the_dead_go_first_and_then_the_newest() {
    let five = View {
        members: ids(&[1, 2, 3, 4, 5]),
        voters: ids(&[1, 2, 3, 4, 5]),
        leader: NodeId(5),
        ..calm()
    };
    assert_eq!(next_step(&five), Some(Step::Vote(ids(&[1, 2, 3, 5]))));
    let absent = View { there: ids(&[1, 2, 4, 5]), ..five.clone() };
    assert_eq!(next_step(&absent), Some(Step::Vote(ids(&[1, 2, 4, 5]))), "before who answers");
    let dead = View { dead: ids(&[2]), there: ids(&[1, 4, 5]), ..five };
    assert_eq!(next_step(&dead), Some(Step::Vote(ids(&[1, 3, 4, 5]))));
}

#[test]
fn where_fewer_are_wanted_one_at_a_time_stands_by_and_the_leader_last() {
    let mut view = View {
        members: ids(&[1, 2, 3, 4, 5]),
        voters: ids(&[1, 2, 3, 4, 5]),
        leader: NodeId(4),
        wanted: 1,
        ..calm()
    };
    let mut counts = Vec::new();
    while let Some(step) = next_step(&view) {
        let Step::Vote(voters) = step else { panic!("{step:?}: they stay, without a vote") };
        assert_eq!(view.voters.difference(&voters).count(), 1, "one at a time");
        counts.push(voters.len());
        view.learners = view.members.difference(&voters).copied().collect();
        // They have the log, and are not made voters again.
        view.ready = view.learners.clone();
        view.voters = voters;
    }
    assert_eq!(counts, [4, 3, 2, 1]);
    assert_eq!(view.voters, ids(&[4]), "the leader is left");
}

#[test]
fn who_is_gone_for_good_is_retired_unless_it_votes() {
    let gone = View { gone: ids(&[3, 4]), dead: ids(&[3, 4]), there: ids(&[1, 2]), ..calm() };
    assert_eq!(next_step(&gone), None, "a vote is replaced first");
    let learner = View { members: ids(&[1, 2, 3, 4]), learners: ids(&[4]), ..gone };
    assert_eq!(next_step(&learner), Some(Step::Retire(NodeId(4))));
}

#[test]
fn who_is_no_member_loses_its_vote_and_is_dropped() {
    let retired = View { members: ids(&[1, 3]), there: ids(&[1, 3]), ..calm() };
    assert_eq!(next_step(&retired), Some(Step::Vote(ids(&[1, 3]))));
    let alone = View { there: ids(&[1]), ..retired.clone() };
    assert_eq!(next_step(&alone), None, "not where that would cost the quorum");
    let without = View { voters: ids(&[1, 3]), learners: ids(&[2]), ..retired.clone() };
    assert_eq!(next_step(&without), Some(Step::Drop(NodeId(2))));
    let spare = View {
        members: ids(&[1, 3, 4]),
        there: ids(&[1, 3, 4]),
        learners: ids(&[4]),
        ready: ids(&[4]),
        ..retired
    };
    assert_eq!(next_step(&spare), Some(Step::Vote(ids(&[1, 3, 4]))), "a spare takes its place");
    let leader = View { members: ids(&[2, 3]), ..calm() };
    assert_eq!(next_step(&leader), None, "the leader's own end is not its own to begin");
}

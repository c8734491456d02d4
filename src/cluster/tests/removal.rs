//! Who may be taken out of the cluster, and what has to happen before.

use std::collections::BTreeSet;

use crate::cluster::removal::{Removal, Servers, Stays, decide};
use crate::model::NodeId;

fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

/// Server 1 leads.
fn servers(voters: &[u64], learners: &[u64], answering: &[u64]) -> Servers {
    Servers {
        leader: NodeId(1),
        members: ids(&[voters, learners].concat()),
        voters: ids(voters),
        learners: ids(learners),
        answering: ids(answering),
        heir: voters.iter().copied().filter(|id| *id != 1).max().map(NodeId),
    }
}

#[test]
fn one_that_others_do_without_goes() {
    let three = servers(&[1, 2, 3], &[4], &[1, 2, 3]);
    assert_eq!(decide(&three, NodeId(2)), Ok(Removal::TakeOut));
    assert_eq!(decide(&three, NodeId(4)), Ok(Removal::TakeOut), "a standby, answering or not");
    assert_eq!(decide(&servers(&[1, 2], &[], &[1, 2]), NodeId(2)), Ok(Removal::TakeOut));
    // The one that is gone is the one to remove.
    assert_eq!(decide(&servers(&[1, 2, 3], &[], &[1, 2]), NodeId(3)), Ok(Removal::TakeOut));
    // Known to one side alone.
    let mut half = servers(&[1, 2, 3], &[], &[1, 2, 3]);
    half.members.insert(NodeId(9));
    assert_eq!(decide(&half, NodeId(9)), Ok(Removal::Retire));
    half.members.remove(&NodeId(2));
    assert_eq!(decide(&half, NodeId(2)), Ok(Removal::TakeOut));
}

#[test]
fn the_leader_goes_once_another_leads() {
    let three = servers(&[1, 2, 3], &[], &[1, 2, 3]);
    assert_eq!(decide(&three, NodeId(1)), Ok(Removal::HandOver(NodeId(3))));
    // The best heir does not answer.
    let three = servers(&[1, 2, 3, 4], &[], &[1, 2, 3]);
    assert_eq!(decide(&three, NodeId(1)), Ok(Removal::HandOver(NodeId(2))));
}

#[test]
fn the_last_voter_and_whoever_the_quorum_needs_stay() {
    let one = servers(&[1], &[2], &[1, 2]);
    assert_eq!(decide(&one, NodeId(1)), Err(Stays::LastVoter(NodeId(1))));
    assert_eq!(decide(&one, NodeId(7)), Err(Stays::Unknown(NodeId(7))));
    let weak = servers(&[1, 2, 3], &[], &[1, 2]);
    let expected = Stays::NoQuorum { id: NodeId(2), left: 2, answer: 1 };
    assert_eq!(decide(&weak, NodeId(2)), Err(expected));
    let weak = servers(&[1, 2], &[], &[1]);
    let expected = Stays::NoQuorum { id: NodeId(1), left: 1, answer: 0 };
    assert_eq!(decide(&weak, NodeId(1)), Err(expected));
}

//! Decides the next change of Raft's membership, one at a time. Pure.

use std::collections::BTreeSet;

use crate::model::NodeId;

/// What the leader sees of the cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    pub leader: NodeId,
    /// Servers in the member table.
    pub members: BTreeSet<NodeId>,
    pub voters: BTreeSet<NodeId>,
    pub learners: BTreeSet<NodeId>,
    /// Learners that have the log nearly whole and answer now.
    pub ready: BTreeSet<NodeId>,
    /// Voters that have not answered for the grace time.
    pub dead: BTreeSet<NodeId>,
    /// How many voters are wanted.
    pub wanted: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A member that Raft does not know: it learns first.
    Learn(NodeId),
    /// From now on these vote; who is left out learns on.
    Vote(BTreeSet<NodeId>),
    /// Raft knows a server that is no member: it is taken out.
    Drop(NodeId),
}

pub(super) fn next_step(view: &View) -> Option<Step> {
    let known: BTreeSet<NodeId> = view.voters.union(&view.learners).copied().collect();
    let retired = known.difference(&view.members).find(|id| **id != view.leader);
    if let Some(id) = retired {
        return Some(Step::Drop(*id));
    }
    if let Some(id) = view.members.difference(&known).next() {
        return Some(Step::Learn(*id));
    }
    let spare = *view.ready.iter().find(|id| view.learners.contains(id))?;
    let mut voters = view.voters.clone();
    if voters.len() < view.wanted {
        voters.insert(spare);
        return Some(Step::Vote(voters));
    }
    // A dead voter is replaced in one step, so that the quorum never grows on the way.
    let dead = view.dead.iter().find(|id| **id != view.leader && voters.contains(id))?;
    voters.remove(dead);
    voters.insert(spare);
    Some(Step::Vote(voters))
}

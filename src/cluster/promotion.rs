//! Decides the next change of the servers that hold the log, one at a time. Pure.

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
    /// Servers that answer now, the leader included.
    pub there: BTreeSet<NodeId>,
    /// Learners that have the log nearly whole and have answered for some time without a break.
    pub ready: BTreeSet<NodeId>,
    /// Servers that have not answered for the grace time, or have lost their log.
    pub dead: BTreeSet<NodeId>,
    /// Servers that have not answered for so long that nobody waits for them any more.
    pub gone: BTreeSet<NodeId>,
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
    /// A member without a vote that is gone for good.
    Retire(NodeId),
}

impl View {
    /// Those that hold the log and are no members any more. The leader does not begin its own end.
    fn retired(&self) -> impl Iterator<Item = NodeId> {
        let known = self.voters.union(&self.learners);
        let retired = known.filter(|id| !self.members.contains(id) && **id != self.leader);
        retired.copied()
    }
}

pub(super) fn next_step(view: &View) -> Option<Step> {
    if let Some(id) = view.retired().find(|id| view.learners.contains(id)) {
        return Some(Step::Drop(id));
    }
    let unknown = |id: &&NodeId| !view.voters.contains(id) && !view.learners.contains(id);
    if let Some(id) = view.members.iter().find(unknown) {
        return Some(Step::Learn(*id));
    }
    if let Some(voters) = next_voters(view).filter(|voters| is_safe(view, voters)) {
        return Some(Step::Vote(voters));
    }
    let gone = view.gone.iter().find(|id| view.learners.contains(id) && **id != view.leader)?;
    Some(Step::Retire(*gone))
}

/// Whether a majority of those who would vote is there: no change may cost the quorum.
fn is_safe(view: &View, voters: &BTreeSet<NodeId>) -> bool {
    let majority = |of: &BTreeSet<NodeId>| of.intersection(&view.there).count() > of.len() / 2;
    majority(voters) && majority(&view.voters)
}

fn next_voters(view: &View) -> Option<BTreeSet<NodeId>> {
    let mut voters = view.voters.clone();
    let mut spares = view.ready.iter().filter(|id| view.learners.contains(id)).copied();
    // Whoever is retired is as good as dead.
    let lost: BTreeSet<NodeId> = view.retired().chain(view.dead.iter().copied()).collect();
    let mut dead = lost.into_iter().filter(|id| *id != view.leader && view.voters.contains(id));
    let (spare, lost) = (spares.next(), dead.next());
    if voters.len() > view.wanted {
        // Fewer are wanted by now: the dead first, then who does not answer, then the newest.
        let mut others = voters.iter().rev().filter(|id| **id != view.leader).copied();
        let absent = others.clone().find(|id| !view.there.contains(id));
        let leaving = lost.or(absent).or_else(|| others.next())?;
        voters.remove(&leaving);
        return Some(voters);
    }
    match (lost, spare) {
        // In one step, so that the quorum never grows on the way.
        (Some(lost), Some(spare)) => {
            voters.remove(&lost);
            voters.insert(spare);
        }
        // Nobody can take their places: without two of them a smaller quorum is enough. A server
        // that is no member any more loses its vote in any case.
        (Some(lost), None) => {
            let pair = dead.next().filter(|_| voters.len() > 3).map(|second| [lost, second]);
            let retired = view.retired().find(|id| voters.contains(id)).map(|id| [id, id]);
            for leaving in pair.or(retired)? {
                voters.remove(&leaving);
            }
        }
        (None, Some(spare)) if voters.len() < view.wanted => {
            voters.insert(spare);
            // An even number bears no more losses than the odd one below it: two at once, and
            // where a second one is on its way, it is waited for.
            if voters.len().is_multiple_of(2) && voters.len() < view.wanted {
                match spares.next() {
                    Some(second) => drop(voters.insert(second)),
                    None if another_is_near(view) => return None,
                    None => {}
                }
            }
        }
        (None, _) => return None,
    }
    Some(voters)
}

/// Whether more than one learner is there: one of them is still catching up.
fn another_is_near(view: &View) -> bool {
    view.learners.intersection(&view.there).count() > 1
}

//! Decides whom an agent may follow, and in which order it tries them. Pure; chance is an argument.

use std::net::SocketAddr;

use crate::model::{NodeId, Role, limits};

/// Who may be followed, the least busy with other things first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cluster) enum Rank {
    First,
    Second,
    Third,
}

/// A relay is there to spare the servers its followers; it stays close to the servers itself, so
/// that a chain is only as long as the network makes it. The leader has most to do.
pub(in crate::cluster) fn rank(mine: Role, theirs: Role, leads: bool) -> Rank {
    match (mine, theirs) {
        (Role::Relay, Role::Server) if !leads => Rank::First,
        (Role::Relay, Role::Server) => Rank::Second,
        (Role::Relay, _) => Rank::Third,
        (_, Role::Server) if leads => Rank::Third,
        (_, Role::Server) => Rank::Second,
        _ => Rank::First,
    }
}

/// An agent that may be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cluster) struct Candidate {
    pub addr: SocketAddr,
    pub rank: Rank,
    /// The last try there failed, or the stream from there broke.
    pub failed: bool,
}

/// Those that failed come last; among equals `dice` decides, so that a dead one's followers spread
/// over the others.
pub(in crate::cluster) fn order(mut all: Vec<Candidate>, dice: u64) -> Vec<SocketAddr> {
    all.sort_by_key(|candidate| (candidate.addr, candidate.rank));
    all.dedup_by_key(|candidate| candidate.addr);
    all.sort_by_key(|candidate| (candidate.failed, candidate.rank));
    let rest = all.split_first().map(|(first, _)| (first.failed, first.rank));
    let best = all.iter().take_while(|c| Some((c.failed, c.rank)) == rest).count();
    if let Some(equals) = all.get_mut(..best) {
        equals.rotate_left(usize::try_from(dice % best.max(1) as u64).unwrap_or(0));
    }
    all.into_iter().map(|candidate| candidate.addr).collect()
}

/// Why an agent must not follow one whose changes come along `path`; none if it may. Nobody hears
/// from itself, so the changes never run in a circle.
pub(in crate::cluster) fn unfit(me: NodeId, mine: Role, path: &[NodeId]) -> Option<String> {
    if path.contains(&me) {
        return Some("it has its changes from this agent".to_owned());
    }
    too_deep(mine == Role::Relay, path)
}

/// Why whose changes come along `path` must not be followed, by a relay or by an edge.
pub(in crate::cluster) fn too_deep(relay: bool, path: &[NodeId]) -> Option<String> {
    let deep = path.len();
    let most = limits::RELAY_DEPTH - usize::from(relay);
    (deep > most).then(|| format!("it is {deep} relays away from the servers: too far"))
}

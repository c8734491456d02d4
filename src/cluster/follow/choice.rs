//! Decides in which order a follower tries the servers. Pure; chance is an argument.

use std::net::SocketAddr;

/// A server that may be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cluster) struct Candidate {
    pub addr: SocketAddr,
    pub leads: bool,
    /// The last try there failed, or the stream from there broke.
    pub failed: bool,
}

/// Those that failed come last, the leader after those who have less to do; among equals `dice`
/// decides, so that a dead server's followers spread over the others.
pub(in crate::cluster) fn order(mut all: Vec<Candidate>, dice: u64) -> Vec<SocketAddr> {
    all.sort_by_key(|candidate| candidate.addr);
    all.dedup_by_key(|candidate| candidate.addr);
    let turn = usize::try_from(dice % all.len().max(1) as u64).unwrap_or(0);
    all.rotate_left(turn);
    all.sort_by_key(|candidate| (candidate.failed, candidate.leads));
    all.into_iter().map(|candidate| candidate.addr).collect()
}

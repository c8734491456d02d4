//! Decides whether an agent founds a cluster, joins one or waits, by what it found at `join`. Pure.

use std::net::SocketAddr;

use super::asks::Introduction;

/// What answered behind one entry of `join`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Met {
    /// This agent itself: it does not count.
    Myself,
    /// An agent that has not found its own place yet.
    Newcomer(SocketAddr),
    Member(SocketAddr, Introduction),
    /// The name or what should be behind it, and why it did not answer.
    Nobody(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    Found,
    /// Ask there.
    Join(SocketAddr, Introduction),
    /// Nothing can be done now; why.
    Wait(String),
}

pub(super) fn decide(met: Vec<Met>) -> Decision {
    let mut whys = Vec::new();
    for one in met {
        match one {
            Met::Myself => {}
            Met::Member(addr, introduction) => return Decision::Join(addr, introduction),
            Met::Newcomer(addr) => whys.push(format!("{addr} belongs to no cluster yet")),
            Met::Nobody(why) => whys.push(why),
        }
    }
    if whys.is_empty() { Decision::Found } else { Decision::Wait(whys.join("; ")) }
}

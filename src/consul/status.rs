//! `/v1/status`: who leads, and the servers that vote.

use super::answer;
use super::call::{Answer, Call};
use super::error::Failure;
use super::params::Options;

/// The options of a read are looked at, and no namespace.
fn asked(call: &Call<'_>) -> Result<(), Failure> {
    Options::parse(&call.params, call.cache_control(), &call.front.config.datacenter)?;
    Ok(())
}

pub fn leader(call: &Call<'_>) -> Answer {
    asked(call)?;
    let leader = call.front.cluster.standing().leader_addr;
    let leader = leader.map(|addr| addr.to_string()).unwrap_or_default();
    Ok(answer::json(&leader, call.pretty()))
}

/// The addresses at which agents reach the voters.
pub fn peers(call: &Call<'_>) -> Answer {
    asked(call)?;
    let state = call.front.cluster.snapshot();
    let voters = call.front.cluster.standing().voters;
    let members = voters.iter().filter_map(|id| state.member(*id));
    let peers: Vec<String> = members.map(|member| member.peer_addr.to_string()).collect();
    Ok(answer::json(&peers, call.pretty()))
}

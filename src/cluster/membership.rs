//! What the leader does about servers: brings Raft's membership into line with the member table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, timeout};

use crate::model::{NodeId, Role};
use crate::raft::{MembershipError, Status};
use crate::replica::Topic;

use super::entrance::who;
use super::promotion::{Step, View, next_step};
use super::server::Server;

const PACE: Duration = Duration::from_millis(250);
/// A learner this many entries behind counts as caught up.
const NEAR: u64 = 256;

/// Runs on every server; acts only where it leads.
pub(super) async fn run(server: Arc<Server>, replace_after: Duration) {
    let mut watch = server.replica.watch([Topic::Members]);
    let mut answered = BTreeMap::new();
    loop {
        // A change of the members is acted on at once.
        let _ = timeout(PACE, watch.changed()).await;
        let status = server.raft.status().borrow().clone();
        if !status.leads() || !server.replica.snapshot().is_founded() {
            answered.clear();
            continue;
        }
        call_on(&server, &mut answered).await;
        let view = view(&server, &status, &answered, replace_after);
        let Some(step) = next_step(&view) else { continue };
        tracing::info!(?step, "changing the servers that hold the log");
        if let Err(error) = take(&server, step).await {
            tracing::warn!(%error, "the servers that hold the log could not be changed");
        }
    }
}

async fn take(server: &Server, step: Step) -> Result<(), MembershipError> {
    match step {
        Step::Learn(id) => server.raft.add_learner(id).await,
        Step::Vote(voters) => server.raft.change_voters(voters).await,
        Step::Drop(id) => server.raft.remove(id).await,
    }
}

/// Asks every other server whether it is there. Who has not been asked before counts from now.
async fn call_on(server: &Server, answered: &mut BTreeMap<NodeId, Answered>) {
    let state = server.replica.snapshot();
    let others = state.members().filter(|m| m.role == Role::Server && m.id != server.id());
    let others: Vec<NodeId> = others.map(|m| m.id).collect();
    answered.retain(|id, _| others.contains(id));
    let me = server.introduction();
    let calls = others.into_iter().map(async |id| {
        let there = match server.roster.addr(id) {
            Some(addr) => who(&server.links, addr, &me).await.is_ok_and(|other| other.id == id),
            None => false,
        };
        (id, there)
    });
    for (id, there) in join_all(calls).await {
        let now = Instant::now();
        let last = answered.entry(id).or_insert(Answered { there, at: now });
        last.there = there;
        if there {
            last.at = now;
        }
    }
}

struct Answered {
    there: bool,
    at: Instant,
}

fn view(
    server: &Server,
    status: &Status,
    answered: &BTreeMap<NodeId, Answered>,
    replace_after: Duration,
) -> View {
    let state = server.replica.snapshot();
    let end = status.last_log.map_or(0, |last| last.index);
    let near = |id: &NodeId| {
        let matched = status.matched.get(id).copied().flatten();
        matched.is_some_and(|matched| matched + NEAR >= end)
    };
    let there = |id: &NodeId| answered.get(id).is_some_and(|answered| answered.there);
    let learners: BTreeSet<NodeId> = status.learners.iter().copied().collect();
    let gone = answered.iter().filter(|(_, last)| last.at.elapsed() >= replace_after);
    View {
        leader: status.id,
        members: state.members().filter(|m| m.role == Role::Server).map(|m| m.id).collect(),
        voters: status.voters.iter().copied().collect(),
        ready: learners.iter().copied().filter(|id| near(id) && there(id)).collect(),
        learners,
        dead: gone.map(|(id, _)| *id).collect(),
        wanted: state.identity().settings.voters as usize,
    }
}

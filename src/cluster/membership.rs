//! What the leader does about servers: brings Raft's membership into line with the member table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, timeout};

use crate::model::{NodeId, Role};
use crate::raft::Status;
use crate::replica::Topic;
use crate::state::Command;

use super::config::Pace;
use super::entrance::who;
use super::levels;
use super::promotion::{Step, View, next_step};
use super::server::Server;

const PACE: Duration = Duration::from_millis(250);
/// A learner this many entries behind counts as caught up.
const NEAR: u64 = 256;

/// Runs on every server; acts only where it leads.
pub(super) async fn run(server: Arc<Server>, pace: Pace) {
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
        if let Some(level) = levels::raise(&server.replica.snapshot()) {
            tracing::info!(level, "every server speaks a newer level: the cluster is raised to it");
            if let Err(error) = server.raft.propose(Command::Raise(level)).await {
                tracing::warn!(%error, "the cluster could not be raised to a newer level");
            }
        }
        call_on(&server, &mut answered).await;
        let view = view(&server, &status, &answered, pace);
        server.note_live(view.members.difference(&view.dead).count(), view.there.clone());
        let Some(step) = next_step(&view) else { continue };
        tracing::info!(?step, "changing the servers that hold the log");
        if let Err(error) = take(&server, step).await {
            tracing::warn!(%error, "the servers that hold the log could not be changed");
        }
    }
}

async fn take(server: &Server, step: Step) -> Result<(), String> {
    let changed = match step {
        Step::Learn(id) => server.raft.add_learner(id).await,
        Step::Vote(voters) => server.raft.change_voters(voters).await,
        Step::Drop(id) => server.raft.remove(id).await,
        Step::Retire(id) => {
            let retired = server.raft.propose(Command::Retire(id)).await;
            return retired.map(|_| ()).map_err(|error| error.to_string());
        }
    };
    changed.map_err(|error| error.to_string())
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
        let last = answered.entry(id).or_insert(Answered { there, since: now, last: now });
        if there {
            last.last = now;
        }
        if last.there != there {
            *last = Answered { there, since: now, last: last.last };
        }
    }
}

struct Answered {
    there: bool,
    /// Since when that is so.
    since: Instant,
    /// When it answered last.
    last: Instant,
}

/// Whether the leader knows that server to have the log nearly whole.
pub(super) fn is_near(status: &Status, id: NodeId) -> bool {
    let end = status.last_log.map_or(0, |last| last.index);
    let matched = status.matched.get(&id).copied().flatten();
    matched.is_some_and(|matched| matched + NEAR >= end)
}

fn view(
    server: &Server,
    status: &Status,
    answered: &BTreeMap<NodeId, Answered>,
    pace: Pace,
) -> View {
    let state = server.replica.snapshot();
    let lost = server.raft.lost_servers();
    let near = |id: &NodeId| is_near(status, *id) && !lost.contains(id);
    let steady = |id: &NodeId| {
        let answered = answered.get(id);
        answered.is_some_and(|answered| answered.there && answered.since.elapsed() >= pace.steady)
    };
    let silent = |time: Duration| {
        let silent = answered.iter().filter(move |(_, one)| one.last.elapsed() >= time);
        silent.map(|(id, _)| *id)
    };
    let learners: BTreeSet<NodeId> = status.learners.iter().copied().collect();
    let there = answered.iter().filter(|(id, one)| one.there && !lost.contains(id));
    View {
        leader: status.id,
        members: state.members().filter(|m| m.role == Role::Server).map(|m| m.id).collect(),
        voters: status.voters.iter().copied().collect(),
        there: there.map(|(id, _)| *id).chain([status.id]).collect(),
        ready: learners.iter().copied().filter(|id| near(id) && steady(id)).collect(),
        learners,
        dead: silent(pace.replace_after).chain(lost.iter().copied()).collect(),
        gone: silent(pace.retire_after).collect(),
        wanted: state.identity().settings.voters as usize,
    }
}

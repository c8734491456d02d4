//! Compares replicas: each sums up its state as it was after a checkpoint and asks the leader.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::lifecycle::{Board, Level, Shutdown, aside};
use crate::model::{Applied, NodeId, Role};
use crate::net::peer::Purpose;
use crate::replica::Checksum;
use crate::state::{Command, Part, State};
use crate::telemetry::Gauge;

use super::asks::{self, Ask, Reply};
use super::checkpoint::{Report, Sum, Verdict, judge};
use super::config::Pace;
use super::ledger::Ledger;
use super::server::Server;

const SUBJECT: &str = "cluster/replicas";
/// How often the leader is asked, and looks whether a checkpoint is due.
const PACE: Duration = Duration::from_millis(250);
/// How long the leader waits for those who have said nothing.
const WAIT: Duration = Duration::from_secs(10);
/// How long a replica asks the leader.
const PATIENCE: Duration = Duration::from_secs(30);
const CALL: Duration = Duration::from_secs(2);

/// What servers said after the last checkpoint: the leader's.
#[derive(Debug, Default)]
pub(super) struct Book {
    pages: Mutex<Option<Pages>>,
}

#[derive(Debug)]
struct Pages {
    at: Applied,
    begun: Instant,
    sums: BTreeMap<NodeId, Sum>,
}

impl Book {
    pub fn take(&self, report: Report, servers: &[NodeId], now: Instant) -> Verdict {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if pages.as_ref().is_none_or(|pages| pages.at < report.at) {
            *pages = Some(Pages { at: report.at, begun: now, sums: BTreeMap::new() });
        }
        match pages.as_mut().filter(|pages| pages.at == report.at) {
            Some(pages) => {
                pages.sums.insert(report.id, report.sum);
                judge(&pages.sums, servers, now.saturating_duration_since(pages.begun) >= WAIT)
            }
            // It comes too late: there has been another checkpoint.
            None => Verdict::Unknown(vec![report.id]),
        }
    }
}

/// Has the leader log a checkpoint where enough has changed since the last one.
pub(super) async fn propose(server: &Server, pace: Pace) {
    let mut last = (Instant::now(), server.replica.snapshot());
    loop {
        sleep(PACE).await;
        let state = server.replica.snapshot();
        let grown = state.applied().index.saturating_sub(last.1.applied().index);
        let enough = pace.compare_entries > 0 && grown >= pace.compare_entries;
        let due = enough || last.0.elapsed() >= pace.compare_after;
        if !due || state.index() == last.1.index() || !server.raft.status().borrow().leads() {
            continue;
        }
        last = (Instant::now(), state);
        if let Err(error) = server.raft.propose(Command::Checkpoint).await {
            tracing::debug!(%error, "no checkpoint was logged");
        }
    }
}

/// Compares this replica after every checkpoint. One that turns out to be odd stops serving.
pub(super) async fn run(
    server: &Server,
    ledger: &Ledger,
    board: &Board,
    odd: &Gauge,
    stop: &Shutdown,
) {
    let mut checkpoints = server.replica.checkpoints();
    while checkpoints.changed().await.is_ok() {
        let Some(state) = server.replica.take_checkpoint() else { continue };
        let at = state.applied();
        let Ok(sum) = aside(move || sum(&state)).await else { continue };
        let verdict = settle(server, Report { id: server.id(), at, sum }).await;
        tracing::debug!(at = at.index, ?verdict, "replicas were compared");
        let differ = matches!(verdict, Verdict::Odd(_) | Verdict::Split);
        odd.set(i64::from(differ));
        if verdict.is_for(server.id()) {
            server.replica.agree(Checksum { at, sum: sum.shared });
        }
        match verdict {
            Verdict::Odd(ids) if ids.contains(&server.id()) => {
                let text = "this server's state differs from that of the others: the agent stops, \
                            and joins again as a new server when it is started";
                tracing::error!(at = at.index, "{text}");
                board.set(SUBJECT, Level::Failed, text);
                if let Err(error) = ledger.forget() {
                    tracing::error!(%error, "it could not be written down");
                }
                return stop.begin();
            }
            Verdict::Odd(ids) => {
                let text = format!("the state of {} differs from this server's", list(&ids));
                tracing::error!(at = at.index, "{text}");
                board.set(SUBJECT, Level::Warning, text);
            }
            Verdict::Split => {
                let text = "the servers' states differ, and no majority of them is equal: compare \
                            backups of each by hand";
                tracing::error!(at = at.index, "{text}");
                board.set(SUBJECT, Level::Failed, text);
            }
            Verdict::Unknown(ids) if !ids.is_empty() => {
                let text = format!("could not be compared with {}", list(&ids));
                board.set(SUBJECT, Level::Warning, text);
            }
            Verdict::Unknown(_) | Verdict::Pending => {
                board.set(SUBJECT, Level::Warning, "the leader could not be asked to compare");
            }
            Verdict::Equal => board.clear(SUBJECT),
        }
    }
}

fn sum(state: &Arc<State>) -> Sum {
    Sum { shared: state.checksum(Part::Shared), server: state.checksum(Part::Server) }
}

fn list(ids: &[NodeId]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| format!("server {id}")).collect();
    ids.join(", ")
}

async fn settle(server: &Server, report: Report) -> Verdict {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match ask(server, report).await {
            None | Some(Verdict::Pending) => sleep(PACE).await,
            Some(verdict) => return verdict,
        }
    }
    Verdict::Unknown(Vec::new())
}

async fn ask(server: &Server, report: Report) -> Option<Verdict> {
    let leader = server.raft.status().borrow().leader?;
    if leader == server.id() {
        return Some(take(server, report));
    }
    let addr = server.roster.addr(leader)?;
    let ask = asks::encode(&Ask::Compare(report));
    let answer = server.links.call(addr, Purpose::Door, ask, CALL).await.ok()?;
    match asks::decode(&answer).ok()? {
        Reply::Compared(verdict) => Some(verdict),
        _ => None,
    }
}

/// The leader's answer.
pub(super) fn take(server: &Server, report: Report) -> Verdict {
    let state = server.replica.snapshot();
    let servers = state.members().filter(|member| member.role == Role::Server);
    let servers: Vec<NodeId> = servers.map(|member| member.id).collect();
    server.duties.book.take(report, &servers, Instant::now())
}

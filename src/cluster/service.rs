//! What a server does besides answering: keeps deadlines and membership, says where it is, stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::sleep;

use crate::lifecycle::{Board, Gate, Level, Life, Shutdown, aside};
use crate::model::limits;
use crate::raft::Role;
use crate::replica::Topic;
use crate::state::{Admission, Command};
use crate::telemetry::Gauge;

use super::SUBJECT;
use super::asks::Introduction;
use super::compare;
use super::config::Pace;
use super::entrance::{look, who};
use super::founding::Met;
use super::ledger::Ledger;
use super::membership;
use super::patience;
use super::server::Server;
use super::wished::{self, Wished};

const DISK: &str = "cluster/disk";
/// How often a server without a leader says where it is.
const ANNOUNCE: Duration = Duration::from_millis(500);

pub(super) struct ServerDuties {
    pub server: Arc<Server>,
    /// How the member table is to show this server.
    pub own: Admission,
    pub join: Vec<String>,
    pub wished: Wished,
    pub pace: Pace,
    pub ledger: Ledger,
    /// 1 while servers are known to differ.
    pub odd: Gauge,
    pub life: Life,
}

impl ServerDuties {
    pub fn spawn(self, closing: Shutdown) {
        let ServerDuties { server, own, join, wished, pace, ledger, odd, life } = self;
        let Life { tasks, shutdown, gates, board } = life;
        let (keeper, stop) = (server.clone(), shutdown.clone());
        tasks.spawn("deadlines", async move {
            stop.or(keeper.duties.run()).await;
        });
        let (steward, stop) = (server.clone(), shutdown.clone());
        tasks.spawn("membership", async move {
            stop.or(membership::run(steward, pace)).await;
        });
        let (speaker, stop) = (server.clone(), shutdown.clone());
        tasks.spawn("announce", async move {
            stop.or(announce(&speaker, &own, &join)).await;
        });
        let (watcher, shown, stop) = (server.clone(), board.clone(), shutdown.clone());
        tasks.spawn("disk", async move {
            stop.or(watch_disk(&watcher, &shown)).await;
        });
        let (replica, shown, stop) = (server.replica.clone(), board.clone(), shutdown.clone());
        tasks.spawn("settings", async move {
            stop.or(wished::tell(wished, &replica, &shown)).await;
        });
        let (proposer, stop) = (server.clone(), shutdown.clone());
        tasks.spawn("checkpoints", async move {
            stop.or(compare::propose(&proposer, pace)).await;
        });
        let (replica, notes, shown, stop) =
            (server.clone(), ledger.clone(), board.clone(), shutdown.clone());
        tasks.spawn("replicas", async move {
            stop.or(compare::run(&replica, &notes, &shown, &odd, &stop)).await;
        });
        let (waiting, stop) = (server.clone(), shutdown.clone());
        tasks.spawn("synced", async move {
            if stop.or(synced(&waiting)).await.is_some() {
                gates.open(Gate::Synced);
            }
        });
        let (subject, notes, stop) = (server.clone(), ledger.clone(), shutdown.clone());
        tasks.spawn("peers noted", async move {
            stop.or(note_peers(&subject, &notes)).await;
        });
        let (subject, shown, stop) = (server.clone(), board.clone(), shutdown.clone());
        tasks.spawn("log lost", async move {
            if stop.or(subject.raft.until_lost()).await.is_some() {
                say(&shown, LOST);
                if let Err(error) = ledger.forget() {
                    tracing::error!(%error, "it could not be written down");
                }
                stop.begin();
            }
        });
        let (subject, stop) = (server.clone(), shutdown.clone());
        tasks.spawn("raft ended", async move {
            if stop.or(ended(&subject)).await.is_some() {
                // The cluster's level, or the log.
                let outdated = subject.raft.outdated();
                say(&board, outdated.as_deref().unwrap_or(ENDED));
                stop.begin();
            }
        });
        tasks.spawn("server stop", async move {
            shutdown.begun().await;
            server.stop().await;
            closing.begin();
        });
    }
}

const LOST: &str = "this server's log has lost what it acknowledged: the agent stops, and joins \
                    again as a new server when it is started";
const ENDED: &str = "this server's log cannot be written any more: the agent stops, and goes on \
                     with what is on disk when it is started";

fn say(board: &Board, text: &str) {
    tracing::error!("{text}");
    board.set(SUBJECT, Level::Failed, text);
}

/// Returns once Raft has ended by itself: after a failed write or sync nobody knows what is on
/// disk, and only a start reads it anew.
async fn ended(server: &Server) {
    // Nobody sends any more: it has ended, too.
    let _ = server.raft.status().wait_for(|status| status.role == Role::Stopped).await;
}

/// Writes down where the other servers are, for a start on which the log is gone.
async fn note_peers(server: &Server, ledger: &Ledger) {
    let mut watch = server.replica.watch([Topic::Members]);
    loop {
        let peers = server.roster.others(server.id());
        let mut peers: Vec<SocketAddr> = peers.into_iter().map(|(_, addr)| addr).collect();
        peers.sort();
        peers.truncate(limits::SERVERS);
        // Before replay has reached the members, the table is empty.
        if server.is_synced() {
            let ledger = ledger.clone();
            let noted = aside(move || ledger.write(|identity| identity.peers = peers));
            if let Ok(Err(error)) = noted.await {
                tracing::warn!(%error, "cannot write down where the other servers are");
            }
        }
        watch.changed().await;
    }
}

/// Says on the board that the disk is full, for as long as it is.
async fn watch_disk(server: &Server, board: &Board) {
    loop {
        if server.raft.is_full() {
            let text = "the disk has no room for more log: writes are refused until it has";
            board.set(DISK, Level::Failed, text);
        } else {
            board.clear(DISK);
        }
        sleep(ANNOUNCE).await;
    }
}

async fn synced(server: &Server) {
    let (mut status, mut applied) = (server.raft.status(), server.replica.applied());
    while !server.is_synced() {
        let changed = tokio::select! {
            changed = status.changed() => changed.is_ok(),
            changed = applied.changed() => changed.is_ok(),
        };
        if !changed {
            return;
        }
    }
}

/// Keeps the member table true about this server, and while there is no leader tells the others
/// where it is: after a restart on new addresses nobody's table is right.
async fn announce(server: &Server, own: &Admission, join: &[String]) {
    loop {
        if server.standing().leader.is_none() {
            introduce(server, join).await;
        } else if let Some(contact) = contact(server, own)
            && let Err(error) = patience::propose(server, &contact).await
        {
            tracing::debug!(%error, "the member table does not show yet where this server is");
        }
        sleep(ANNOUNCE).await;
    }
}

/// What to propose so that the table is right; none if it is.
fn contact(server: &Server, own: &Admission) -> Option<Command> {
    let state = server.replica.snapshot();
    let row = state.member(server.id())?;
    let right = row.peer_addr == own.peer_addr
        && row.client_urls == own.client_urls
        && row.version == own.version
        && row.level == own.level;
    (!right).then(|| Command::Contact {
        id: server.id(),
        peer_addr: own.peer_addr,
        client_urls: own.client_urls.clone(),
        version: own.version.clone(),
        level: own.level,
    })
}

async fn introduce(server: &Server, join: &[String]) {
    let me = server.introduction();
    let table = server.roster.others(server.id());
    let known = table.into_iter().map(|(_, addr)| who(&server.links, addr, &me));
    let (known, met) = tokio::join!(join_all(known), look(&server.links, join, &me));
    let met = met.into_iter().filter_map(|met| match met {
        // It answers there; what it calls itself may be an address of another network.
        Met::Member(addr, other) => Some(Introduction { addr, ..other }),
        _ => None,
    });
    for other in known.into_iter().flatten().chain(met) {
        server.hear(&other);
        server.hear_of_others(&other);
    }
}

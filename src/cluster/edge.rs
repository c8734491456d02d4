//! The door of an agent without a log: everything goes through the server that it follows.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::lifecycle::{Backoff, Level, Life};
use crate::model::{NodeId, Role, limits};
use crate::net::peer::{Links, Purpose};
use crate::replica::{Replica, Topic};
use crate::state::{Admission, Command};

use super::asks::{self, Ask, Confirmed, Reach, Reply};
use super::badge::Badge;
use super::confirms::Confirms;
use super::entrance::Rejection;
use super::follow::{Pulse, Upstream};
use super::joining::ask_in;
use super::patience::{Attempt, Way};
use super::server::{LEADERLESS, forwarded};
use super::{SUBJECT, Standing};

/// How long a server may take over a proposal: it waits for a leader, and then for the log.
const PROPOSE: Duration = limits::LEADER_PATIENCE.saturating_add(Duration::from_secs(6));
/// How long one confirmation may take; it is asked for again.
const CONFIRM: Duration = Duration::from_secs(2);

pub(super) struct Edge {
    /// Another one if the cluster has forgotten this agent meanwhile.
    id: AtomicU64,
    replica: Replica,
    links: Links,
    upstream: watch::Receiver<Option<Upstream>>,
    confirms: OnceLock<Confirms>,
    since: Instant,
}

impl Edge {
    pub fn start(
        id: NodeId,
        replica: Replica,
        links: Links,
        upstream: watch::Receiver<Option<Upstream>>,
        life: &Life,
    ) -> Arc<Edge> {
        let id = AtomicU64::new(id.0);
        let confirms = OnceLock::new();
        let since = Instant::now();
        let edge = Arc::new(Edge { id, replica, links, upstream, confirms, since });
        let way = Arc::downgrade(&edge);
        let route = move |pulses| {
            let way = way.clone();
            async move { way.upgrade()?.confirm_once(pulses).await }.boxed()
        };
        let _ = edge.confirms.set(Confirms::start(life, Arc::new(route)));
        edge
    }

    pub fn id(&self) -> NodeId {
        NodeId(self.id.load(Ordering::Acquire))
    }

    /// The cluster has let it in anew.
    pub fn is_now(&self, id: NodeId) {
        self.id.store(id.0, Ordering::Release);
    }

    async fn confirm_once(&self, pulses: Vec<asks::Pulse>) -> Option<Confirmed> {
        let addr = self.upstream_addr()?;
        let mut moved = self.upstream.clone();
        let ask = asks::encode(&Ask::Confirm { pulses, reach: Reach::Cluster });
        let answer = self.links.call(addr, Purpose::Door, ask, CONFIRM);
        let left = async {
            let elsewhere =
                |now: &Option<Upstream>| now.as_ref().is_none_or(|u| u.lost || u.addr != addr);
            let _ = moved.wait_for(elsewhere).await;
        };
        // A dead upstream must not hold reads up that another one would answer.
        let answer = tokio::select! {
            answer = answer => answer.ok()?,
            () = left => return None,
        };
        match asks::decode(&answer).ok()? {
            Reply::Confirmed(confirmed) => Some(confirmed),
            _ => None,
        }
    }

    /// The server that is followed right now.
    fn upstream_addr(&self) -> Option<SocketAddr> {
        self.upstream.borrow().as_ref().filter(|upstream| !upstream.lost).map(|u| u.addr)
    }

    pub fn is_synced(&self) -> bool {
        self.replica.snapshot().is_founded()
    }

    pub fn standing(&self) -> Standing {
        let state = self.replica.snapshot();
        let (pulse, last_contact) = match &*self.upstream.borrow() {
            Some(last) => {
                let since = last.heard.elapsed().saturating_add(last.pulse.last_contact);
                (last.pulse.clone(), since)
            }
            None => (Pulse::default(), self.since.elapsed()),
        };
        let leader = pulse.leader.filter(|_| last_contact < LEADERLESS);
        Standing {
            id: self.id(),
            role: Role::Edge,
            raft: None,
            leader,
            leader_addr: leader.and_then(|id| state.member(id)).map(|member| member.peer_addr),
            term: pulse.term,
            voters: pulse.voters,
            synced: state.is_founded(),
            last_contact,
            upstream: self.upstream_addr(),
        }
    }

    /// Asks to be let in again when the cluster has forgotten this agent: after a long silence.
    pub async fn stay_admitted(&self, badge: &Badge, admission: Admission, life: Life) {
        let mut watch = self.replica.watch([Topic::Members]);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            let state = self.replica.snapshot();
            let mine = state.member(self.id()).is_some_and(|own| own.nonce == admission.nonce);
            let unknown = state.is_founded() && !mine;
            let Some(addr) = self.upstream_addr().filter(|_| unknown) else {
                let pause = tokio::time::sleep(Duration::from_secs(1));
                tokio::select! {
                    () = watch.changed() => {}
                    () = pause, if unknown => {}
                }
                continue;
            };
            if let Some(newer) = state.member_named(admission.name.as_str())
                && newer.nonce != admission.nonce
            {
                let (name, id) = (&admission.name, newer.id);
                let text = format!("{name} is the name of a newer agent by now, with id {id}");
                life.board.set(SUBJECT, Level::Failed, text);
                watch.changed().await;
                continue;
            }
            match ask_in(badge, &self.links, addr, &admission).await {
                Ok(admitted) => {
                    self.is_now(admitted.node);
                    life.board.clear(SUBJECT);
                    // The table is looked at again once it has the new row.
                    watch.changed().await;
                }
                Err(Rejection::NotYet(why) | Rejection::Refused(why)) => {
                    life.board.set(SUBJECT, Level::Warning, format!("not let in again: {why}"));
                    tokio::time::sleep(backoff.next_delay()).await;
                }
            }
        }
    }
}

impl Way for Edge {
    async fn propose(&self, command: &Command) -> Attempt {
        let Some(addr) = self.upstream_addr() else { return Attempt::NotYet };
        let command = command.clone();
        let ask = asks::encode(&Ask::Propose { command, reach: Reach::Cluster });
        forwarded(self.links.call(addr, Purpose::Door, ask, PROPOSE).await)
    }

    async fn confirm(&self, pulses: Vec<asks::Pulse>) -> Option<Confirmed> {
        self.confirms.get()?.ask(pulses).await
    }
}

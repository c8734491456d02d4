//! The door of an agent without a log: everything goes through the agent that it follows.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use rand::seq::SliceRandom;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::access::Caller;
use crate::lifecycle::{Backoff, Level, Life, chance};
use crate::model::{NodeId, Role, limits};
use crate::net::peer::{Links, Purpose, Pushed};
use crate::replica::{Replica, Topic};
use crate::state::{Admission, Command, PastAnswer, PastQuery, State};

use super::asks::{self, Ask, Confirmed, Pulse, Reach, Reply, Unconfirmed};
use super::badge::Badge;
use super::confirms::{Confirms, Haste};
use super::entrance::Rejection;
use super::follow::{self, Condition, Me, Upstream};
use super::joining::ask_in;
use super::past;
use super::patience::{Attempt, Way};
use super::rights::is_own;
use super::server::{LAST_WORD, LEADERLESS, forwarded};
use super::{ProposeError, SUBJECT, Seat, Standing};

/// How long a server may take over a proposal: it waits for a leader, and then for the log.
const PROPOSE: Duration = limits::LEADER_PATIENCE.saturating_add(Duration::from_secs(6));
/// How long one confirmation may take; it is asked for again.
const CONFIRM: Duration = Duration::from_secs(2);

pub(super) struct Edge {
    me: Arc<Me>,
    replica: Replica,
    links: Links,
    upstream: watch::Receiver<Option<Upstream>>,
    confirms: OnceLock<Confirms>,
    since: Instant,
}

impl Edge {
    pub fn start(
        me: Arc<Me>,
        replica: Replica,
        links: Links,
        upstream: watch::Receiver<Option<Upstream>>,
        life: &Life,
    ) -> Arc<Edge> {
        let confirms = OnceLock::new();
        let since = Instant::now();
        let edge = Arc::new(Edge { me, replica, links, upstream, confirms, since });
        let way = Arc::downgrade(&edge);
        let route = move |pulses| {
            let way = way.clone();
            async move { way.upgrade().ok_or(Unconfirmed::NotYet)?.confirm_once(pulses).await }
                .boxed()
        };
        let _ = edge.confirms.set(Confirms::start(life, Arc::new(route)));
        edge
    }

    pub fn id(&self) -> NodeId {
        self.me.id()
    }

    /// Makes this agent's state another than it was told.
    #[cfg(test)]
    pub fn corrupt(&self, key: &'static [u8]) {
        self.me.corrupt(key);
    }

    /// The cluster has let it in anew.
    pub fn is_now(&self, id: NodeId) {
        self.me.is_now(id);
    }

    /// Why this agent must not serve any more.
    pub fn outdated(&self) -> Option<String> {
        self.me.outdated()
    }

    async fn confirm_once(&self, pulses: Vec<Pulse>) -> Result<Confirmed, Unconfirmed> {
        let addr = self.upstream_addr().ok_or(Unconfirmed::NotYet)?;
        let ask = asks::encode(&Ask::Confirm { pulses, reach: Reach::Cluster });
        let answer = self.links.call(addr, Purpose::Door, ask, CONFIRM);
        // A dead upstream must not hold reads up that another one would answer.
        tokio::select! {
            answer = answer => asks::confirmed(answer),
            () = self.left(addr) => Err(Unconfirmed::NotYet),
        }
    }

    pub async fn confirm_with(
        &self,
        pulses: Vec<Pulse>,
        haste: Haste,
    ) -> Result<Confirmed, Unconfirmed> {
        self.confirms.get().ok_or(Unconfirmed::NotYet)?.ask(pulses, haste).await
    }

    /// What whoever is followed knows of the past; none if it may be asked again.
    pub async fn recall(&self, query: &PastQuery, seen: u64) -> Option<PastAnswer> {
        let addr = self.upstream_addr()?;
        let ask = asks::encode(&Ask::Past { query: query.clone(), seen });
        tokio::select! {
            answer = self.links.call(addr, Purpose::Door, ask, past::ANSWER) => {
                past::answered(answer)
            }
            () = self.left(addr) => None,
        }
    }

    /// Asks whoever is followed; none if there is no answer worth having.
    pub async fn call_upstream(&self, ask: &Ask, within: Duration) -> Option<Reply> {
        let addr = self.upstream_addr()?;
        let answer = self.links.call(addr, Purpose::Door, asks::encode(ask), within);
        tokio::select! {
            answer = answer => asks::decode(&answer.ok()?).ok(),
            () = self.left(addr) => None,
        }
    }

    /// Asks whoever is followed for a stream; none while that is nobody.
    pub async fn open_upstream(&self, purpose: Purpose, ask: Bytes) -> Option<io::Result<Pushed>> {
        let addr = self.upstream_addr()?;
        Some(self.links.open_stream(addr, purpose, ask).await)
    }

    /// Returns once the agent at `addr` is not followed any more.
    async fn left(&self, addr: SocketAddr) {
        let elsewhere =
            |now: &Option<Upstream>| now.as_ref().is_none_or(|u| u.lost || u.addr != addr);
        let _ = self.upstream.clone().wait_for(elsewhere).await;
    }

    /// How this agent is, for those who follow it.
    pub fn condition(&self) -> Option<Condition> {
        let (last, lost) = {
            let upstream = self.upstream.borrow();
            let upstream = upstream.as_ref()?;
            (upstream.pulse.clone(), upstream.lost)
        };
        let standing = self.standing();
        let path = last.path.iter().copied().chain([self.id()]).collect();
        let pulse = follow::Pulse {
            id: self.id(),
            leader: standing.leader,
            term: last.term,
            voters: last.voters,
            last_contact: standing.last_contact,
            applied: self.replica.snapshot().applied(),
            path,
        };
        Some(Condition { pulse, open: !lost })
    }

    /// The agent that is followed right now.
    fn upstream_addr(&self) -> Option<SocketAddr> {
        self.upstream.borrow().as_ref().filter(|upstream| !upstream.lost).map(|u| u.addr)
    }

    pub fn is_synced(&self) -> bool {
        self.replica.snapshot().is_founded() && self.outdated().is_none()
    }

    pub fn seat(&self) -> Seat {
        let term = self.upstream.borrow().as_ref().map_or(0, |upstream| upstream.pulse.term);
        Seat { id: self.id(), term }
    }

    pub fn standing(&self) -> Standing {
        let state = self.replica.snapshot();
        let (pulse, last_contact) = match &*self.upstream.borrow() {
            Some(last) => {
                let since = last.heard.elapsed().saturating_add(last.pulse.last_contact);
                (last.pulse.clone(), since)
            }
            None => (follow::Pulse::default(), self.since.elapsed()),
        };
        let leader = pulse.leader.filter(|_| last_contact < LEADERLESS);
        Standing {
            id: self.id(),
            role: self.me.role,
            raft: None,
            leader,
            leader_addr: leader.and_then(|id| state.member(id)).map(|member| member.peer_addr),
            term: pulse.term,
            committed: 0,
            voters: pulse.voters,
            membership: 0,
            synced: self.is_synced(),
            last_contact,
            upstream: self.upstream_addr(),
        }
    }

    /// A server to ask anew, while somebody is followed: relays let nobody in.
    fn entrance(&self, state: &State) -> Option<SocketAddr> {
        self.upstream_addr()?;
        let servers = state.members().filter(|member| member.role == Role::Server);
        let mut addrs: Vec<_> = servers.map(|member| member.peer_addr).collect();
        addrs.shuffle(&mut chance::Dice);
        addrs.pop()
    }

    /// Asks to be let in again when the cluster has forgotten this agent: after a long silence.
    pub async fn stay_admitted(&self, badge: &Badge, admission: Admission, life: Life) {
        let mut watch = self.replica.watch([Topic::Members]);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            let state = self.replica.snapshot();
            let mine = state.member(self.id()).is_some_and(|own| own.nonce == admission.nonce);
            let unknown = state.is_founded() && !mine;
            let Some(addr) = self.entrance(&state).filter(|_| unknown) else {
                let pause = sleep(Duration::from_secs(1));
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
                    sleep(backoff.next_delay()).await;
                }
            }
        }
    }
}

impl Way for Edge {
    async fn propose(&self, command: &Command) -> Attempt {
        if let Some(why) = self.outdated() {
            return Attempt::Failed(ProposeError::Outdated(why));
        }
        let Some(addr) = self.upstream_addr() else { return Attempt::NotYet };
        // What is nobody's is nobody's wish: its own certificate speaks for its presence alone.
        let command = match command.clone() {
            command if is_own(&command) => command,
            command => command.by(Caller::Nobody),
        };
        let ask = asks::encode(&Ask::Propose { command, reach: Reach::Cluster });
        let answer = self.links.call(addr, Purpose::Door, ask, PROPOSE);
        let losses = |upstream: &Option<Upstream>| upstream.as_ref().map(|u| u.losses);
        let before = losses(&self.upstream.borrow());
        let mut upstream = self.upstream.clone();
        let lost = async {
            let _ = upstream.wait_for(|now| losses(now) != before).await;
            sleep(LAST_WORD).await;
        };
        tokio::select! {
            answer = answer => forwarded(answer),
            () = lost => Attempt::Failed(ProposeError::Unknown(format!(
                "the agent at {addr} was asked and is not followed any more"
            ))),
        }
    }

    async fn confirm(&self, pulses: Vec<Pulse>) -> Result<Confirmed, Unconfirmed> {
        let haste = if pulses.is_empty() { Haste::Now } else { Haste::Merged };
        self.confirm_with(pulses, haste).await
    }

    fn turn(&self) -> impl Future<Output = ()> + Send + use<> {
        let followed = |upstream: &Option<Upstream>| {
            upstream.as_ref().filter(|upstream| !upstream.lost).map(|upstream| upstream.addr)
        };
        let mut upstream = self.upstream.clone();
        let before = followed(&upstream.borrow());
        async move {
            let other = |now: &Option<Upstream>| followed(now).is_some() && followed(now) != before;
            if upstream.wait_for(other).await.is_err() {
                // Nobody is followed any more.
                pending().await
            }
        }
    }
}

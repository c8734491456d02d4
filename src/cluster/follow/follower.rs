//! The following side of the stream: keeps one agent followed, and moves on when it goes silent.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::lifecycle::{Backoff, Gate, Level, Life, chance};
use crate::model::Role;
use crate::net::peer::{Links, Purpose, Pushed};
use crate::replica::Writer;
use crate::telemetry::Counter;

use super::choice::{Candidate, Rank, order, rank, unfit};
use super::comparison::{Comparison, sum_up};
use super::intake::{Intake, Unfit};
use super::me::Me;
use super::wire::Pulse;

/// Who pushed nothing for this long is dead: pulses come five times a second.
const SILENCE: Duration = Duration::from_secs(1);
/// Who has lost the leader for this long is left, if others may know more.
const LEADERLESS: Duration = Duration::from_secs(3);
/// But not more often than this.
const RESTLESS: Duration = Duration::from_secs(15);
/// The followers of one that died do not all come at once.
const JITTER: Duration = Duration::from_millis(150);
/// How long an agent that has become too old for its cluster waits before it looks again.
const OUTDATED: Duration = Duration::from_secs(60);
const SUBJECT: &str = "cluster/upstream";

/// The agent that is followed, and what it last said.
#[derive(Debug, Clone)]
pub(in crate::cluster) struct Upstream {
    pub addr: SocketAddr,
    pub pulse: Pulse,
    pub heard: Instant,
    /// It is not followed any more, and nobody else is yet.
    pub lost: bool,
    /// How many were lost so far: what one of them was asked may never be answered.
    pub losses: u64,
}

pub(in crate::cluster) struct Follower {
    pub life: Life,
    pub join: Vec<String>,
    me: Arc<Me>,
    links: Links,
    intake: Intake,
    upstream: watch::Sender<Option<Upstream>>,
    /// Those that were tried in vain since the last success.
    failed: BTreeSet<SocketAddr>,
    /// How far the present upstream was when its stream began.
    begun_at: Option<u64>,
    moved: Option<Instant>,
    losses: u64,
    /// The leader was left alone once, for those who have less to do.
    spared: bool,
    /// The present upstream is well, and left all the same.
    leaving: bool,
}

impl Follower {
    pub fn new(
        life: Life,
        join: Vec<String>,
        me: Arc<Me>,
        links: Links,
        writer: Writer,
        differed: Counter,
    ) -> Follower {
        let comparison = Comparison::new(differed);
        let intake = Intake::new(writer, me.role == Role::Relay, me.level, comparison);
        Follower {
            life,
            join,
            me,
            links,
            intake,
            upstream: watch::Sender::new(None),
            failed: BTreeSet::new(),
            begun_at: None,
            moved: None,
            losses: 0,
            spared: false,
            leaving: false,
        }
    }

    /// Who is followed, or was until a moment ago; none while nobody ever was.
    pub fn upstream(&self) -> watch::Receiver<Option<Upstream>> {
        self.upstream.subscribe()
    }

    /// Follows until the shutdown begins.
    pub async fn run(mut self) {
        let shutdown = self.life.shutdown.clone();
        let summing = sum_up(self.intake.replica(), self.intake.comparison().own());
        shutdown.or(async { tokio::join!(self.follow(), summing) }).await;
    }

    async fn follow(&mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            let mut candidates = self.members();
            if candidates.iter().all(|candidate| candidate.failed) {
                candidates.extend(self.newcomers().await);
            }
            let next = order(candidates, chance::random()).into_iter().next();
            let why = match next {
                Some(addr) => self.session(addr, &mut backoff).await,
                None => format!("none of {} can be reached", self.join.join(", ")),
            };
            tracing::debug!(upstream = ?next, why, "not following any more");
            if !std::mem::take(&mut self.leaving) {
                self.lose(why).await;
            }
            match next {
                // A fresh one is tried at once, the same ones again after a pause.
                Some(addr) if self.failed.insert(addr) => {}
                _ => {
                    self.failed.clear();
                    sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    async fn lose(&mut self, why: String) {
        let followed = self.upstream.borrow().as_ref().is_some_and(|upstream| !upstream.lost);
        self.losses += u64::from(followed);
        self.upstream.send_modify(|upstream| {
            if let Some(upstream) = upstream {
                upstream.lost = true;
                upstream.losses = self.losses;
            }
        });
        if let Some(why) = self.me.outdated() {
            tracing::error!(%why, "this agent follows no more");
            self.life.board.set(SUBJECT, Level::Failed, why);
            sleep(OUTDATED).await;
            return;
        }
        self.life.board.set(SUBJECT, Level::Warning, why);
        if followed {
            sleep(JITTER.mul_f64(chance::random_range(0.0..=1.0))).await;
        }
    }

    /// Whoever is followed leads, though others have less to do. Found out once: to move with
    /// every change of the leader would cost more than it spares.
    async fn spares(&mut self, pulse: &Pulse) -> bool {
        if self.spared || pulse.leader != Some(pulse.id) {
            return false;
        }
        let mut others = self.members();
        if others.is_empty() {
            others = self.newcomers().await;
        }
        self.spared = others.iter().filter(|other| !other.failed).count() > 1;
        self.spared
    }

    fn members(&self) -> Vec<Candidate> {
        let (me, role) = (self.me.id(), self.me.role);
        let leader = self.upstream.borrow().as_ref().and_then(|upstream| upstream.pulse.leader);
        let feeds = |theirs: Role| matches!(theirs, Role::Server | Role::Relay);
        let members = self.intake.state().members().filter(|m| feeds(m.role) && m.id != me);
        members
            .map(|member| Candidate {
                addr: member.peer_addr,
                rank: rank(role, member.role, leader == Some(member.id)),
                failed: self.failed.contains(&member.peer_addr),
            })
            .collect()
    }

    async fn newcomers(&self) -> Vec<Candidate> {
        let mut found = Vec::new();
        for name in &self.join {
            for addr in self.links.resolve(name).await.unwrap_or_default() {
                let failed = self.failed.contains(&addr);
                found.push(Candidate { addr, rank: Rank::Second, failed });
            }
        }
        found
    }

    /// Follows one agent for as long as it goes; says why it ended.
    async fn session(&mut self, addr: SocketAddr, backoff: &mut Backoff) -> String {
        self.intake.begin();
        self.begun_at = None;
        let ask = match postcard::to_stdvec(&self.intake.position()) {
            Ok(ask) => Bytes::from(ask),
            Err(error) => return error.to_string(),
        };
        let mut pushed = match self.links.open_stream(addr, Purpose::Follow, ask).await {
            Ok(pushed) => pushed,
            Err(error) => return format!("the agent at {addr} cannot be followed: {error}"),
        };
        loop {
            match self.step(addr, &mut pushed).await {
                Ok(false) => {}
                Ok(true) => {
                    backoff.reset();
                    self.failed.clear();
                }
                Err(why) => return format!("the agent at {addr}: {why}"),
            }
        }
    }

    /// Takes one frame; true if it was a pulse and this agent has caught up.
    async fn step(&mut self, addr: SocketAddr, pushed: &mut Pushed) -> Result<bool, String> {
        let frame = match timeout(SILENCE, pushed.next()).await {
            Ok(Ok(Some(frame))) => frame,
            Ok(Ok(None)) => return Err("it closed the stream".to_owned()),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("silent for {SILENCE:?}")),
        };
        #[cfg(test)]
        if let Some(key) = self.me.to_corrupt() {
            self.intake.corrupt(key);
        }
        let taken = self.intake.take(frame).map_err(|unfit| {
            if let Unfit::Outdated { current, .. } = unfit {
                self.me.is_beyond(current);
            }
            unfit.to_string()
        })?;
        let Some(pulse) = taken else { return Ok(false) };
        let begun_at = *self.begun_at.get_or_insert(pulse.applied.index);
        if let Some(why) = unfit(self.me.id(), self.me.role, &pulse.path) {
            return Err(why);
        }
        if self.spares(&pulse).await {
            self.leaving = true;
            return Err("it leads, and others have less to do".to_owned());
        }
        let lost = pulse.last_contact > LEADERLESS && self.members().len() > 1;
        let rested = self.moved.is_none_or(|moved| moved.elapsed() > RESTLESS);
        let heard = Instant::now();
        let losses = self.losses;
        self.upstream.send_replace(Some(Upstream { addr, pulse, heard, lost: false, losses }));
        if lost && rested {
            self.moved = Some(Instant::now());
            return Err(format!("it has not heard from a leader for {LEADERLESS:?}"));
        }
        let state = self.intake.state();
        let synced = state.is_founded() && state.applied().index >= begun_at;
        if synced {
            self.life.gates.open(Gate::Synced);
            self.life.board.clear(SUBJECT);
        }
        Ok(synced)
    }
}

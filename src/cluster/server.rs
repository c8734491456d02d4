//! The door of an agent that holds the log: its own Raft where it leads, the leader where not.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use crate::identity::Admitted;
use crate::lifecycle::Life;
use crate::model::{NodeId, Role, limits};
use crate::net::peer::{CallError, Links, Purpose, Refused};
use crate::raft::{self, Raft};
use crate::replica::Replica;
use crate::state::Command;
use crate::telemetry::Metrics;

use super::asks::{self, Ask, Confirmed, Introduction, Pulse, Reach, Reply, Secret, Unconfirmed};
use super::carrier;
use super::compare;
use super::confirms::{Confirms, Haste};
use super::duties::Duties;
use super::follow;
use super::logins::Logins;
use super::past;
use super::patience::{self, Attempt, Way};
use super::registrar::is_there;
use super::roster::Roster;
use super::{ProposeError, RaftRole, Seat, Standing};

/// How long the leader may take over a proposal that was forwarded to it: longer than it lets the
/// log take.
const FORWARDED: Duration = Duration::from_secs(5);
/// How long a leader that was deposed may take to answer what it was asked before.
pub(super) const LAST_WORD: Duration = Duration::from_millis(500);
/// How long one confirmation may take; it is asked for again.
const CONFIRM: Duration = Duration::from_secs(1);
/// How long an heir may take to lead: an election is over by then.
const HANDOVER: Duration = Duration::from_secs(1);
/// A leader that was silent for this long may be none any more.
pub(super) const LEADERLESS: Duration = Duration::from_secs(2);

pub(super) struct Server {
    pub me: Admitted,
    pub raft: Raft,
    pub replica: Replica,
    pub roster: Arc<Roster>,
    pub links: Links,
    pub duties: Duties,
    pub logins: Arc<Logins>,
    /// Who this agent says it is; the cluster and the id are filled in.
    introduction: Introduction,
    /// When each server last sent a message of Raft.
    heard: Mutex<BTreeMap<NodeId, Instant>>,
    confirms: OnceLock<Confirms>,
    census: Mutex<Census>,
    since: Instant,
}

/// Which servers are there, as far as that is known here.
#[derive(Default)]
struct Census {
    /// Whether servers are missing, as the leader said last.
    wanting: Option<bool>,
    /// As the leader: those that answered when they were last asked.
    there: BTreeSet<NodeId>,
}

pub(super) struct Parts {
    pub me: Admitted,
    pub raft: Raft,
    pub replica: Replica,
    pub roster: Arc<Roster>,
    pub links: Links,
    pub introduction: Introduction,
    pub logins: Arc<Logins>,
    pub metrics: Metrics,
}

impl Server {
    pub fn start(parts: Parts, life: &Life) -> Arc<Server> {
        let Parts { me, raft, replica, roster, links, mut introduction, logins, metrics } = parts;
        introduction.cluster = me.cluster;
        introduction.id = me.node;
        let duties = Duties::new(raft.clone(), replica.clone(), &metrics);
        let (heard, confirms) = (Mutex::default(), OnceLock::new());
        let server = Arc::new(Server {
            me,
            raft,
            replica,
            roster,
            links,
            duties,
            logins,
            introduction,
            heard,
            confirms,
            census: Mutex::default(),
            since: Instant::now(),
        });
        let way = Arc::downgrade(&server);
        let route = move |pulses| {
            let way = way.clone();
            async move {
                let server = way.upgrade().ok_or(Unconfirmed::NotYet)?;
                server.confirm_once(pulses).await
            }
            .boxed()
        };
        let _ = server.confirms.set(Confirms::start(life, Arc::new(route)));
        server
    }

    pub fn id(&self) -> NodeId {
        self.me.node
    }

    pub fn introduction(&self) -> Introduction {
        let mut introduction = self.introduction.clone();
        introduction.wants_servers = self.wants_servers();
        introduction.others = self.roster.others(self.me.node);
        introduction
    }

    fn census(&self) -> MutexGuard<'_, Census> {
        self.census.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only the leader knows which servers are there; who has not heard from it counts members.
    fn wants_servers(&self) -> bool {
        let said = self.census().wanting;
        said.unwrap_or_else(|| {
            let state = self.replica.snapshot();
            self.are_too_few(state.members().filter(|member| member.role == Role::Server).count())
        })
    }

    fn are_too_few(&self, servers: usize) -> bool {
        let state = self.replica.snapshot();
        let settings = &state.identity().settings;
        servers < (settings.voters + settings.standbys) as usize
    }

    /// As the leader, this server has found so many servers that are not dead, itself included,
    /// and these that answered just now.
    pub fn note_live(&self, servers: usize, there: BTreeSet<NodeId>) {
        let wanting = Some(self.are_too_few(servers));
        *self.census() = Census { wanting, there };
    }

    /// An agent has said where it is.
    pub fn hear(&self, other: &Introduction) {
        if other.cluster == self.me.cluster && other.id != self.me.node {
            self.roster.hear(other.id, other.addr, true);
            if self.raft.status().borrow().leader == Some(other.id) {
                self.census().wanting = Some(other.wants_servers);
            }
        }
    }

    /// An agent has said where the others are: worth a try while no leader is heard of.
    pub fn hear_of_others(&self, from: &Introduction) {
        if from.cluster == self.me.cluster {
            for (id, addr) in from.others.iter().filter(|(id, _)| *id != self.me.node) {
                self.roster.hear(*id, *addr, false);
            }
        }
    }

    /// Takes a message of Raft. The future is to be polled before the next message is looked at.
    pub fn take(
        &self,
        caller: NodeId,
        body: Bytes,
    ) -> Result<impl Future<Output = Bytes> + Send + use<>, Refused> {
        let (from, message) = carrier::open(body, self.me.cluster, self.me.node)?;
        if from != caller {
            return Err(Refused(format!("server {caller} speaks in the name of {from}")));
        }
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.len() < limits::SERVERS || heard.contains_key(&from) {
            heard.insert(from, Instant::now());
        }
        drop(heard);
        Ok(self.raft.handle(&message))
    }

    /// What another agent asked of this server.
    pub async fn answer(&self, ask: Ask) -> Reply {
        match ask {
            Ask::Who(other) => {
                self.hear(&other);
                Reply::Who(self.introduction())
            }
            Ask::Propose { command, reach: Reach::Leader } => {
                match self.propose_here(&command).await {
                    Attempt::Done(outcome, index) => Reply::Proposed { outcome, index },
                    Attempt::NotYet | Attempt::Failed(ProposeError::Stopped(_)) => Reply::NotLeader,
                    Attempt::Failed(error) => Reply::Failed(error),
                }
            }
            Ask::Propose { command, reach: Reach::Cluster } => {
                // Before it goes anywhere: no token enters the log.
                let command = self.logins.resolve(command);
                match patience::propose(self, &command).await {
                    Ok((outcome, index)) => Reply::Proposed { outcome, index },
                    Err(error) => Reply::Failed(error),
                }
            }
            Ask::Confirm { pulses, reach: Reach::Leader } => {
                self.duties.batches.inc();
                self.confirm_here(pulses).await.into()
            }
            Ask::Operate(operation) => Reply::Operated(self.operate(operation).await),
            Ask::Compare(report) if self.raft.status().borrow().leads() => {
                Reply::Compared(compare::take(self, report))
            }
            Ask::Compare(_) => Reply::NotLeader,
            // Who asks from outside asks again by itself.
            Ask::Confirm { pulses, reach: Reach::Cluster } => {
                self.confirm_with(pulses, Haste::Merged).await.into()
            }
            Ask::Past { query, seen } => past::recall(&self.replica, &query, seen).await.into(),
            Ask::Identify(token) => Reply::Identified(self.logins.look_at(&token.0)),
            Ask::Login { name, password } => {
                let done = self.login(&name, password.0).await;
                Reply::LoggedIn(done.map(|token| Secret(Zeroizing::new(token))))
            }
            Ask::Reveal { accessor, token } => {
                let caller = self.logins.look_at(&token.0).caller;
                Reply::Revealed(self.reveal(accessor, &caller).map(Secret))
            }
            Ask::Probe(id) => Reply::There(is_there(self, id).await),
            Ask::Join(_) | Ask::Renew { .. } => {
                Reply::Denied("that is asked at the entrance".to_owned())
            }
        }
    }

    async fn propose_here(&self, command: &Command) -> Attempt {
        let founding = matches!(command, Command::Found(_));
        if !founding && !self.replica.snapshot().is_founded() {
            return Attempt::NotYet;
        }
        let error = match self.raft.propose(command.clone()).await {
            Ok((outcome, at)) => return Attempt::Done(outcome, at.index),
            Err(error) => error,
        };
        match error {
            raft::ProposeError::NotLeader { .. } => Attempt::NotYet,
            raft::ProposeError::NoQuorum => Attempt::Failed(ProposeError::NoQuorum),
            raft::ProposeError::Busy(_) => Attempt::Failed(ProposeError::Busy(error.to_string())),
            raft::ProposeError::DiskFull => Attempt::Failed(ProposeError::NoSpace),
            raft::ProposeError::TooLarge { len, max } => {
                Attempt::Failed(ProposeError::TooLarge { len, max })
            }
            raft::ProposeError::Unknown(why) => Attempt::Failed(ProposeError::Unknown(why)),
            raft::ProposeError::Stopped(why) => Attempt::Failed(ProposeError::Stopped(why)),
        }
    }

    /// Asked of the leader that Raft knows: sent at most once.
    async fn forward(&self, leader: NodeId, command: &Command) -> Attempt {
        let Some(addr) = self.roster.addr(leader) else { return Attempt::NotYet };
        let command = command.clone();
        let ask = asks::encode(&Ask::Propose { command, reach: Reach::Leader });
        let answer = self.links.call(addr, Purpose::Door, ask, FORWARDED);
        let mut status = self.raft.status();
        let deposed = async move {
            let other = |now: &raft::Status| now.leader.is_some_and(|now| now != leader);
            let _ = status.wait_for(other).await;
            sleep(LAST_WORD).await;
        };
        tokio::select! {
            answer = answer => forwarded(answer),
            () = deposed => Attempt::Failed(ProposeError::Unknown(format!(
                "server {leader} was asked and does not lead any more"
            ))),
        }
    }

    async fn confirm_here(&self, pulses: Vec<Pulse>) -> Result<Confirmed, Unconfirmed> {
        let index = self.raft.read_index().await.map_err(|error| match error {
            raft::ReadIndexError::NoQuorum => Unconfirmed::NoQuorum,
            raft::ReadIndexError::NotLeader { .. } | raft::ReadIndexError::Stopped(_) => {
                Unconfirmed::NotYet
            }
        })?;
        let verdicts = if pulses.is_empty() {
            Vec::new()
        } else {
            self.duties.renew(&pulses).ok_or(Unconfirmed::NotYet)?
        };
        Ok(Confirmed { index, verdicts })
    }

    async fn confirm_once(&self, pulses: Vec<Pulse>) -> Result<Confirmed, Unconfirmed> {
        let leader = self.raft.status().borrow().leader.ok_or(Unconfirmed::NotYet)?;
        if leader == self.me.node {
            return self.confirm_here(pulses).await;
        }
        let addr = self.roster.addr(leader).ok_or(Unconfirmed::NotYet)?;
        let ask = asks::encode(&Ask::Confirm { pulses, reach: Reach::Leader });
        asks::confirmed(self.links.call(addr, Purpose::Door, ask, CONFIRM).await)
    }

    async fn confirm_with(
        &self,
        pulses: Vec<Pulse>,
        haste: Haste,
    ) -> Result<Confirmed, Unconfirmed> {
        // The leader's Raft merges reads by itself.
        if pulses.is_empty() && self.raft.status().borrow().leads() {
            return self.confirm_here(pulses).await;
        }
        self.confirms.get().ok_or(Unconfirmed::NotYet)?.ask(pulses, haste).await
    }

    /// Time since the leader, or without one any server, was heard of; none if never since the
    /// start: what Raft remembers from before is no leader that is heard of.
    fn heard_of_leader(&self, status: &raft::Status) -> Option<Duration> {
        if status.leader == Some(self.me.node) {
            return Some(doubt(status.quorum_silence(Instant::now())));
        }
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let last = match status.leader {
            Some(id) => heard.get(&id),
            None => heard.values().max(),
        };
        last.map(Instant::elapsed)
    }

    pub fn is_synced(&self) -> bool {
        self.raft.status().borrow().synced && self.replica.snapshot().is_founded()
    }

    pub fn seat(&self) -> Seat {
        Seat { id: self.me.node, term: self.raft.status().borrow().term }
    }

    pub fn standing(&self) -> Standing {
        let status = self.raft.status().borrow().clone();
        let heard = self.heard_of_leader(&status);
        let leader = status.leader.filter(|_| heard.is_some_and(|ago| ago < LEADERLESS));
        let role = match status.role {
            raft::Role::Leader => RaftRole::Leader,
            _ if status.voters.contains(&self.me.node) => RaftRole::Voter,
            _ => RaftRole::Learner,
        };
        let leader_addr = match leader {
            Some(id) if id == self.me.node => Some(self.introduction.addr),
            Some(id) => self.roster.addr(id),
            None => None,
        };
        Standing {
            id: self.me.node,
            role: Role::Server,
            raft: Some(role),
            leader,
            leader_addr,
            term: status.term,
            committed: status.committed.map_or(0, |committed| committed.index),
            voters: status.voters.clone(),
            membership: self.raft.membership(),
            synced: self.is_synced(),
            last_contact: heard.unwrap_or_else(|| self.since.elapsed()),
            upstream: None,
        }
    }

    /// What followers are told several times a second.
    pub fn pulse(&self) -> follow::Pulse {
        let standing = self.standing();
        follow::Pulse {
            id: standing.id,
            leader: standing.leader,
            term: standing.term,
            voters: standing.voters,
            last_contact: standing.last_contact,
            applied: self.replica.snapshot().applied(),
            path: Vec::new(),
        }
    }

    /// Hands leadership over, then ends Raft.
    pub async fn stop(&self) {
        let mut status = self.raft.status();
        let now = status.borrow().clone();
        let there = self.census().there.clone();
        let heir = now.heirs().into_iter().find(|id| there.is_empty() || there.contains(id));
        if let Some(heir) = heir {
            let handed = async {
                self.raft.transfer_leader(heir).await?;
                let _ = status.wait_for(|status| !status.leads()).await;
                Ok::<(), raft::MembershipError>(())
            };
            match tokio::time::timeout(HANDOVER, handed).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "leadership was not handed over"),
                Err(_) => tracing::warn!(%heir, "leadership was not taken over in time"),
            }
        }
        self.raft.shutdown().await;
    }
}

impl Way for Server {
    async fn propose(&self, command: &Command) -> Attempt {
        let leader = self.raft.status().borrow().leader;
        match leader {
            Some(leader) if leader == self.me.node => self.propose_here(command).await,
            Some(leader) => self.forward(leader, command).await,
            None => Attempt::NotYet,
        }
    }

    async fn confirm(&self, pulses: Vec<Pulse>) -> Result<Confirmed, Unconfirmed> {
        let haste = if pulses.is_empty() { Haste::Now } else { Haste::Merged };
        self.confirm_with(pulses, haste).await
    }

    fn turn(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut status = self.raft.status();
        let before = status.borrow().leader;
        async move {
            let other = |now: &raft::Status| now.leader.is_some() && now.leader != before;
            if status.wait_for(other).await.is_err() {
                // Raft has ended: there is no new leader to hear of.
                pending().await
            }
        }
    }
}

/// What the answer to a forwarded proposal means: once it may have been handled, it is unknown.
pub(super) fn forwarded(answer: Result<Bytes, CallError>) -> Attempt {
    let unknown = |why: String| Attempt::Failed(ProposeError::Unknown(why));
    match answer {
        Ok(answer) => match asks::decode(&answer) {
            Ok(Reply::Proposed { outcome, index }) => Attempt::Done(outcome, index),
            Ok(Reply::NotLeader) => Attempt::NotYet,
            Ok(Reply::Failed(error)) => Attempt::Failed(error),
            Ok(_) => unknown("an answer to another question".to_owned()),
            Err(Refused(why)) => unknown(why),
        },
        Err(CallError::NotSent(_)) => Attempt::NotYet,
        Err(CallError::Lost(why)) => unknown(why),
    }
}

/// A quorum's silence, as far as it is a reason to doubt the leader.
pub(super) fn doubt(silence: Duration) -> Duration {
    if silence > LEADERLESS { silence } else { Duration::ZERO }
}

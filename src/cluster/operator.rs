//! What an operator does to the servers: hand over leadership, take one out, put an agent out.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use crate::model::{Member, NodeId, Role, Stamp, limits};
use crate::net::peer::Purpose;
use crate::raft::MembershipError;
use crate::state::{Command, Outcome, Refusal};

use super::asks::{self, Ask, Reply};
use super::entrance::who;
use super::membership::is_near;
use super::patience;
use super::removal::{self, Removal, Servers};
use super::server::Server;
use super::{Cluster, Door, ProposeError};

/// How long an heir may take to lead.
const HANDOVER: Duration = Duration::from_secs(2);
/// How long the leader may take over an operation: a change of voters is two entries.
const OPERATE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);

/// Something that only the leader can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Has that voter lead, or whichever has most of the log.
    TransferLeader(Option<NodeId>),
    /// Takes a server out of the cluster for good.
    RemoveServer(NodeId),
    /// Has a server vote that stands by, and one more voter wanted.
    Promote(NodeId),
}

/// What came of it, as it travels between servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Operated {
    Done,
    /// Nothing was done here, another server leads: ask that one.
    Elsewhere,
    /// Nothing was done, and why.
    Refused(String),
    /// It may have been done in part; doing it again is safe.
    Failed(String),
    /// Not done yet, and why; it is worth being tried again at once.
    NotYet(String),
}

/// Why an operator's wish was not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperatorError {
    #[error("operators are answered by servers, and this agent is none: ask {0}")]
    NotServer(String),
    #[error("there is no agent {0}")]
    NoAgent(String),
    #[error("{0}")]
    Refused(String),
    #[error("{0}; doing it again is safe")]
    Failed(String),
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

impl From<Refusal> for OperatorError {
    fn from(refusal: Refusal) -> OperatorError {
        OperatorError::Refused(refusal.to_string())
    }
}

impl Cluster {
    /// Whether this agent answers operators: a server does, and from others this is the error.
    pub fn is_for_operators(&self) -> Result<(), OperatorError> {
        if matches!(self.threshold.door(), Some(Door::Server(_))) {
            return Ok(());
        }
        #[cfg(test)]
        if matches!(self.threshold.door(), Some(Door::Solo(_))) {
            return Ok(());
        }
        let state = self.snapshot();
        let known: Vec<String> =
            state.members().filter(|m| m.role == Role::Server).map(place).collect();
        let ask = if known.is_empty() { "a server".to_owned() } else { known.join(", ") };
        Err(OperatorError::NotServer(ask))
    }

    /// Cluster time: what the leader goes by, or as far as it has come in what is logged.
    pub fn now(&self) -> Stamp {
        match self.threshold.door() {
            Some(Door::Server(server)) => server.raft.now(),
            _ => self.snapshot().stamp(),
        }
    }

    /// Has the leader do something. Nothing is ever done twice over: asked again, what is done
    /// already is left alone.
    pub async fn operate(&self, operation: Operation) -> Result<(), OperatorError> {
        self.is_for_operators()?;
        match self.threshold.door() {
            Some(Door::Server(server)) => operate(server, operation).await,
            #[cfg(test)]
            Some(Door::Solo(_)) => {
                let one = std::collections::BTreeSet::from([NodeId(1)]);
                let alone = Servers {
                    leader: NodeId(1),
                    members: one.clone(),
                    voters: one.clone(),
                    answering: one,
                    ..Servers::default()
                };
                let (Operation::TransferLeader(Some(id)) | Operation::RemoveServer(id)) = operation
                else {
                    return Err(OperatorError::Refused(ALONE.to_owned()));
                };
                let verdict = removal::decide(&alone, id).map(|_| ());
                verdict.map_err(|stays| OperatorError::Refused(stays.to_string()))
            }
            _ => Err(ProposeError::NotSynced.into()),
        }
    }

    /// Has this agent be no server any more, where others can go on without it; true if it was
    /// one. The only server stays what it is: without it there would be no cluster.
    pub async fn resign(&self) -> Result<bool, OperatorError> {
        let id = self.standing().id;
        let state = self.snapshot();
        let mut others = state.members().filter(|member| member.role == Role::Server);
        match self.threshold.door() {
            Some(Door::Server(_)) if others.any(|member| member.id != id) => {
                self.operate(Operation::RemoveServer(id)).await.map(|()| true)
            }
            _ => Ok(false),
        }
    }

    /// Puts an agent out of the cluster, by its name or id: its certificate is worth nothing from
    /// then on.
    pub async fn revoke(&self, agent: &str) -> Result<NodeId, OperatorError> {
        self.is_for_operators()?;
        let member = self.agent(agent)?;
        let id = member.id;
        if member.role == Role::Server {
            self.operate(Operation::RemoveServer(id)).await?;
        } else {
            self.decide(Command::Retire(id)).await?;
        }
        Ok(id)
    }

    /// The member of that name or id.
    pub fn agent(&self, agent: &str) -> Result<Arc<Member>, OperatorError> {
        let state = self.snapshot();
        let by_id = || agent.parse().ok().and_then(|id| state.member(NodeId(id)));
        let member = state.member_named(agent).or_else(by_id).cloned();
        member.ok_or_else(|| OperatorError::NoAgent(agent.to_owned()))
    }

    /// Proposes what an operator decided.
    pub async fn decide(&self, command: Command) -> Result<Outcome, OperatorError> {
        self.is_for_operators()?;
        match self.propose(command).await? {
            Outcome::Refused(refusal) => Err(refusal.into()),
            outcome => Ok(outcome),
        }
    }
}

const ALONE: &str = "no other server votes: there is nobody to lead instead";
const UNHEARD: &str =
    "no other server has answered the leader yet, so none is known to be fit to lead";

fn place(server: &Arc<Member>) -> String {
    match server.client_urls.first() {
        Some(url) => format!("{} ({url})", server.name),
        None => format!("{} (on {})", server.name, server.peer_addr.ip()),
    }
}

/// Asks whoever leads, as often as that changes meanwhile or something is in the way.
async fn operate(server: &Arc<Server>, operation: Operation) -> Result<(), OperatorError> {
    let deadline = Instant::now() + limits::LEADER_PATIENCE;
    loop {
        let leader = server.raft.status().borrow().leader;
        let operated = match leader {
            Some(id) if id == server.id() => server.operate(operation).await,
            Some(id) => ask(server, id, operation).await,
            None => Operated::Elsewhere,
        };
        match operated {
            Operated::Done => return Ok(()),
            Operated::Refused(why) => return Err(OperatorError::Refused(why)),
            Operated::Failed(why) => return Err(OperatorError::Failed(why)),
            Operated::Elsewhere if Instant::now() >= deadline => {
                return Err(ProposeError::NoLeader.into());
            }
            Operated::NotYet(why) if Instant::now() >= deadline => {
                return Err(OperatorError::Failed(why));
            }
            Operated::Elsewhere | Operated::NotYet(_) => sleep(PAUSE).await,
        }
    }
}

async fn ask(server: &Server, leader: NodeId, operation: Operation) -> Operated {
    let Some(addr) = server.roster.addr(leader) else { return Operated::Elsewhere };
    let ask = asks::encode(&Ask::Operate(operation));
    match server.links.call(addr, Purpose::Door, ask, OPERATE).await {
        Ok(answer) => match asks::decode(&answer) {
            Ok(Reply::Operated(operated)) => operated,
            Ok(_) => Operated::Failed(format!("server {leader} gave an odd answer")),
            Err(refused) => Operated::Failed(refused.0),
        },
        // Nothing that an operator wants is harmed by being asked for twice.
        Err(_) => Operated::Elsewhere,
    }
}

impl Server {
    /// Does it, if this server leads.
    pub async fn operate(&self, operation: Operation) -> Operated {
        match operation {
            Operation::TransferLeader(to) => self.transfer(to).await,
            Operation::RemoveServer(id) => self.take_out(id).await,
            Operation::Promote(id) => self.promote(id).await,
        }
    }

    /// More are wanted first: the vote would be taken away again otherwise.
    async fn promote(&self, id: NodeId) -> Operated {
        let servers = self.servers().await;
        if servers.leader != self.id() {
            return Operated::Elsewhere;
        }
        if servers.voters.contains(&id) {
            return Operated::Done;
        }
        let status = self.raft.status().borrow().clone();
        if !status.learners.contains(&id) || !is_near(&status, id) {
            return Operated::Refused(format!("server {id} does not have the log yet"));
        }
        let mut settings = self.replica.snapshot().identity().settings.clone();
        let voters = u32::try_from(servers.voters.len()).unwrap_or(u32::MAX).saturating_add(1);
        if settings.voters < voters {
            settings.voters = voters;
            if let Err(error) = patience::propose(self, &Command::Settings(settings)).await {
                return Operated::Failed(error.to_string());
            }
        }
        let voters = servers.voters.into_iter().chain([id]).collect();
        match self.raft.change_voters(voters).await {
            Ok(()) => Operated::Done,
            Err(error) => failed(&error),
        }
    }

    async fn transfer(&self, to: Option<NodeId>) -> Operated {
        let status = self.raft.status().borrow().clone();
        if to.is_some() && status.leader == to {
            return Operated::Done;
        }
        if !status.leads() {
            return Operated::Elsewhere;
        }
        let anybody = to.is_none();
        let to = match to.or_else(|| status.heir()) {
            Some(to) if status.voters.contains(&to) => to,
            Some(to) => {
                return Operated::Refused(format!("server {to} does not vote, so it cannot lead"));
            }
            None if status.voters.len() > 1 => return Operated::NotYet(UNHEARD.to_owned()),
            None => return Operated::Refused(ALONE.to_owned()),
        };
        match self.hand_over(to).await {
            Operated::NotYet(_) if anybody && !self.raft.status().borrow().leads() => {
                Operated::Done
            }
            operated => operated,
        }
    }

    async fn hand_over(&self, to: NodeId) -> Operated {
        if let Err(error) = self.raft.transfer_leader(to).await {
            return failed(&error);
        }
        let mut status = self.raft.status();
        let led = status.wait_for(|status| status.leader == Some(to));
        match timeout(HANDOVER, led).await {
            Ok(Ok(_)) => Operated::Done,
            // It may have lacked the newest entry when it was asked.
            _ => Operated::NotYet(format!("server {to} did not take over in time")),
        }
    }

    /// Out of Raft first, while it still has its rights: with two voters, one cannot vote the
    /// other out. Then out of the members.
    async fn take_out(&self, id: NodeId) -> Operated {
        let servers = self.servers().await;
        if servers.leader != self.id() {
            return Operated::Elsewhere;
        }
        match removal::decide(&servers, id) {
            Err(stays) => return Operated::Refused(stays.to_string()),
            Ok(Removal::HandOver(heir)) => {
                return match self.hand_over(heir).await {
                    Operated::Done => Operated::Elsewhere,
                    other => other,
                };
            }
            Ok(Removal::TakeOut) => match self.raft.remove(id).await {
                Ok(()) => {}
                Err(MembershipError::NotLeader { .. }) => return Operated::Elsewhere,
                Err(error) => return failed(&error),
            },
            Ok(Removal::Retire) => {}
        }
        if !servers.members.contains(&id) {
            return Operated::Done;
        }
        match patience::propose(self, &Command::Retire(id)).await {
            Ok((Outcome::Refused(Refusal::NoMember(_)) | Outcome::Done, _)) => Operated::Done,
            Ok((Outcome::Refused(refusal), _)) => Operated::Refused(refusal.to_string()),
            Ok(_) => Operated::Failed("an odd outcome".to_owned()),
            Err(error) => Operated::Failed(error.to_string()),
        }
    }

    async fn servers(&self) -> Servers {
        let status = self.raft.status().borrow().clone();
        let state = self.replica.snapshot();
        let me = self.introduction();
        let others = status.voters.iter().copied().filter(|id| *id != self.id());
        let calls = others.map(async |id| {
            let addr = self.roster.addr(id)?;
            let other = who(&self.links, addr, &me).await.ok()?;
            (other.id == id).then_some(id)
        });
        let answering = join_all(calls).await.into_iter().flatten().chain([self.id()]).collect();
        let leads = status.leads();
        Servers {
            leader: if leads { self.id() } else { NodeId(0) },
            members: state.members().filter(|m| m.role == Role::Server).map(|m| m.id).collect(),
            heir: status.heir(),
            voters: status.voters.into_iter().collect(),
            learners: status.learners.into_iter().collect(),
            answering,
        }
    }
}

fn failed(error: &MembershipError) -> Operated {
    match error {
        MembershipError::NotLeader { .. } => Operated::Elsewhere,
        MembershipError::Busy => Operated::NotYet(error.to_string()),
        MembershipError::Refused(why) => Operated::Failed(format!("not now: {why}")),
        MembershipError::Unknown(_) | MembershipError::Stopped(_) => {
            Operated::Failed(error.to_string())
        }
    }
}

//! The handle to this server's Raft: what `cluster` is given.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{
    ChangeMembershipError, ClientWriteError, InitializeError, LinearizableReadError, RaftError,
};
use openraft::{ChangeMembers, EmptyNode, ReadPolicy};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use crate::lifecycle::aside;
use crate::model::{Applied, NodeId, Stamp, limits};
use crate::replica::Writer;
use crate::state::{Command, Outcome};
use crate::telemetry::{Gauge, Metrics};

use super::ceiling::Ceiling;
use super::clock::ClusterClock;
use super::config::Config;
use super::disk::{Disk, RealDisk};
use super::error::{MembershipError, OpenError, ProposeError, ReadIndexError};
use super::inbox::Inbox;
use super::log_store::LogStore;
use super::machine::Machine;
use super::network::{Network, Transport};
use super::open::{Opened, open};
use super::propose::Proposer;
use super::reversion::Acknowledged;
use super::status::Status;
use super::types::Types;
use super::upkeep::{Upkeep, take_snapshot};
use super::watch::{Gauges, statuses};

pub(super) type Core = openraft::Raft<Types, Machine>;

/// Cheap to clone; all clones are the one server.
#[derive(Clone)]
pub struct Raft {
    inner: Arc<Inner>,
}

/// Files that are open, for a server that does not take part yet.
pub struct Ready {
    config: Config,
    opened: Opened,
}

impl Ready {
    /// Takes part with what is in the log. When this returns, the writer has everything that was
    /// known to be committed. Raft runs until `shutdown`.
    pub async fn run(
        self,
        writer: Writer,
        transport: Arc<dyn Transport>,
        metrics: &Metrics,
    ) -> Result<Raft, OpenError> {
        let Ready { config, opened } = self;
        let clock = Arc::new(ClusterClock::default());
        let replica = writer.replica();
        let shelf = opened.snapshots.clone();
        let ceiling = Arc::new(Ceiling::new(config.level));
        let (bound, marks) = (ceiling.clone(), clock.clone());
        let machine = Machine::new(writer, shelf.clone(), marks, metrics, bound);
        let acknowledged = Arc::new(Acknowledged::default());
        let network =
            Network::new(transport.clone(), acknowledged.clone(), config.sizes.snapshot_chunk);
        let settings = settings(&config)?;
        let log = opened.log.clone();
        let core = Core::new(config.id.0, Arc::new(settings), network, log.clone(), machine)
            .await
            .map_err(|error| match ceiling.outdated() {
                Some(why) => OpenError::Outdated(why),
                None => OpenError::Raft(error.to_string()),
            })?;
        let status = statuses(&core, &replica, Gauges::new(metrics));
        metrics.register_known(
            "etcd_disk_wal_fsync_duration_seconds",
            "How long the disk took to make what was written to the log durable",
            opened.pressure.syncs(),
        );
        Upkeep {
            core: core.clone(),
            shelf,
            log: log.clone(),
            pressure: opened.pressure.clone(),
            status: status.clone(),
            transport,
            sizes: config.sizes,
            short: metrics.register(
                "raft_disk_full",
                "1 while the disk has no room for more log",
                Gauge::default(),
            ),
        }
        .spawn();
        let proposer = Proposer {
            core: core.clone(),
            replica,
            clock,
            pressure: opened.pressure.clone(),
            room: Arc::new(Semaphore::new(limits::PROPOSALS_IN_FLIGHT)),
            within: config.proposal_timeout,
            lost_after: config.election_max * 2,
        };
        let inbox = Inbox::new(core.clone(), opened);
        let inner = Inner { config, core, proposer, inbox, acknowledged, log, status, ceiling };
        let raft = Raft { inner: Arc::new(inner) };
        raft.lead_if_alone().await?;
        Ok(raft)
    }
}

struct Inner {
    config: Config,
    core: Core,
    proposer: Proposer,
    inbox: Inbox,
    acknowledged: Arc<Acknowledged>,
    log: LogStore,
    status: watch::Receiver<Status>,
    ceiling: Arc<Ceiling>,
}

impl fmt::Debug for Raft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raft").field("id", &self.inner.config.id).finish_non_exhaustive()
    }
}

impl Raft {
    /// Opens the log in `config.dir` and takes part with what is in it. When this returns, the
    /// writer has everything that was known to be committed. Raft runs until `shutdown`.
    pub async fn open(
        config: Config,
        writer: Writer,
        transport: Arc<dyn Transport>,
        metrics: &Metrics,
    ) -> Result<Raft, OpenError> {
        Raft::open_on(Arc::new(RealDisk), config, writer, transport, metrics).await
    }

    /// The same on another disk than the machine's.
    pub async fn open_on(
        disk: Arc<dyn Disk>,
        config: Config,
        writer: Writer,
        transport: Arc<dyn Transport>,
        metrics: &Metrics,
    ) -> Result<Raft, OpenError> {
        Raft::prepare(disk, config).await?.run(writer, transport, metrics).await
    }

    /// Opens the files, and finds out whether they are what this server has promised to hold.
    pub async fn prepare(disk: Arc<dyn Disk>, config: Config) -> Result<Ready, OpenError> {
        let opening = config.clone();
        let opened = aside(move || open(&disk, &opening))
            .await
            .map_err(|error| OpenError::Raft(error.to_string()))??;
        Ok(Ready { config, opened })
    }

    /// A server that votes alone need not wait for a silence that only others could break.
    async fn lead_if_alone(&self) -> Result<(), OpenError> {
        let membership =
            self.inner.core.server_metrics().borrow_watched().membership_config.clone();
        let alone = membership.voter_ids().eq([self.inner.config.id.0]);
        if alone {
            let elected = self.inner.core.trigger().elect(false).await;
            elected.map_err(|error| OpenError::Raft(error.to_string()))?;
        }
        Ok(())
    }

    pub fn id(&self) -> NodeId {
        self.inner.config.id
    }

    /// Begins a log of which this server is the only member. One that has begun is left alone.
    /// Returns when this server leads.
    pub async fn found(&self) -> Result<(), MembershipError> {
        let id = self.inner.config.id.0;
        match self.inner.core.initialize(BTreeSet::from([id])).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(RaftError::APIError(error)) => {
                return Err(MembershipError::Refused(error.to_string()));
            }
            Err(RaftError::Fatal(fatal)) => {
                return Err(MembershipError::Stopped(fatal.to_string()));
            }
        }
        let mut status = self.status();
        let led = status.wait_for(|status| status.leader.is_some());
        match timeout(self.inner.config.proposal_timeout, led).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(MembershipError::NotLeader { leader: None }),
        }
    }

    /// Has a command logged and applied. When it returns, the outcome is visible in the replica.
    pub async fn propose(&self, command: Command) -> Result<(Outcome, Applied), ProposeError> {
        self.inner.proposer.propose(command).await
    }

    /// An index that covers everything acknowledged before the call, as a quorum has confirmed
    /// since the call that this server leads. Calls that come together share one round.
    pub async fn read_index(&self) -> Result<u64, ReadIndexError> {
        if self.is_unanswered(self.inner.config.election_max * 2) {
            return Err(ReadIndexError::NoQuorum);
        }
        let linearizer = self.inner.core.get_read_linearizer(ReadPolicy::ReadIndex);
        match timeout(self.inner.config.proposal_timeout, linearizer).await {
            Ok(Ok(linearizer)) => Ok(linearizer.read_log_id().index()),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                Err(ReadIndexError::NotLeader { leader: forward.leader_id.map(NodeId) })
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) | Err(_) => {
                let status = self.inner.status.borrow();
                match status.leader {
                    Some(leader) if leader == self.id() => Err(ReadIndexError::NoQuorum),
                    leader => Err(ReadIndexError::NotLeader { leader }),
                }
            }
            Ok(Err(RaftError::Fatal(fatal))) => Err(ReadIndexError::Stopped(fatal.to_string())),
        }
    }

    /// It leads, but no quorum has answered it for longer than that.
    fn is_unanswered(&self, within: Duration) -> bool {
        let status = self.inner.status.borrow();
        status.leads() && status.quorum_silence(Instant::now()) > within
    }

    /// Lets a server have the log without a vote. Returns when that is committed, not when the
    /// server has caught up: `Status::matched` tells.
    pub async fn add_learner(&self, id: NodeId) -> Result<(), MembershipError> {
        let nodes = BTreeMap::from([(id.0, EmptyNode::default())]);
        self.change(ChangeMembers::AddNodes(nodes), true).await
    }

    /// Makes these the voters; they must be members already. Others stay as learners.
    pub async fn change_voters(&self, voters: BTreeSet<NodeId>) -> Result<(), MembershipError> {
        let voters = voters.into_iter().map(|id| id.0).collect();
        self.change(ChangeMembers::ReplaceAllVoters(voters), true).await
    }

    /// Takes a server out of the log's members, voter or learner.
    pub async fn remove(&self, id: NodeId) -> Result<(), MembershipError> {
        let ids = BTreeSet::from([id.0]);
        let votes = self.status().borrow().voters.contains(&id);
        if votes {
            self.change(ChangeMembers::RemoveVoters(ids), false).await
        } else {
            self.change(ChangeMembers::RemoveNodes(ids), false).await
        }
    }

    async fn change(
        &self,
        change: ChangeMembers<u64, EmptyNode>,
        retain: bool,
    ) -> Result<(), MembershipError> {
        let changed = self.inner.core.change_membership(change, retain);
        match timeout(self.membership_timeout(), changed).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
                Err(MembershipError::NotLeader { leader: forward.leader_id.map(NodeId) })
            }
            Ok(Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)))) => {
                Err(MembershipError::Unknown("the leader changed meanwhile".to_owned()))
            }
            Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                ChangeMembershipError::InProgress(_),
            )))) => Err(MembershipError::Busy),
            Ok(Err(RaftError::APIError(error))) => Err(MembershipError::Refused(error.to_string())),
            Ok(Err(RaftError::Fatal(fatal))) => Err(MembershipError::Stopped(fatal.to_string())),
            Err(_) => Err(MembershipError::Unknown("no quorum took it in time".to_owned())),
        }
    }

    /// A change of voters is two entries, one after the other.
    fn membership_timeout(&self) -> Duration {
        self.inner.config.proposal_timeout * 2
    }

    /// Asks another voter to lead; `status` shows whether it does.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), MembershipError> {
        let asked = self.inner.core.trigger().transfer_leader(to.0).await;
        asked.map_err(|fatal| MembershipError::Stopped(fatal.to_string()))
    }

    /// Servers that this one has found to have lost what they acknowledged to it. They are given
    /// nothing more, and their votes do not count for this one.
    pub fn lost_servers(&self) -> Vec<NodeId> {
        self.inner.acknowledged.lost()
    }

    /// Returns once another server has found that this one has lost what it acknowledged.
    pub async fn until_lost(&self) {
        if self.inner.inbox.lost().wait_for(|lost| *lost).await.is_err() {
            std::future::pending().await
        }
    }

    /// Cluster time on this server now, if it leads; else the state's, which stands still.
    pub fn now(&self) -> Stamp {
        self.inner.proposer.now()
    }

    /// How this server stands, now and whenever it changes.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.inner.status.clone()
    }

    /// The entry that says who votes and who learns, whether committed or not.
    pub fn membership(&self) -> u64 {
        let metrics = self.inner.core.server_metrics();
        let entry = *metrics.borrow_watched().membership_config.log_id();
        entry.map_or(0, |entry| entry.index)
    }

    /// Why this server must not go on: the cluster is at a level that its release does not speak.
    pub fn outdated(&self) -> Option<String> {
        self.inner.ceiling.outdated()
    }

    /// Answers a message of another server. The future is to be polled once before the next
    /// message of the same server is looked at.
    pub fn handle(&self, body: &Bytes) -> impl Future<Output = Bytes> + Send + use<> {
        self.inner.inbox.handle(body)
    }

    /// Writes a snapshot of the present state, and lets go of the log before it but for a tail.
    pub async fn snapshot_now(&self) -> Result<(), String> {
        take_snapshot(&self.inner.core, self.inner.inbox.shelf()).await
    }

    /// Makes this server's state another than the log says.
    #[cfg(test)]
    pub async fn corrupt(&self, key: &'static [u8]) {
        let corrupted = self.inner.core.with_state_machine(move |machine| {
            machine.corrupt(key);
            Box::pin(std::future::ready(()))
        });
        corrupted.await.unwrap();
    }

    /// The disk has no room for the log's next segment: entries are refused once the present one
    /// is used up, until there is.
    pub fn is_full(&self) -> bool {
        self.inner.inbox.pressure().is_short()
    }

    /// The index of the oldest entry that is still in the log.
    pub fn first_entry(&self) -> u64 {
        self.inner.log.first()
    }

    /// Ends Raft on this server; what is queued for the disk is still written.
    pub async fn shutdown(&self) {
        if let Err(error) = self.inner.core.shutdown().await {
            tracing::warn!(%error, "raft did not end well");
        }
        let log = self.inner.log.clone();
        // It panics only where the log has reported a failure already.
        let _ = aside(move || log.close()).await;
    }
}

fn settings(config: &Config) -> Result<openraft::Config, OpenError> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let settings = openraft::Config {
        cluster_name: "remora".to_owned(),
        heartbeat_interval: ms(config.heartbeat),
        election_timeout_min: ms(config.election_min),
        election_timeout_max: ms(config.election_max),
        enable_pre_vote: Some(true),
        // A leader that is heard but hears nobody would keep the others from electing another:
        // once no quorum answers it, it is silent for long enough for an election.
        quorum_loss_probe_interval: Some(ms(config.election_max * 4)),
        // A leader whose disk lost what followers had could write another entry in its place, were
        // it to lead on in the same term.
        enable_leader_restore: Some(false),
        snapshot_policy: openraft::SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: config.sizes.keep_entries,
        max_append_entries: Some(limits::BATCH_COMMANDS as u64),
        ..openraft::Config::default()
    };
    settings.validate().map_err(|error| OpenError::Raft(error.to_string()))
}

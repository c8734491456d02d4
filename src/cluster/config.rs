//! What an agent is told about the cluster: who it is, where it is reached, whom to join.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::access::AclCommand;
use crate::identity::{JoinToken, Lifetimes};
use crate::model::{NodeName, Role, limits};
use crate::net::{Fabric, Tcp};
use crate::raft::{Disk, LogSizes, RealDisk};
use crate::state::{LEVEL, Settings};

use super::{ClusterError, OwnTokens, Wished};

/// What the agent shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RoleWish {
    /// A server while the cluster wants more of them and there is a data directory; else an edge.
    #[default]
    Auto,
    Server,
    Edge,
    /// An edge that passes the changes on to others.
    Relay,
}

#[derive(Debug, Clone)]
pub struct Config {
    pub name: NodeName,
    /// None: an edge, which keeps nothing on disk.
    pub data_dir: Option<PathBuf>,
    pub role: RoleWish,
    /// Where servers and relays listen for other agents.
    pub bind: SocketAddr,
    /// Where others are told to reach this agent; port 0: the port that was bound.
    pub advertise: SocketAddr,
    /// `host:port` of agents to join through, resolved anew at every try. Entries that turn out to
    /// be this agent do not count; without any other, it founds a cluster.
    pub join: Vec<String>,
    /// Found a cluster only together with so many servers, this one included, whoever of them it
    /// is. 1: alone, where `join` names nobody else.
    pub expect: u32,
    /// Lets it in as a new agent; one made offline also lets it found the cluster.
    pub token: Option<JoinToken>,
    /// What members show clients as this agent's URLs.
    pub client_urls: Vec<String>,
    /// Of the certificates that this agent issues.
    pub lifetimes: Lifetimes,
    /// Of a cluster that this agent founds.
    pub settings: Settings,
    /// The same: tokens count from its beginning.
    pub acl: Option<AclCommand>,
    /// The tokens that this agent has for itself and for who shows none.
    pub own: OwnTokens,
    /// What the config file names of them: operators are told where the cluster has it otherwise.
    pub wished: Wished,
    /// The level of `apply` that this agent speaks at most; tests have some speak another.
    pub level: u32,
    pub pace: Pace,
    pub sizes: LogSizes,
    pub seams: Seams,
}

/// The wall clock, which nothing but certificates looks at.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What lies beneath: the machine's own, or what a simulation has in its place.
#[derive(Clone)]
pub struct Seams {
    pub disk: Arc<dyn Disk>,
    pub clock: Clock,
    pub fabric: Arc<dyn Fabric>,
}

impl Default for Seams {
    fn default() -> Seams {
        Seams { disk: Arc::new(RealDisk), clock: Arc::new(SystemTime::now), fabric: Arc::new(Tcp) }
    }
}

impl fmt::Debug for Seams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seams").finish_non_exhaustive()
    }
}

/// How fast a server is at Raft.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub heartbeat: Duration,
    pub election_min: Duration,
    pub election_max: Duration,
    /// How long a learner has answered without a break before it may vote.
    pub steady: Duration,
    /// A voter that was silent for this long is replaced if there is a spare.
    pub replace_after: Duration,
    /// A server without a vote that was silent for this long is retired for good. Counted by the
    /// leader, anew after each change of the leader.
    pub retire_after: Duration,
    /// How often servers compare their states, if anything has changed.
    pub compare_after: Duration,
    /// They do so after this many entries of the log as well; 0: never because of them.
    pub compare_entries: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(350),
            election_max: Duration::from_millis(650),
            steady: Duration::from_secs(2),
            replace_after: Duration::from_secs(30),
            retire_after: Duration::from_secs(72 * 3600),
            compare_after: Duration::from_secs(60),
            compare_entries: 0,
        }
    }
}

impl Pace {
    /// How long a server without a quorum may take to say so.
    pub(super) fn patience(&self) -> Duration {
        self.election_max * 2 + Duration::from_secs(1)
    }
}

impl Config {
    /// A server alone on loopback; the rest as by default.
    pub fn new(name: NodeName, data_dir: Option<PathBuf>) -> Config {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Config {
            name,
            data_dir,
            role: RoleWish::Auto,
            bind: loopback,
            advertise: loopback,
            join: Vec::new(),
            expect: 1,
            token: None,
            client_urls: Vec::new(),
            lifetimes: Lifetimes::default(),
            settings: Settings::default(),
            acl: None,
            own: OwnTokens::default(),
            wished: Wished::default(),
            level: LEVEL,
            pace: Pace::default(),
            sizes: LogSizes::default(),
            seams: Seams::default(),
        }
    }

    pub(super) fn check(&self) -> Result<(), ClusterError> {
        if self.advertise.ip().is_unspecified() {
            let why = format!("{} is no address others can reach", self.advertise.ip());
            return Err(ClusterError::Config { key: "cluster.advertise", why });
        }
        if self.expect == 0 || self.expect as usize > limits::SERVERS {
            let why = format!("from 1 to {} servers are allowed", limits::SERVERS);
            return Err(ClusterError::Config { key: "cluster.expect", why });
        }
        if self.expect > 1 && self.join.is_empty() {
            let why = format!("{} servers are expected, but cluster.join names none", self.expect);
            return Err(ClusterError::Config { key: "cluster.expect", why });
        }
        if self.role == RoleWish::Server && self.data_dir.is_none() {
            let why = "role: server keeps a log and needs a data_dir".to_owned();
            return Err(ClusterError::Config { key: "data_dir", why });
        }
        if let (RoleWish::Server, Some(token)) = (self.role, &self.token)
            && token.role().follows()
        {
            let token = token.role().as_str();
            let why = format!("role: server needs a server's token, this one is for: {token}");
            return Err(ClusterError::Config { key: "cluster.token_file", why });
        }
        if let (RoleWish::Relay, Some(token)) = (self.role, &self.token)
            && token.role() != Role::Relay
        {
            let token = token.role().as_str();
            let why = format!("role: relay needs a relay's token, this one is for: {token}");
            return Err(ClusterError::Config { key: "cluster.token_file", why });
        }
        if self.join.is_empty() && !self.may_serve() {
            let why = "an agent without a data_dir, or an edge or a relay, needs one to follow";
            return Err(ClusterError::Config { key: "cluster.join", why: why.to_owned() });
        }
        Ok(())
    }

    /// Whether this agent may become a server.
    pub(super) fn may_serve(&self) -> bool {
        let allowed = self.token.as_ref().is_none_or(|token| !token.role().follows());
        let follows = matches!(self.role, RoleWish::Edge | RoleWish::Relay);
        !follows && self.data_dir.is_some() && allowed
    }

    /// What this agent is if it is no server: a relay if it is told so, or its token says so.
    pub(super) fn follows_as(&self) -> Role {
        let token = self.token.as_ref().map(JoinToken::role);
        match (self.role, token) {
            (RoleWish::Relay, _) | (RoleWish::Auto, Some(Role::Relay)) => Role::Relay,
            _ => Role::Edge,
        }
    }
}

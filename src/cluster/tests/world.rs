//! Agents to test with: started, stopped, brought back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::fabric::Wires;

use crate::cluster::{Cluster, Config, Pace, RoleWish, Seams, start};
use crate::identity::Offline;
use crate::lifecycle::Life;
use crate::model::NodeName;
use crate::state::{Command, KvCommand, Outcome, Settings};
use crate::telemetry::Metrics;

/// Far longer than anything should take.
pub(super) const SOON: Duration = Duration::from_secs(15);

/// A directory for the data of each agent, the tokens of their cluster, and where asked for a
/// network of its own.
pub(super) struct World {
    dir: TempDir,
    pub tokens: Offline,
    wires: Option<Wires>,
}

pub(super) struct Agent {
    pub cluster: Cluster,
    pub life: Life,
    pub config: Config,
    metrics: Metrics,
}

/// Waits until something holds.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

impl World {
    pub fn new() -> World {
        let (dir, tokens) = (TempDir::new().unwrap(), Offline::generate().unwrap());
        World { dir, tokens, wires: None }
    }

    /// Agents reach each other over wires that can be cut.
    pub fn wired() -> (World, Wires) {
        let wires = Wires::new();
        (World { wires: Some(wires.clone()), ..World::new() }, wires)
    }

    fn seams(&self, name: &str) -> Seams {
        self.wires.as_ref().map_or_else(Seams::default, |wires| wires.seams(name))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn server(&self, name: &str, join: &[SocketAddr]) -> Config {
        let mut config = Config::new(NodeName::new(name).unwrap(), Some(self.path(name)));
        config.role = RoleWish::Server;
        config.token = Some(self.tokens.server.clone());
        config.seams = self.seams(name);
        config.join = join.iter().map(SocketAddr::to_string).collect();
        config.settings = Settings { voters: 3, standbys: 1, ..Settings::default() };
        config.pace = Pace {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(500),
            election_max: Duration::from_millis(900),
            steady: Duration::from_millis(300),
            replace_after: Duration::from_secs(60),
            ..Pace::default()
        };
        config
    }

    pub fn edge(&self, name: &str, join: &[SocketAddr]) -> Config {
        let mut config = Config::new(NodeName::new(name).unwrap(), None);
        config.token = Some(self.tokens.edge.clone());
        config.join = join.iter().map(SocketAddr::to_string).collect();
        config.seams = self.seams(name);
        config
    }

    pub fn relay(&self, name: &str, join: &[SocketAddr]) -> Config {
        let token = Some(self.tokens.relay.clone());
        Config { role: RoleWish::Relay, token, ..self.edge(name, join) }
    }

    /// `count` servers that vote, the first of which founded.
    pub async fn servers(&self, count: usize) -> Vec<Agent> {
        let first = Agent::start(self.server("s1", &[])).await;
        let join = [first.addr()];
        let mut agents = vec![first];
        for n in 2..=count {
            agents.push(Agent::start(self.server(&format!("s{n}"), &join)).await);
        }
        until("all vote", || {
            agents.iter().all(|agent| agent.cluster.standing().voters.len() == count)
        })
        .await;
        agents
    }
}

impl Agent {
    pub async fn start(config: Config) -> Agent {
        let life = Life::default();
        let metrics = Metrics::default();
        let cluster = start(config.clone(), life.clone(), &metrics).await.unwrap();
        Agent { cluster, life, config, metrics }
    }

    /// The value of one of its metrics.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("remora_{name} ")));
        line.unwrap().trim().parse().unwrap()
    }

    pub fn name(&self) -> &str {
        self.cluster.name().as_str()
    }

    /// Where others reach it, once it is a member.
    pub fn addr(&self) -> SocketAddr {
        let id = self.cluster.standing().id;
        self.cluster.snapshot().member(id).unwrap().peer_addr
    }

    pub async fn synced(&self) {
        until("synced", || self.cluster.standing().synced).await;
    }

    /// Everything that it says about how it is.
    pub fn board(&self) -> String {
        self.life.board.entries().into_iter().map(|(_, entry)| entry.text + "\n").collect()
    }

    pub fn leads(&self) -> bool {
        let standing = self.cluster.standing();
        standing.leader == Some(standing.id) && standing.id.0 != 0
    }

    /// Stops in good order, and leaves everything on disk.
    pub async fn stop(self) -> Config {
        self.life.shutdown.begin();
        assert!(self.life.tasks.join(SOON).await, "all tasks end");
        self.config
    }

    pub async fn put(&self, key: &str, value: &str) -> Outcome {
        let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
        let command = KvCommand::Set { key, value, flags: 0, cas: None };
        self.cluster.propose(Command::Kv(command)).await.unwrap()
    }

    pub fn has(&self, key: &str) -> bool {
        self.cluster.snapshot().key(key.as_bytes()).is_some()
    }
}

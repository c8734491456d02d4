//! One host: a disk, and while it runs a runtime with an agent in it, on a clock of its own.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use remora::cluster::{self, Cluster, Config, RoleWish, Seams, Standing};
use remora::identity::{JoinToken, Offline};
use remora::lifecycle::{Life, chance};
use remora::model::{NodeName, Role};
use remora::raft::LogSizes;
use remora::state::Settings;
use remora::telemetry::Metrics;
use tokio::runtime::{Builder, RngSeed, Runtime};
use tokio::time::{Instant, advance, sleep};

use super::clock::{self, Now, Wall, now};
use super::disk::SimDisk;
use super::net::{Net, address};

/// Small, so that segments roll and snapshots travel within seconds.
const SIZES: LogSizes = LogSizes {
    segment_bytes: 64 * 1024,
    snapshot_bytes: 12 * 1024,
    keep_entries: 24,
    keep_bytes: 64 * 1024,
    snapshot_chunk: 1024,
};

pub struct Host {
    pub index: usize,
    pub role: Role,
    pub disk: SimDisk,
    pub wall: Wall,
    net: Net,
    token: JoinToken,
    running: Option<Running>,
    /// Its tasks stand still.
    pub paused: bool,
    /// What it had on its disk is gone.
    wiped: bool,
    installed_before: u64,
}

struct Running {
    runtime: Runtime,
    origin: Instant,
    began: Now,
    life: Life,
    metrics: Metrics,
    cluster: Arc<OnceLock<Result<Cluster, String>>>,
}

impl Host {
    pub fn new(index: usize, role: Role, net: &Net, tokens: &Offline) -> Host {
        let disk = SimDisk::new(chance::random());
        let net = net.clone();
        let token = if role == Role::Server { &tokens.server } else { &tokens.edge };
        let token = token.clone();
        Host {
            index,
            role,
            disk,
            wall: Wall::default(),
            net,
            token,
            running: None,
            paused: false,
            wiped: false,
            installed_before: 0,
        }
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub fn is_server(&self) -> bool {
        self.role == Role::Server
    }

    /// The first one founds, once; the others ask any.
    fn config(&self, hosts: usize) -> Config {
        let name = NodeName::new(&format!("h{}", self.index)).unwrap();
        let server = self.is_server();
        let mut config = Config::new(name, server.then(|| PathBuf::from("/data")));
        config.role = if server { RoleWish::Server } else { RoleWish::Edge };
        (config.bind, config.advertise) = (address(self.index), address(self.index));
        if self.index > 0 || self.wiped {
            let others = (0..hosts).filter(|host| *host != self.index);
            config.join = others.map(|host| address(host).to_string()).collect();
        }
        config.token = Some(self.token.clone());
        config.settings = Settings { voters: 3, standbys: 1, ..Settings::default() };
        config.sizes = SIZES;
        let wall = self.wall.clone();
        config.seams = Seams {
            disk: Arc::new(self.disk.clone()),
            clock: Arc::new(move || wall.read()),
            fabric: self.net.seen_from(self.index),
        };
        config
    }

    pub fn boot(&mut self, hosts: usize) {
        let seed = RngSeed::from_bytes(&chance::random::<u64>().to_le_bytes());
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).rng_seed(seed).build().unwrap();
        self.net.come_back(self.index);
        let began = now();
        let (life, metrics, cluster) = (Life::default(), Metrics::default(), Arc::default());
        let config = self.config(hosts);
        let origin = {
            let _inside = runtime.enter();
            Instant::now()
        };
        let slot: Arc<OnceLock<_>> = Arc::clone(&cluster);
        let (own, registry) = (life.clone(), metrics.clone());
        runtime.spawn(async move {
            let started = cluster::start(config, own, &registry).await;
            let _ = slot.set(started.map_err(|error| error.to_string()));
        });
        self.paused = false;
        self.running = Some(Running { runtime, origin, began, life, metrics, cluster });
    }

    /// Lets it run until `until`, the world's time; what a paused one missed comes as one jump.
    pub fn turn(&mut self, until: Now) {
        let Some(running) = &self.running else { return };
        if self.paused {
            return;
        }
        let Running { runtime, origin, began, .. } = running;
        let begun = *began;
        runtime.block_on(async {
            clock::set_host(*origin, begun);
            let behind = until.saturating_sub(now());
            if behind > super::run::TICK * 2 {
                advance(behind - super::run::TICK).await;
            }
            let rest = until.saturating_sub(now());
            if !rest.is_zero() {
                sleep(rest).await;
            }
        });
        clock::set_world(until);
    }

    /// The agent, once it has started; the error that kept it from it.
    pub fn agent(&self) -> Option<Result<&Cluster, &String>> {
        Some(self.running.as_ref()?.cluster.get()?.as_ref())
    }

    pub fn cluster(&self) -> Option<&Cluster> {
        self.agent()?.ok()
    }

    /// As the agent sees itself, by its own clock.
    pub fn standing(&self) -> Option<Standing> {
        let cluster = self.cluster()?;
        let _inside = self.running.as_ref()?.runtime.enter();
        Some(cluster.standing())
    }

    /// What the agent says is the matter with it.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.running.iter().flat_map(|running| running.life.board.entries());
        entries.map(|(subject, entry)| format!("{subject}: {}", entry.text)).collect()
    }

    /// Runs a client's call inside.
    pub fn spawn(&self, call: impl Future<Output = ()> + Send + 'static) {
        if let Some(running) = &self.running {
            drop(running.runtime.spawn(call));
        }
    }

    pub fn begin_stop(&self) {
        if let Some(running) = &self.running {
            running.life.shutdown.begin();
        }
    }

    /// It is on its way to its end, by itself or because it was told to; or it did not start.
    pub fn ends(&self) -> bool {
        let ends = self.running.as_ref().is_some_and(|running| running.life.shutdown.has_begun());
        ends || matches!(self.agent(), Some(Err(_)))
    }

    /// Nothing of it goes on. With `power` the disk forgets what was not synced, and the others
    /// are not told.
    pub fn crash(&mut self, power: bool) {
        self.installed_before = self.installed();
        if power {
            self.disk.lose_power();
        } else {
            self.disk.change_hands();
        }
        self.net.leave(self.index, power);
        if let Some(running) = self.running.take() {
            running.runtime.shutdown_background();
        }
        self.paused = false;
    }

    /// Does not run, and its disk is another one when it does.
    pub fn wipe(&mut self) {
        self.disk.wipe();
        self.wiped = true;
    }

    /// Snapshots taken over from a leader, over all its lives.
    pub fn installed(&self) -> u64 {
        let Some(running) = &self.running else { return self.installed_before };
        let text = running.metrics.encode();
        let line =
            text.lines().find_map(|l| l.strip_prefix("remora_raft_snapshots_installed_total "));
        self.installed_before + line.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0)
    }
}

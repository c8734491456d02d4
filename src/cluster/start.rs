//! Gives the agent its place: founds, joins or follows, and comes back after a restart.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::identity::{Admitted, DataDir, Identity};
use crate::lifecycle::{Backoff, Level, Life, Shutdown};
use crate::model::{NodeId, Role};
use crate::net::peer::{Guard, Links, serve};
use crate::raft::{self, Raft};
use crate::replica::{self, Replica, Writer};
use crate::state::{Admission, Command, Founding, Outcome, Part, State};
use crate::telemetry::{Gauge, Metrics};

use super::asks::Introduction;
use super::carrier::Carrier;
use super::config::{Config, RoleWish};
use super::desk::{Desk, services};
use super::edge::Edge;
use super::entrance::{Rejection, ask_in, look};
use super::follow::Follower;
use super::founding::{Decision, decide};
use super::patience;
use super::roster::Roster;
use super::server::{Parts, Server};
use super::service::ServerDuties;
use super::{Cluster, ClusterError, Door, SUBJECT, Threshold};

/// Takes the agent's place in its cluster. Returns at once where others have to be asked first:
/// until they have answered, the handle says that it has not synced.
pub async fn start(config: Config, life: Life, metrics: &Metrics) -> Result<Cluster, ClusterError> {
    config.check()?;
    warn_if_exposed(&config, &life, metrics);
    let identity = match &config.data_dir {
        Some(dir) if config.may_serve() => {
            DataDir::new(config.seams.disk.clone(), dir.clone()).load_identity(&config.name)?
        }
        _ => None,
    };
    let (writer, replica) = replica::new(Part::Server);
    let closing = Shutdown::default();
    let threshold = Arc::new(Threshold::new(&config, metrics));
    let cluster = Cluster {
        name: config.name.clone(),
        replica: replica.clone(),
        threshold: threshold.clone(),
    };
    let guard = Guard::none();
    let advertise = config.advertise;
    let mut arrival = Arrival {
        links: Links::new(&life.tasks, &closing, config.seams.fabric.clone(), &guard),
        guard,
        desk: Arc::new(Desk {
            introduction: Introduction {
                run: rand::random(),
                cluster: 0,
                id: NodeId(0),
                addr: advertise,
                wants_servers: false,
                others: Vec::new(),
            },
            server: OnceLock::new(),
        }),
        config,
        life,
        metrics: metrics.clone(),
        replica,
        threshold,
        listening: closing.child(),
        closing,
    };
    if arrival.config.may_serve() {
        arrival.listen()?;
    }
    arrival.take_place(identity, writer).await?;
    Ok(cluster)
}

fn warn_if_exposed(config: &Config, life: &Life, metrics: &Metrics) {
    let gauge: Gauge = metrics.register(
        "cluster_insecure",
        "1 while agents may talk beyond loopback without TLS",
        Gauge::default(),
    );
    if config.is_exposed() {
        gauge.set(1);
        let text = "cluster.insecure: agents talk to each other without TLS beyond loopback";
        tracing::warn!(bind = %config.bind, advertise = %config.advertise, "{text}");
        life.board.set("cluster/insecure", Level::Warning, text);
    }
}

/// The id that a cluster's founder has.
const FOUNDER: NodeId = NodeId(1);

/// An agent on its way to its place.
struct Arrival {
    config: Config,
    life: Life,
    metrics: Metrics,
    guard: Guard,
    links: Links,
    desk: Arc<Desk>,
    replica: Replica,
    threshold: Arc<Threshold>,
    /// Begins when the server's Raft has ended: its connections are needed until then.
    closing: Shutdown,
    /// Ends what listens for other agents alone: an edge has nothing to offer them.
    listening: Shutdown,
}

impl Arrival {
    fn listen(&mut self) -> Result<(), ClusterError> {
        let listener = self.config.seams.fabric.listen("cluster.bind", self.config.bind)?;
        if self.config.advertise.port() == 0 {
            let bound = listener.local_addr().map_err(|source| ClusterError::File {
                path: PathBuf::from("cluster.bind"),
                source,
            })?;
            self.config.advertise.set_port(bound.port());
        }
        let mut introduction = self.desk.introduction.clone();
        introduction.addr = self.config.advertise;
        self.desk = Arc::new(Desk { introduction, server: OnceLock::new() });
        let followers = self.metrics.register(
            "cluster_followers",
            "Agents that follow this server's changes",
            Gauge::default(),
        );
        let services = services(&self.desk, &self.replica, followers);
        serve(listener, &self.guard, services, &self.life.tasks, &self.listening);
        Ok(())
    }

    /// What can fail for good, fails here; what depends on others goes on in the background.
    async fn take_place(
        self,
        identity: Option<Identity>,
        writer: Writer,
    ) -> Result<(), ClusterError> {
        match (self.own_dir(), identity) {
            (Some(dir), Some(Identity { admitted: Some(admitted), .. })) => {
                self.serve(&dir, admitted, writer).await
            }
            (Some(dir), identity) if self.config.join.is_empty() => {
                let admitted = self.found(&dir, identity)?;
                self.serve(&dir, admitted, writer).await
            }
            (_, identity) => {
                self.spawn(writer, identity);
                Ok(())
            }
        }
    }

    /// Where this agent keeps its log, if it may become a server.
    fn own_dir(&self) -> Option<PathBuf> {
        self.config.data_dir.clone().filter(|_| self.config.may_serve())
    }

    fn data_dir(&self, dir: &Path) -> DataDir {
        DataDir::new(self.config.seams.disk.clone(), dir.to_owned())
    }

    fn spawn(self, writer: Writer, identity: Option<Identity>) {
        let (tasks, life, closing) =
            (self.life.tasks.clone(), self.life.clone(), self.closing.clone());
        tasks.spawn("cluster arrival", async move {
            match life.shutdown.or(self.arrive(identity, writer)).await {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::error!(%error, "no place in the cluster: the agent stops");
                    life.board.set(SUBJECT, Level::Failed, error.to_string());
                    life.shutdown.begin();
                    closing.begin();
                }
                None => closing.begin(),
            }
        });
    }

    async fn arrive(
        self,
        mut identity: Option<Identity>,
        writer: Writer,
    ) -> Result<(), ClusterError> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            let met = look(&self.links, &self.config.join, &self.desk.introduction).await;
            let why = match (decide(met), self.own_dir()) {
                (Decision::Found, Some(dir)) => {
                    let admitted = self.found(&dir, identity)?;
                    return self.serve(&dir, admitted, writer).await;
                }
                (Decision::Found, None) => "cluster.join names no other agent".to_owned(),
                (Decision::Join(addr, member), Some(dir)) if self.serves(&identity, &member) => {
                    match self.join(&dir, &mut identity, addr).await? {
                        Ok(admitted) => return self.serve(&dir, admitted, writer).await,
                        Err(why) => why,
                    }
                }
                (Decision::Join(addr, _), _) => {
                    let admission = self.admission(Role::Edge, self.desk.introduction.run);
                    match ask_in(&self.links, addr, &admission).await {
                        Ok(admitted) => {
                            self.follow(admitted.node, admission, writer);
                            return Ok(());
                        }
                        Err(Rejection::NotYet(why) | Rejection::Refused(why)) => why,
                    }
                }
                (Decision::Wait(why), _) => why,
            };
            self.life.board.set(SUBJECT, Level::Warning, format!("waiting to join: {why}"));
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    /// Whether this agent is to be a server of the cluster that `member` belongs to.
    fn serves(&self, identity: &Option<Identity>, member: &Introduction) -> bool {
        self.config.role == RoleWish::Server || identity.is_some() || member.wants_servers
    }

    fn admission(&self, role: Role, nonce: u128) -> Admission {
        Admission {
            name: self.config.name.clone(),
            nonce,
            role,
            peer_addr: self.config.advertise,
            client_urls: self.config.client_urls.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            level: self.config.level,
        }
    }

    /// The identity of a cluster that this agent founds, durable before its log opens.
    fn found(&self, dir: &Path, identity: Option<Identity>) -> Result<Admitted, ClusterError> {
        let mut identity = match identity {
            Some(identity) => identity,
            None => Identity::new(self.config.name.clone(), rand::random()),
        };
        let admitted = Admitted { cluster: rand::random(), node: FOUNDER, founder: true };
        identity.admitted = Some(admitted);
        self.data_dir(dir).store_identity(&identity)?;
        Ok(admitted)
    }

    /// Asks to be let in as a server. The nonce is durable before it asks, the answer before the
    /// log opens.
    async fn join(
        &self,
        dir: &Path,
        identity: &mut Option<Identity>,
        addr: SocketAddr,
    ) -> Result<Result<Admitted, String>, ClusterError> {
        let mut known = match identity.take() {
            Some(identity) => identity,
            None => {
                let drawn = Identity::new(self.config.name.clone(), rand::random());
                self.data_dir(dir).store_identity(&drawn)?;
                drawn
            }
        };
        let asked = ask_in(&self.links, addr, &self.admission(Role::Server, known.nonce)).await;
        let answer = match asked {
            Ok(admitted) => {
                known.admitted = Some(admitted);
                self.data_dir(dir).store_identity(&known)?;
                Ok(admitted)
            }
            Err(Rejection::NotYet(why) | Rejection::Refused(why)) => Err(why),
        };
        *identity = Some(known);
        Ok(answer)
    }

    /// Takes part with what is in the log.
    async fn serve(self, dir: &Path, me: Admitted, writer: Writer) -> Result<(), ClusterError> {
        let roster = Arc::new(Roster::new(self.replica.clone()));
        let carrier = Carrier {
            cluster: me.cluster,
            me: me.node,
            roster: roster.clone(),
            links: self.links.clone(),
        };
        let pace = self.config.pace;
        let mut raft_config = raft::Config::new(me.node, dir);
        raft_config.heartbeat = pace.heartbeat;
        raft_config.election_min = pace.election_min;
        raft_config.election_max = pace.election_max;
        let disk = self.config.seams.disk.clone();
        let carrier = Arc::new(carrier);
        let raft = Raft::open_on(disk, raft_config, writer, carrier, &self.metrics).await?;
        let parts = Parts {
            me,
            raft,
            replica: self.replica.clone(),
            roster,
            links: self.links.clone(),
            introduction: self.desk.introduction.clone(),
            insecure: self.config.is_exposed(),
        };
        let server = Server::start(parts, &self.life);
        if self.desk.server.set(server.clone()).is_err() {
            return Err(ClusterError::Founding("the place is taken twice".to_owned()));
        }
        if me.founder && !self.replica.snapshot().is_founded() {
            self.begin_cluster(&server).await?;
        }
        self.threshold.open(Door::Server(server.clone()));
        self.life.board.clear(SUBJECT);
        let own = self.admission(Role::Server, 0);
        let duties = ServerDuties { server, own, join: self.config.join, life: self.life };
        duties.spawn(pace.replace_after, self.closing);
        Ok(())
    }

    async fn begin_cluster(&self, server: &Server) -> Result<(), ClusterError> {
        let failed = |why: String| ClusterError::Founding(why);
        server.raft.found().await.map_err(|error| failed(error.to_string()))?;
        let founding = Founding {
            cluster: server.me.cluster,
            lineage: rand::random(),
            settings: self.config.settings.clone(),
            founder: self.admission(Role::Server, rand::random()),
        };
        match patience::propose(server, &Command::Found(founding)).await {
            Ok((Outcome::Refused(refusal), _)) => Err(failed(refusal.to_string())),
            Ok(_) => {
                // Who started this agent finds it ready.
                let _ = server.raft.status().wait_for(|status| status.synced).await;
                Ok(())
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Takes part without a log.
    fn follow(self, id: NodeId, admission: Admission, mut writer: Writer) {
        // What was begun as a server's state holds nothing yet; an edge's keeps no history.
        writer.install(State::new(Part::Shared));
        self.listening.begin();
        let follower =
            Follower::new(self.life.clone(), self.config.join, self.links.clone(), writer);
        let edge = Edge::start(
            id,
            self.replica,
            self.links,
            follower.upstream(),
            self.config.insecure,
            &self.life,
        );
        self.threshold.open(Door::Edge(edge.clone()));
        self.life.board.clear(SUBJECT);
        let Life { tasks, shutdown, .. } = self.life.clone();
        tasks.spawn("follower", follower.run());
        let (life, closing) = (self.life, self.closing);
        tasks.spawn("edge admission", async move {
            shutdown.or(edge.stay_admitted(admission, life)).await;
            closing.begin();
        });
    }
}

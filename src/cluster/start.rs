//! Gives the agent its place: founds, joins or follows, and comes back after a restart.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::identity::Admitted;
use crate::lifecycle::{Backoff, Level, Life, Shutdown, chance};
use crate::model::{NodeId, Role};
use crate::net::peer::{Guard, Links, serve};
use crate::raft;
use crate::replica::{self, Replica, Writer};
use crate::state::{Admission, Command, Founding, Outcome, Part, State};
use crate::telemetry::{Counter, Gauge, Metrics};

use super::acquaintance::Greeter;
use super::asks::Introduction;
use super::badge::Badge;
use super::carrier::Carrier;
use super::config::{Config, RoleWish};
use super::desk::{Desk, Place, services};
use super::edge::Edge;
use super::entrance::{Rejection, look};
use super::follow::{Follower, Me};
use super::founding::{Candidate, Decision, Met, decide};
use super::joining::ask_in;
use super::ledger::Ledger;
use super::logins::Logins;
use super::papers::Papers;
use super::patience;
use super::readmission::Readmission;
use super::relay::Relay;
use super::renewal::Renewal;
use super::roster::Roster;
use super::server::{Parts, Server};
use super::service::ServerDuties;
use super::steady::Steady;
use super::survey::Surveys;
use super::{Cluster, ClusterError, Door, SUBJECT, Threshold};

/// Takes the agent's place in its cluster. Returns at once where others have to be asked first:
/// until they have answered, the handle says that it has not synced.
pub async fn start(config: Config, life: Life, metrics: &Metrics) -> Result<Cluster, ClusterError> {
    config.check()?;
    let papers = Papers::load(&config)?;
    let (writer, replica) = replica::new(Part::Server);
    let closing = Shutdown::default();
    let threshold = Arc::new(Threshold::new(&config, metrics));
    let badge = Badge::load(&config, replica.clone())?;
    let guard = Guard::new(badge.clone());
    let links = Links::new(&life.tasks, &closing, config.seams.fabric.clone(), &guard);
    let logins = Arc::new(Logins::new(Some(badge.clone())));
    let surveys = Surveys::default();
    let cluster = Cluster {
        name: config.name.clone(),
        replica: replica.clone(),
        threshold: threshold.clone(),
        badge: Some(badge.clone()),
        logins: logins.clone(),
        surveys: surveys.clone(),
        own: config.own.clone(),
        steady: Arc::new(Steady::new(SystemTime::now())),
    };
    let (steady, watched, shutdown) =
        (cluster.steady.clone(), replica.clone(), life.shutdown.clone());
    life.tasks.spawn("how servers are", async move {
        shutdown.or(steady.watch(&watched)).await;
    });
    let renewal = Renewal {
        badge: badge.clone(),
        guard: guard.clone(),
        links: links.clone(),
        replica: replica.clone(),
        life: life.clone(),
    };
    let advertise = config.advertise;
    let introduction = Introduction {
        run: chance::random(),
        cluster: 0,
        id: NodeId(0),
        addr: advertise,
        wants_servers: false,
        others: Vec::new(),
        candidate: None,
    };
    let mut arrival = Arrival {
        links,
        guard,
        badge,
        desk: Arc::new(Desk::new(introduction, surveys)),
        config,
        life,
        metrics: metrics.clone(),
        replica,
        threshold,
        logins,
        listening: closing.child(),
        closing,
    };
    let greeter = Greeter { links: arrival.links.clone(), desk: arrival.desk.clone() };
    arrival.threshold.greet_by(greeter);
    if arrival.config.may_serve() || arrival.config.follows_as() == Role::Relay {
        arrival.listen()?;
    }
    arrival.take_place(papers, writer).await?;
    renewal.spawn(metrics);
    Ok(cluster)
}

/// An agent on its way to its place.
struct Arrival {
    config: Config,
    life: Life,
    metrics: Metrics,
    guard: Guard,
    badge: Arc<Badge>,
    links: Links,
    desk: Arc<Desk>,
    replica: Replica,
    threshold: Arc<Threshold>,
    logins: Arc<Logins>,
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
        self.desk.introduce(|introduction| introduction.addr = self.config.advertise);
        let followers = self.metrics.register(
            "cluster_followers",
            "Agents that follow this agent's changes",
            Gauge::default(),
        );
        let services = services(&self.desk, &self.badge, &self.replica, followers);
        serve(listener, &self.guard, services, &self.life.tasks, &self.listening);
        Ok(())
    }

    /// What can fail for good, fails here; what depends on others goes on in the background.
    async fn take_place(self, papers: Option<Papers>, writer: Writer) -> Result<(), ClusterError> {
        let Some(mut papers) = papers else {
            self.spawn(writer, None);
            return Ok(());
        };
        let alone = self.config.join.is_empty() && papers.loss().is_none();
        let me = match papers.admitted() {
            Some(me) => me,
            None if alone => papers.found(self.badge.found()?)?,
            None => {
                self.spawn(writer, Some(papers));
                return Ok(());
            }
        };
        match self.open_log(&papers, me).await {
            Ok((ledger, ready)) => self.serve(me, ledger, ready, writer).await,
            Err(ClusterError::Log(error)) if error.is_loss() => {
                tracing::error!(%error, "this server joins again as a new one");
                papers.forget()?;
                self.badge.forget();
                self.spawn(writer, Some(papers));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn spawn(self, writer: Writer, papers: Option<Papers>) {
        let (tasks, life, closing) =
            (self.life.tasks.clone(), self.life.clone(), self.closing.clone());
        tasks.spawn("cluster arrival", async move {
            match life.shutdown.or(self.arrive(papers, writer)).await {
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

    async fn arrive(self, mut papers: Option<Papers>, writer: Writer) -> Result<(), ClusterError> {
        if let Some(me) = self.badge.me().filter(|me| me.role == self.config.follows_as()) {
            let admission = self.follower()?;
            self.follow(me.id, admission, writer);
            return Ok(());
        }
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            let (me, met) = self.look(&mut papers).await?;
            let why = match (decide(me.as_ref(), met), &mut papers) {
                (Decision::Found, Some(papers)) => {
                    let me = papers.found(self.badge.found()?)?;
                    let (ledger, ready) = self.open_log(papers, me).await?;
                    return self.serve(me, ledger, ready, writer).await;
                }
                (Decision::Promise(promise), Some(papers)) => {
                    papers.promise(promise)?;
                    backoff.reset();
                    continue;
                }
                (Decision::Found | Decision::Promise(_), None) => {
                    "cluster.join names no other agent".to_owned()
                }
                (Decision::Join(addr, member), Some(papers)) if self.serves(papers, &member) => {
                    match self.join(papers, addr, &member).await? {
                        Ok(me) => {
                            let (ledger, ready) = self.open_log(papers, me).await?;
                            return self.serve(me, ledger, ready, writer).await;
                        }
                        Err(why) => why,
                    }
                }
                (Decision::Join(addr, member), _) => {
                    let admission = self.follower()?;
                    match self.ask_in(addr, &member, &admission).await {
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

    /// Who this agent is as a candidate, which from now on it says, and whom it meets.
    async fn look(
        &self,
        papers: &mut Option<Papers>,
    ) -> Result<(Option<Candidate>, Vec<Met>), ClusterError> {
        let mut names = self.config.join.clone();
        let (mut me, mut loss) = (None, None);
        if let Some(papers) = papers {
            me = papers.candidate(self.config.expect)?;
            names.extend(papers.peers());
            loss = papers.loss();
        }
        self.desk.introduce(|introduction| introduction.candidate = me.clone());
        let mut met = look(&self.links, &names, &self.desk.introduction()).await;
        met.extend(loss.map(Met::Nobody));
        Ok((me, met))
    }

    /// Whether this agent is to be a server of the cluster that `member` belongs to.
    fn serves(&self, papers: &Papers, member: &Introduction) -> bool {
        let wanted = papers.are_known() || member.wants_servers;
        self.config.role == RoleWish::Server || self.badge.lets_serve() && wanted
    }

    /// This agent as one that follows.
    fn follower(&self) -> Result<Admission, ClusterError> {
        let nonce = self.badge.follower_nonce(self.desk.introduction().run)?;
        Ok(self.admission(self.config.follows_as(), nonce))
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
            token: None,
        }
    }

    /// Asks to be let in as a server. The nonce is durable before it asks, the answer before the
    /// log opens.
    async fn join(
        &self,
        papers: &mut Papers,
        addr: SocketAddr,
        member: &Introduction,
    ) -> Result<Result<Admitted, String>, ClusterError> {
        let admission = self.admission(Role::Server, papers.nonce()?);
        match self.ask_in(addr, member, &admission).await {
            Ok(admitted) => {
                papers.admit(admitted)?;
                Ok(Ok(admitted))
            }
            Err(Rejection::NotYet(why) | Rejection::Refused(why)) => Ok(Err(why)),
        }
    }

    /// Asks `member` at `addr`, and the servers that it knows if that one lets nobody in.
    async fn ask_in(
        &self,
        addr: SocketAddr,
        member: &Introduction,
        admission: &Admission,
    ) -> Result<Admitted, Rejection> {
        let mut asked = ask_in(&self.badge, &self.links, addr, admission).await;
        for (_, addr) in &member.others {
            if !matches!(asked, Err(Rejection::NotYet(_))) {
                break;
            }
            asked = ask_in(&self.badge, &self.links, *addr, admission).await;
        }
        asked
    }

    async fn open_log(
        &self,
        papers: &Papers,
        me: Admitted,
    ) -> Result<(Ledger, raft::Ready), ClusterError> {
        let (pace, sizes, level) = (self.config.pace, self.config.sizes, self.config.level);
        let shape = |config: &mut raft::Config| {
            config.heartbeat = pace.heartbeat;
            config.sizes = sizes;
            config.election_min = pace.election_min;
            config.election_max = pace.election_max;
            config.proposal_timeout = pace.patience();
            config.level = level;
        };
        papers.open(me, shape).await
    }

    /// Takes part with what is in the log.
    async fn serve(
        self,
        me: Admitted,
        ledger: Ledger,
        ready: raft::Ready,
        writer: Writer,
    ) -> Result<(), ClusterError> {
        let roster = Arc::new(Roster::new(self.replica.clone()));
        let carrier = Carrier {
            cluster: me.cluster,
            me: me.node,
            roster: roster.clone(),
            links: self.links.clone(),
        };
        let raft = ready.run(writer, Arc::new(carrier), &self.metrics).await?;
        let parts = Parts {
            me,
            raft,
            replica: self.replica.clone(),
            roster,
            links: self.links.clone(),
            introduction: self.desk.introduction(),
            logins: self.logins.clone(),
            metrics: self.metrics.clone(),
        };
        let server = Server::start(parts, &self.life);
        if self.desk.place.set(Place::Server(server.clone())).is_err() {
            return Err(ClusterError::Founding("the place is taken twice".to_owned()));
        }
        if me.founder && !self.replica.snapshot().is_founded() {
            self.begin_cluster(&server).await?;
        }
        self.threshold.open(Door::Server(server.clone()));
        self.life.board.clear(SUBJECT);
        let own = self.admission(Role::Server, 0);
        let (join, wished, pace) = (self.config.join, self.config.wished, self.config.pace);
        let odd = self.metrics.register(
            "cluster_replicas_differ",
            "1 while the servers' states are known to differ",
            Gauge::default(),
        );
        let duties = ServerDuties { server, own, join, wished, pace, ledger, odd, life: self.life };
        duties.spawn(self.closing);
        Ok(())
    }

    async fn begin_cluster(&self, server: &Server) -> Result<(), ClusterError> {
        let failed = |why: String| ClusterError::Founding(why);
        server.raft.found().await.map_err(|error| failed(error.to_string()))?;
        let founding = Founding {
            cluster: server.me.cluster,
            lineage: chance::random(),
            settings: self.config.settings.clone(),
            founder: self.admission(Role::Server, chance::random()),
            trust: self.badge.founding_trust()?,
            acl: self.config.acl.clone().map(Box::new),
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
        let me = Arc::new(Me::new(id, admission.role, admission.level));
        let relays = me.role == Role::Relay;
        if !relays {
            writer.keep_no_tail();
            self.listening.begin();
        }
        let (life, links) = (self.life.clone(), self.links.clone());
        let differed = self.metrics.register(
            "cluster_edge_differed",
            "Times this agent's state differed from the servers' and was taken anew",
            Counter::default(),
        );
        let join = self.config.join.clone();
        let follower = Follower::new(life, join, me.clone(), links, writer, differed);
        let edge = Edge::start(
            me,
            self.replica.clone(),
            self.links.clone(),
            follower.upstream(),
            &self.life,
        );
        if relays {
            let (edge, replica) = (edge.clone(), self.replica.clone());
            let introduction = self.desk.introduction();
            // It is set once.
            let _ =
                self.desk.place.set(Place::Relay(Arc::new(Relay { edge, replica, introduction })));
        }
        self.threshold.open(Door::Edge(edge.clone()));
        self.life.board.clear(SUBJECT);
        let Life { tasks, shutdown, .. } = self.life.clone();
        tasks.spawn("follower", follower.run());
        let readmission = Readmission {
            edge: edge.clone(),
            badge: self.badge.clone(),
            links: self.links,
            replica: self.replica,
            join: self.config.join,
            admission: admission.clone(),
            board: self.life.board.clone(),
        };
        let stop = shutdown.clone();
        tasks.spawn("edge readmission", async move {
            stop.or(readmission.run()).await;
        });
        let (life, closing, badge) = (self.life, self.closing, self.badge);
        tasks.spawn("edge admission", async move {
            shutdown.or(edge.stay_admitted(&badge, admission, life)).await;
            closing.begin();
        });
    }
}

//! Who is let in and who is not, who is thrown out, and that certificates renew unnoticed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::world::{Agent, SOON, World, until};
use crate::cluster::asks::{Ask, Petition, Reply, decode, encode};
use crate::cluster::{Clock, RoleWish, start};
use crate::identity::{JoinToken, Key, Lifetimes, Offline, prove};
use crate::lifecycle::{Life, Shutdown, Tasks};
use crate::model::{NodeId, Role};
use crate::net::Tcp;
use crate::net::peer::{Credentials, Guard, Judged, Links, Peer, Purpose, Shown};
use crate::state::{Admission, Command, Outcome, TokenDef, TokenPut};
use crate::telemetry::Metrics;

/// A token that the cluster of `agent` makes, and knows.
async fn make_token(agent: &Agent, role: Role, ttl: Option<u64>, uses: Option<u64>) -> JoinToken {
    let root = agent.cluster.snapshot().identity().root.expect("a cluster with certificates");
    let token = JoinToken::generate(role, root).unwrap();
    let public = Bytes::copy_from_slice(token.key().unwrap().public());
    let def = TokenDef { id: token.id(), role, public };
    let ttl = ttl.map(Duration::from_secs);
    let put = Command::TokenPut(TokenPut { def, ttl, uses });
    assert_eq!(agent.cluster.propose(put).await.unwrap(), Outcome::Done);
    token
}

async fn denied(agent: &Agent, why: &str) {
    until(why, || agent.board().contains(why)).await;
    assert!(!agent.cluster.standing().synced);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_let_in_whom_they_are_for_and_nobody_else() {
    let world = World::new();
    let server = Agent::start(world.server("s1", &[])).await;
    let join = [server.addr()];
    // Another cluster's token: the joiner finds out before it says anything.
    let mut config = world.edge("stranger", &join);
    config.token = Some(Offline::generate().unwrap().edge);
    let stranger = Agent::start(config).await;
    denied(&stranger, "do not lead up to the authority").await;
    // One with the right digest that the cluster does not know.
    let root = server.cluster.snapshot().identity().root.unwrap();
    let mut config = world.edge("guesser", &join);
    config.token = Some(JoinToken::generate(Role::Edge, root).unwrap());
    let guesser = Agent::start(config).await;
    denied(&guesser, "wrong token").await;
    let mut config = world.server("climber", &join);
    config.token = Some(world.tokens.edge.clone());
    let climber = start(config, Life::default(), &Metrics::default()).await;
    let why = climber.err().expect("it is not even tried").to_string();
    assert!(why.contains("cluster.token_file") && why.contains("edge"), "{why}");

    let once = make_token(&server, Role::Edge, None, Some(1)).await;
    let mut config = world.edge("once", &join);
    config.token = Some(once.clone());
    let first = Agent::start(config.clone()).await;
    first.synced().await;
    config.name = crate::model::NodeName::new("twice").unwrap();
    let second = Agent::start(config.clone()).await;
    denied(&second, "used up").await;
    // A known name may come back, without a disk and under a new nonce.
    config = first.stop().await;
    let back = Agent::start(config).await;
    back.synced().await;
    let short = make_token(&server, Role::Edge, Some(0), None).await;
    let mut config = world.edge("late", &join);
    config.token = Some(short);
    let late = Agent::start(config).await;
    denied(&late, "expired").await;
    // A relay's certificate says so, and with a server's token an agent may also be an edge.
    let mut config = world.edge("modest", &join);
    config.token = Some(world.tokens.server.clone());
    config.role = RoleWish::Edge;
    let modest = Agent::start(config).await;
    modest.synced().await;
    for agent in [stranger, guesser, second, back, late, modest, server] {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_retired_is_cut_off_within_a_second_and_stays_out_without_a_token() {
    let world = World::new();
    let server = Agent::start(world.server("s1", &[])).await;
    let edge = Agent::start(world.edge("e1", &[server.addr()])).await;
    edge.synced().await;
    let id = edge.cluster.standing().id;
    let founding = world.tokens.server.id();
    let retired = server.cluster.propose(Command::TokenRetire(founding)).await.unwrap();
    assert_eq!(retired, Outcome::Done);
    assert!(server.cluster.propose(Command::Retire(id)).await.unwrap() == Outcome::Done);
    let begun = Instant::now();
    until("it is cut off", || edge.cluster.standing().upstream.is_none()).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    until("its token is gone", || edge.board().contains("not let in again")).await;
    // Who knows the founding key alone does not know this cluster any more.
    let late = Agent::start(world.edge("e2", &[server.addr()])).await;
    denied(&late, "do not lead up to the authority").await;
    // With a token that counts, it comes back, as another member.
    let mut config = edge.stop().await;
    config.token = Some(make_token(&server, Role::Edge, None, None).await);
    let edge = Agent::start(config).await;
    edge.synced().await;
    assert!(edge.cluster.standing().id > id);
    for agent in [late, edge, server] {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_was_forgotten_comes_back_by_itself() {
    let world = World::new();
    let server = Agent::start(world.server("s1", &[])).await;
    let edge = Agent::start(world.edge("e1", &[server.addr()])).await;
    edge.synced().await;
    let id = edge.cluster.standing().id;
    server.cluster.propose(Command::Retire(id)).await.unwrap();
    until("it is back", || {
        let standing = edge.cluster.standing();
        standing.id > id && standing.upstream.is_some()
    })
    .await;
    assert_eq!(edge.put("k", "v").await, Outcome::Kv(true));
    edge.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_keeps_its_name_while_it_answers_and_loses_it_when_it_is_gone() {
    let world = World::new();
    let mut servers = world.servers(3).await;
    let name = servers[2].cluster.name().clone();
    let mut config = world.server("other-disk", &[servers[0].addr()]);
    config.name = name.clone();
    let usurper = Agent::start(config).await;
    denied(&usurper, "name taken").await;
    let old = servers.pop().unwrap();
    let id = old.cluster.standing().id;
    old.stop().await;
    usurper.synced().await;
    let new = usurper.cluster.standing().id;
    assert!(new > id);
    until("the old one is no member", || servers[0].cluster.snapshot().member(id).is_none()).await;
    until("it votes", || servers[0].cluster.standing().voters.contains(&new)).await;
    servers.push(usurper);
    for server in servers {
        server.stop().await;
    }
}

/// A clock that a test can move.
fn clock() -> (Arc<AtomicU64>, Clock) {
    let ahead = Arc::new(AtomicU64::new(0));
    let seconds = ahead.clone();
    let clock: Clock =
        Arc::new(move || SystemTime::now() + Duration::from_secs(seconds.load(Ordering::Relaxed)));
    (ahead, clock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_off_for_a_month_finds_itself() {
    let world = World::new();
    let (ahead, clock) = clock();
    let mut agents: Vec<Agent> = Vec::new();
    let mut join = Vec::new();
    for name in ["s1", "s2", "s3"] {
        let mut config = world.server(name, &join);
        config.seams.clock = clock.clone();
        agents.push(Agent::start(config).await);
        agents.last().unwrap().synced().await;
        join = vec![agents[0].addr()];
    }
    let mut config = world.edge("e1", &join);
    config.data_dir = Some(world.path("e1"));
    config.role = RoleWish::Edge;
    config.seams.clock = clock.clone();
    agents.push(Agent::start(config).await);
    agents[3].synced().await;
    agents[0].put("old", "v").await;
    let ids: Vec<NodeId> = agents.iter().map(|agent| agent.cluster.standing().id).collect();
    let mut configs = Vec::new();
    for agent in agents {
        let at = agent.addr();
        let mut config = agent.stop().await;
        if config.role == RoleWish::Server {
            (config.bind, config.advertise) = (at, at);
        }
        configs.push(config);
    }
    ahead.fetch_add(40 * 24 * 3600, Ordering::Relaxed);
    let mut agents = Vec::new();
    for config in configs {
        agents.push(Agent::start(config).await);
    }
    for (agent, id) in agents.iter().zip(ids) {
        agent.synced().await;
        until("a leader", || agent.cluster.standing().leader.is_some()).await;
        assert_eq!(agent.cluster.standing().id, id, "the same member as before");
        until("it has the key", || agent.has("old")).await;
        let month = (agent.config.seams.clock)() + Duration::from_secs(70 * 3600);
        assert!(agent.cluster.certificate_ends().unwrap() > month, "a fresh certificate");
    }
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_came_up_with_its_clock_ahead_is_trusted_once_the_clock_is_right() {
    let seconds = Duration::from_secs;
    let world = World::new();
    let (ahead, clock) = clock();
    ahead.store(57 * 3600, Ordering::Relaxed);
    let mut config = world.server("s1", &[]);
    config.seams.clock = clock;
    config.lifetimes = Lifetimes { leaf: seconds(100), grace: seconds(100), skew: seconds(5) };
    let server = Agent::start(config).await;
    ahead.store(0, Ordering::Relaxed);
    let edge = Agent::start(world.edge("e1", &[server.addr()])).await;
    edge.synced().await;
    assert!(server.cluster.certificate_ends().unwrap() < SystemTime::now() + seconds(101));
    edge.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_with_a_disk_needs_no_token_once_it_is_in() {
    let world = World::new();
    let server = Agent::start(world.server("s1", &[])).await;
    let mut config = world.edge("e1", &[server.addr()]);
    config.data_dir = Some(world.path("e1"));
    config.role = RoleWish::Edge;
    let edge = Agent::start(config).await;
    edge.synced().await;
    let id = edge.cluster.standing().id;
    let founding = world.tokens.server.id();
    server.cluster.propose(Command::TokenRetire(founding)).await.unwrap();
    let mut config = edge.stop().await;
    config.token = None;
    let edge = Agent::start(config).await;
    edge.synced().await;
    assert_eq!(edge.cluster.standing().id, id);
    edge.put("k", "v").await;
    edge.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_renew_under_load_without_a_call_that_fails() {
    let seconds = Duration::from_secs;
    let lifetimes = Lifetimes { leaf: seconds(3), grace: seconds(3), skew: seconds(1) };
    let world = World::new();
    let mut join = Vec::new();
    let mut agents = Vec::new();
    for name in ["s1", "s2", "s3"] {
        let mut config = world.server(name, &join);
        config.lifetimes = lifetimes;
        agents.push(Agent::start(config).await);
        agents.last().unwrap().synced().await;
        join = vec![agents[0].addr()];
    }
    let mut config = world.edge("e1", &join);
    config.lifetimes = lifetimes;
    agents.push(Agent::start(config).await);
    agents[3].synced().await;
    let first: Vec<SystemTime> =
        agents.iter().map(|agent| agent.cluster.certificate_ends().unwrap()).collect();
    let begun = Instant::now();
    let mut writes = 0;
    // Past the end of several certificates of each.
    while begun.elapsed() < seconds(10) {
        for agent in &agents {
            assert_eq!(agent.put(&format!("k{writes}"), "v").await, Outcome::Kv(true));
            writes += 1;
        }
    }
    for (agent, first) in agents.iter().zip(first) {
        let ends = agent.cluster.certificate_ends().unwrap();
        assert!(ends > first + seconds(4), "renewed, and not once only: {first:?}, {ends:?}");
        assert!(ends > SystemTime::now());
    }
    // A new connection is made with a certificate that counts.
    let late = Agent::start({
        let mut config = world.edge("e2", &[agents[1].addr()]);
        config.lifetimes = lifetimes;
        config
    })
    .await;
    late.synced().await;
    for agent in agents.into_iter().chain([late]) {
        agent.stop().await;
    }
}

/// Takes everybody for a server, and shows nothing.
struct Nobody;

impl Credentials for Nobody {
    fn shown(&self, _: Option<Purpose>) -> Option<Arc<Shown>> {
        None
    }

    fn judge(&self, _: &[&[u8]]) -> Result<Judged, String> {
        Ok(Judged { peer: Peer { id: NodeId(1), role: Role::Server }, late: false })
    }

    fn knows(&self, _: Peer) -> Result<(), String> {
        Ok(())
    }

    fn admits(&self, _: Peer, _: Purpose) -> bool {
        true
    }

    fn calls_on(&self, _: Peer, _: Purpose) -> bool {
        true
    }
}

fn strangers_links() -> Links {
    let guard = Guard::new(Arc::new(Nobody));
    Links::new(&Tasks::default(), &Shutdown::default(), Arc::new(Tcp), &guard)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_certificate_nothing_is_open_but_the_entrance() {
    let world = World::new();
    let server = Agent::start(world.server("s1", &[])).await;
    let links = strangers_links();
    for purpose in [Purpose::Raft, Purpose::Snapshot, Purpose::Door, Purpose::Follow] {
        let closed = links.exchange(server.addr(), purpose).await.err().unwrap().to_string();
        assert!(closed.contains("without a certificate"), "{purpose:?}: {closed}");
    }
    let mut entrance = links.exchange(server.addr(), Purpose::Entrance).await.unwrap();
    let garbage = entrance.call(Bytes::from_static(&[99, 9, 9]), SOON).await.unwrap_err();
    assert!(garbage.to_string().contains("not understood"), "{garbage}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_counts_on_its_own_connection_alone_and_guessing_is_slowed_down() {
    let world = World::new();
    let server = Agent::start(world.server("s1", &[])).await;
    let links = strangers_links();
    let mut entrance = links.exchange(server.addr(), Purpose::Entrance).await.unwrap();
    let (key, token) = (Key::generate().unwrap(), &world.tokens.edge);
    let admission = Admission {
        name: crate::model::NodeName::new("e1").unwrap(),
        nonce: 7,
        role: Role::Edge,
        peer_addr: ([127, 0, 0, 1], 1).into(),
        client_urls: Vec::new(),
        version: String::new(),
        level: crate::state::LEVEL,
        token: None,
    };
    let petition = |binding: &[u8; 32]| {
        let proof = prove(&token.key().unwrap(), binding, &key.spki()).unwrap();
        let (request, admission) = (key.request().unwrap(), admission.clone());
        Ask::Join(Box::new(Petition { token: token.id(), request, admission, proof }))
    };
    let own = entrance.caller.binding;
    let mut say = async |ask: Ask| -> Reply {
        let answer = entrance.call(encode(&ask), SOON).await.unwrap();
        decode(&answer).unwrap()
    };
    assert!(matches!(say(petition(&own)).await, Reply::Joined(_)), "the right one");
    let Reply::Denied(why) = say(petition(&[0; 32])).await else { panic!("a proof replayed") };
    assert!(why.starts_with("wrong token"), "{why}");
    let mut tries = 0;
    while matches!(say(petition(&[0; 32])).await, Reply::Denied(why) if why.starts_with("wrong token"))
    {
        tries += 1;
        assert!(tries < 100, "for ever");
    }
    let Reply::Denied(why) = say(petition(&own)).await else { panic!("now it waits") };
    assert!(why.contains("too many tries"), "{why}");
    server.stop().await;
}

//! Agents without a log: they follow, write through, are missed, move on.

use std::time::{Duration, Instant};

use super::world::{Agent, World, until};
use crate::access::Caller;
use crate::cluster::{Alive, Beat, Consistency, RoleWish};
use crate::lifecycle::Gate;
use crate::model::{Health, Role, SessionId, Source};
use crate::state::{
    Behavior, CatalogOp, Command, KvCommand, NodeDef, Outcome, PRESENT, SessionDef, presence_check,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_follows_writes_through_and_survives_its_upstream() {
    let world = World::new();
    let mut servers = world.servers(3).await;
    servers[0].put("old", "v").await;
    let edge = Agent::start(world.edge("e1", &[servers[0].addr(), servers[1].addr()])).await;
    edge.life.gates.wait(Gate::Synced).await;
    assert!(edge.has("old"));
    let standing = edge.cluster.standing();
    assert_eq!((standing.role, standing.raft), (Role::Edge, None));
    assert!(standing.last_contact < Duration::from_secs(1));
    assert_eq!(standing.voters.len(), 3);
    assert_eq!(edge.put("mine", "v").await, Outcome::Kv(true));
    assert!(edge.has("mine"), "read your writes");
    servers[1].put("theirs", "v").await;
    let read = edge.cluster.read(Consistency::Linearizable).await.unwrap();
    assert!(read.key(b"theirs").is_some());

    let upstream = edge.cluster.standing().upstream.unwrap();
    let at = servers.iter().position(|server| server.addr() == upstream).unwrap();
    let lost = servers.remove(at);
    let stopping = tokio::spawn(lost.stop());
    until("it moves", || edge.cluster.standing().upstream.is_some_and(|now| now != upstream)).await;
    assert!(edge.cluster.read(Consistency::Local).await.is_ok());
    assert_eq!(edge.put("after", "v").await, Outcome::Kv(true));
    assert!(servers[0].cluster.read(Consistency::Linearizable).await.is_ok());
    assert!(servers[0].has("after"));
    stopping.await.unwrap();
    edge.stop().await;
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test]
async fn an_agent_that_goes_silent_is_missed_after_its_ttl() {
    let ttl = Duration::from_secs(1);
    let world = World::new();
    let server = Agent::start(world.server("s1", &[])).await;
    let edge = Agent::start(world.edge("e1", &[server.addr()])).await;
    edge.synced().await;
    assert_eq!(edge.cluster.keep_alive(Beat::Presence).await, Ok(Alive::Gone), "no node yet");
    let id = edge.cluster.standing().id;
    let def = NodeDef {
        name: "e1".into(),
        agent: Some(id),
        uuid: String::new(),
        address: "127.0.0.1".into(),
        tagged_addresses: Default::default(),
        meta: Default::default(),
        presence_ttl: ttl,
    };
    let node = edge.cluster.name().folded();
    let check = CatalogOp::PutCheck {
        node: node.clone(),
        def: presence_check(),
        status: Health::Passing,
        output: PRESENT.to_owned(),
        source: Source::System,
    };
    let ops = vec![CatalogOp::PutNode(def), check];
    assert_eq!(edge.cluster.propose(Command::Catalog(ops)).await, Ok(Outcome::Done));
    let mut beaten = Instant::now();
    for _ in 0..6 {
        assert_eq!(edge.cluster.keep_alive(Beat::Presence).await, Ok(Alive::For(ttl)));
        beaten = Instant::now();
        tokio::time::sleep(ttl / 3).await;
    }
    edge.stop().await;
    let silent = || server.cluster.snapshot().is_silent(&node);
    until("missed", silent).await;
    let after = beaten.elapsed();
    assert!(after >= ttl, "never early: {after:?}");
    assert!(after < ttl + Duration::from_secs(2), "nor late: {after:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_session_is_made_renewed_and_ended_from_an_edge() {
    let world = World::new();
    let server = Agent::start(world.server("s1", &[])).await;
    let edge = Agent::start(world.edge("e1", &[server.addr()])).await;
    edge.synced().await;
    let node = CatalogOp::PutNode(NodeDef {
        name: "n".into(),
        agent: None,
        uuid: String::new(),
        address: "127.0.0.1".into(),
        tagged_addresses: Default::default(),
        meta: Default::default(),
        presence_ttl: Duration::ZERO,
    });
    let (id, ttl) = (SessionId(7), Duration::from_secs(10));
    let session = SessionDef {
        id,
        name: String::new(),
        node: "n".into(),
        behavior: Behavior::Release,
        ttl: Some(ttl),
        ttl_text: "10s".to_owned(),
        lock_delay: 0,
        node_checks: Vec::new(),
        service_checks: None,
        checks: Vec::new(),
    };
    let propose = async |command| edge.cluster.propose(command).await;
    // In its own name it speaks for its own node alone.
    let node = Command::Catalog(vec![node]).by(Caller::Nobody);
    assert_eq!(propose(node).await, Ok(Outcome::Done));
    assert_eq!(edge.cluster.keep_alive(Beat::Session(id)).await, Ok(Alive::Gone));
    assert_eq!(propose(Command::SessionCreate(session)).await, Ok(Outcome::Done));
    assert_eq!(edge.cluster.keep_alive(Beat::Session(id)).await, Ok(Alive::For(ttl * 2)));
    let (key, value) = (bytes::Bytes::from("k"), bytes::Bytes::from("v"));
    let acquire = KvCommand::Acquire { key, value, flags: 0, session: id };
    assert_eq!(propose(Command::Kv(acquire)).await, Ok(Outcome::Kv(true)));
    let holder = |agent: &Agent| agent.cluster.snapshot().key(b"k").and_then(|row| row.holder());
    assert_eq!((holder(&edge), holder(&server)), (Some(id), Some(id)));
    assert_eq!(propose(Command::SessionDestroy(id)).await, Ok(Outcome::Done));
    assert_eq!((holder(&edge), edge.cluster.snapshot().sessions().count()), (None, 0));
    // What only the leader decides is no edge's to say.
    let expire = Command::SessionExpire { ids: vec![id], term: 1 };
    assert!(propose(expire).await.is_err());
    edge.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn an_agent_that_may_be_either_becomes_what_is_wanted() {
    let world = World::new();
    let mut first = world.server("s1", &[]);
    (first.settings.voters, first.settings.standbys) = (1, 1);
    let first = Agent::start(first).await;
    let join = [first.addr()];
    let auto = |name: &str| {
        let mut config = world.server(name, &join);
        config.role = RoleWish::Auto;
        config
    };
    let spare = Agent::start(auto("s2")).await;
    spare.synced().await;
    assert_eq!(spare.cluster.standing().role, Role::Server);
    let surplus = Agent::start(auto("s3")).await;
    surplus.synced().await;
    assert_eq!(surplus.cluster.standing().role, Role::Edge);
    assert_eq!(first.cluster.standing().voters.len(), 1, "one voter was asked for");
    for agent in [surplus, spare, first] {
        agent.stop().await;
    }
}

#[tokio::test]
async fn an_edge_restarted_under_its_name_takes_its_own_place() {
    let world = World::new();
    let server = Agent::start(world.server("s1", &[])).await;
    let config = world.edge("e1", &[server.addr()]);
    let old = Agent::start(config.clone()).await;
    old.synced().await;
    let id = old.cluster.standing().id;
    old.stop().await;
    let new = Agent::start(config).await;
    new.synced().await;
    assert!(new.cluster.standing().id > id, "ids are never used again");
    let state = server.cluster.snapshot();
    assert_eq!(state.member_named("e1").map(|member| member.id), Some(new.cluster.standing().id));
    new.stop().await;
    server.stop().await;
}

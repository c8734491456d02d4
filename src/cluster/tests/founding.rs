//! Who founds a cluster, and what a lone server does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::world::{Agent, World, until};
use crate::cluster::asks::Introduction;
use crate::cluster::founding::{Decision, Met, decide};
use crate::cluster::server::doubt;
use crate::cluster::{Alive, Beat, Cluster, ClusterError, Consistency, RaftRole, start};
use crate::lifecycle::{Gate, Life};
use crate::model::{LeaseId, NodeId, NodeName};
use crate::raft::{self, Status};
use crate::state::{Command, Outcome};
use crate::telemetry::Metrics;

fn addr(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

pub(super) fn introduction(port: u16) -> Introduction {
    Introduction {
        run: 7,
        cluster: 9,
        id: NodeId(1),
        addr: addr(port),
        wants_servers: true,
        others: vec![],
        candidate: None,
    }
}

fn member(port: u16) -> Met {
    Met::Member(addr(port), introduction(port))
}

#[test]
fn only_who_meets_nobody_but_itself_founds() {
    assert_eq!(decide(None, vec![]), Decision::Found);
    assert_eq!(decide(None, vec![Met::Myself, Met::Myself]), Decision::Found);
    let nobody = || Met::Nobody("refused".to_owned());
    assert!(matches!(decide(None, vec![Met::Myself, nobody()]), Decision::Wait(_)));
    assert!(matches!(decide(None, vec![Met::Newcomer(addr(1), None)]), Decision::Wait(_)));
    let joins = decide(None, vec![nobody(), Met::Newcomer(addr(1), None), member(2)]);
    assert!(matches!(joins, Decision::Join(at, _) if at == addr(2)));
}

/// Addresses where nobody listens right now.
fn free(count: usize) -> Vec<SocketAddr> {
    let bound = (0..count).map(|_| crate::net::bind_tcp("test", addr(0)).unwrap());
    let bound: Vec<_> = bound.collect();
    bound.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

/// Servers that each expect `count`, and name all of them.
fn expecting(world: &World, count: usize) -> Vec<crate::cluster::Config> {
    let places = free(count);
    let config = |n: usize| {
        let mut config = world.server(&format!("s{n}"), &places);
        (config.bind, config.advertise) = (places[n], places[n]);
        config.expect = u32::try_from(count).unwrap();
        config
    };
    (0..count).map(config).collect()
}

fn founded(agents: &[Agent]) -> Vec<u128> {
    let clusters = agents.iter().map(|agent| agent.cluster.snapshot().identity().cluster);
    clusters.filter(|cluster| *cluster != 0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_expect_each_other_found_one_cluster_although_one_restarts() {
    let world = World::new();
    let configs = expecting(&world, 3);
    let mut agents = Vec::new();
    for config in configs.iter().take(2).rev() {
        agents.push(Agent::start(config.clone()).await);
    }
    until("they know of each other", || {
        agents.iter().all(|agent| {
            let board = agent.life.board.entries();
            board.iter().any(|(_, entry)| entry.text.contains("met 2 of 3 agents: s0, s1"))
        })
    })
    .await;
    assert!(founded(&agents).is_empty(), "two of three found nothing");
    let restarted = agents.remove(0).stop().await;
    agents.push(Agent::start(configs[2].clone()).await);
    agents.push(Agent::start(restarted).await);
    until("all vote", || agents.iter().all(|agent| agent.cluster.standing().voters.len() == 3))
        .await;
    let clusters = founded(&agents);
    assert_eq!(clusters.len(), 3);
    assert!(clusters.iter().all(|cluster| *cluster == clusters[0]), "{clusters:?}");
    // A promise that was kept is no more than history; who is a member stays one.
    let last = agents.remove(1).stop().await;
    agents.push(Agent::start(last).await);
    until("it is back", || agents[2].cluster.standing().synced).await;
    assert_eq!(founded(&agents), clusters);
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test]
async fn servers_that_name_each_other_and_expect_nobody_say_what_to_do() {
    let world = World::new();
    let mut configs = expecting(&world, 2);
    configs.iter_mut().for_each(|config| config.expect = 1);
    let mut agents = Vec::new();
    for config in configs {
        agents.push(Agent::start(config).await);
    }
    until("both wait and say why", || {
        agents.iter().all(|agent| {
            let board = agent.life.board.entries();
            board.iter().any(|(_, entry)| entry.text.contains("set cluster.expect"))
        })
    })
    .await;
    assert!(founded(&agents).is_empty());
    for agent in agents {
        agent.stop().await;
    }
}

async fn begin(config: crate::cluster::Config) -> Result<Cluster, ClusterError> {
    start(config, Life::default(), &Metrics::default()).await
}

#[tokio::test]
async fn a_lone_server_founds_serves_and_comes_back_with_everything() {
    let world = World::new();
    let agent = Agent::start(world.server("s1", &[])).await;
    let standing = agent.cluster.standing();
    assert_eq!((standing.id, standing.leader), (NodeId(1), Some(NodeId(1))));
    assert_eq!(standing.raft, Some(RaftRole::Leader));
    assert!(standing.synced && agent.leads());
    assert_eq!(agent.put("a", "1").await, Outcome::Kv(true));
    assert!(agent.has("a"), "what was acknowledged is visible here");
    let read = agent.cluster.read(Consistency::Linearizable).await.unwrap();
    assert!(read.key(b"a").is_some());
    let cluster = read.identity().cluster;
    agent.life.gates.wait(Gate::Synced).await;

    let config = agent.stop().await;
    let agent = Agent::start(config).await;
    assert!(agent.has("a"), "before anything else is heard of");
    assert_eq!(agent.cluster.snapshot().identity().cluster, cluster);
    agent.put("b", "2").await;
    agent.stop().await;
}

#[tokio::test]
async fn a_lease_lives_while_it_is_kept_alive() {
    let world = World::new();
    let agent = Agent::start(world.server("s1", &[])).await;
    let (id, ttl) = (LeaseId(7), Duration::from_millis(700));
    agent.cluster.propose(Command::LeaseGrant { id, ttl }).await.unwrap();
    for _ in 0..4 {
        assert_eq!(agent.cluster.keep_alive(Beat::Lease(id)).await, Ok(Alive::For(ttl)));
        tokio::time::sleep(ttl / 2).await;
    }
    until("expired", || agent.cluster.snapshot().lease(id).is_none()).await;
    assert_eq!(agent.cluster.keep_alive(Beat::Lease(id)).await, Ok(Alive::Gone));
    agent.stop().await;
}

#[tokio::test]
async fn a_list_that_names_only_itself_founds() {
    let world = World::new();
    let mut config = world.server("s1", &[]);
    let free = crate::net::bind_tcp("test", addr(0)).unwrap().local_addr().unwrap();
    (config.bind, config.advertise) = (free, free);
    config.join = vec![free.to_string(), format!("localhost:{}", free.port())];
    let agent = Agent::start(config).await;
    agent.synced().await;
    assert_eq!(agent.cluster.standing().id, NodeId(1));
    agent.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_said_before_anything_begins() {
    let world = World::new();
    let mut bare = world.server("s1", &[([127, 0, 0, 1], 1).into()]);
    bare.token = None;
    let error = begin(bare).await.err().unwrap().to_string();
    assert!(error.contains("cluster.token_file") && error.contains("join-token"), "{error}");

    let mut diskless = world.server("s1", &[]);
    diskless.data_dir = None;
    assert!(begin(diskless).await.err().unwrap().to_string().contains("data_dir"));

    let mut nobody = world.server("s1", &[]);
    nobody.expect = 3;
    assert!(begin(nobody).await.err().unwrap().to_string().contains("cluster.expect"));

    let lost = world.edge("e1", &[]);
    assert!(begin(lost).await.err().unwrap().to_string().contains("cluster.join"));

    let agent = Agent::start(world.server("s1", &[])).await;
    let mut taken = world.server("s2", &[]);
    taken.bind = agent.addr();
    assert!(begin(taken).await.err().unwrap().to_string().contains("in use"));
    let config = agent.stop().await;

    let mut renamed = config;
    renamed.name = NodeName::new("other").unwrap();
    let error = begin(renamed.clone()).await.err().unwrap().to_string();
    assert!(error.contains("identity") && error.contains("s1"), "{error}");
    std::fs::write(world.path("s1").join("identity"), "{").unwrap();
    let error = begin(renamed).await.err().unwrap().to_string();
    assert!(error.contains("identity"), "{error}");
}

#[test]
fn a_server_that_votes_alone_never_doubts_that_it_leads() {
    let now = Instant::now() + Duration::from_secs(60);
    let silence = |voters: u64, acked: Duration| {
        let status = Status {
            id: NodeId(1),
            term: 1,
            leader: Some(NodeId(1)),
            role: raft::Role::Leader,
            voters: (1..=voters).map(NodeId).collect(),
            learners: Vec::new(),
            last_log: None,
            committed: None,
            applied: None,
            synced: true,
            matched: BTreeMap::new(),
            quorum_acked: Some(now - acked),
        };
        doubt(status.quorum_silence(now))
    };
    let long = Duration::from_secs(50);
    assert_eq!(silence(1, long), Duration::ZERO);
    assert_eq!(silence(3, long), long);
    assert_eq!(silence(3, Duration::from_millis(300)), Duration::ZERO);
}

//! Agents without a log that follow each other: chains of relays, upstreams that go silent.

use std::time::{Duration, Instant};

use super::fabric::Wires;
use super::world::{Agent, World, until};
use crate::cluster::{Alive, Beat, Consistency};
use crate::model::{Applied, LeaseId, Role};
use crate::state::{Command, Outcome};

/// Once it is let in, by a server, an agent has no way to these any more.
fn wall_off(wires: &Wires, name: &str, others: &[&str]) {
    for other in others {
        wires.wall(name, other);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_relays_carries_changes_down_and_everything_else_up() {
    let (world, wires) = World::wired();
    let server = Agent::start(world.server("s1", &[])).await;
    let mut relays: Vec<Agent> = Vec::new();
    let mut above = server.addr();
    let chain = ["s1", "r1", "r2", "r3"];
    for (at, name) in chain.into_iter().enumerate().skip(1) {
        // It knows whom it is to follow, and that one tells it where the server is.
        let relay = Agent::start(world.relay(name, &[above])).await;
        relay.synced().await;
        wall_off(&wires, name, &chain[..at - 1]);
        let standing = relay.cluster.standing();
        assert_eq!((standing.role, standing.upstream), (Role::Relay, Some(above)));
        above = relay.addr();
        relays.push(relay);
    }
    let edge = Agent::start(world.edge("e1", &[above])).await;
    edge.synced().await;
    wall_off(&wires, "e1", &chain[..3]);
    assert_eq!(edge.cluster.standing().upstream, Some(above));
    assert_eq!(edge.cluster.standing().leader, server.cluster.standing().leader);

    server.put("down", "v").await;
    until("changes come down", || edge.has("down")).await;
    assert_eq!(edge.put("up", "v").await, Outcome::Kv(true));
    assert!(server.has("up"));
    server.put("later", "v").await;
    let read = edge.cluster.read(Consistency::Linearizable).await.unwrap();
    assert!(read.key(b"later").is_some());
    let (id, ttl) = (LeaseId(3), Duration::from_secs(2));
    let grant = Command::LeaseGrant { id, ttl };
    assert_eq!(edge.cluster.propose(grant).await, Ok(Outcome::Done));
    let begun = Instant::now();
    while begun.elapsed() < ttl * 2 {
        assert_eq!(edge.cluster.keep_alive(Beat::Lease(id)).await, Ok(Alive::For(ttl)));
        tokio::time::sleep(ttl / 4).await;
    }

    // A fourth relay would be too far away; it knows of nobody else to follow.
    let fourth = Agent::start(world.relay("r4", &[above])).await;
    let declined = || {
        let board = fourth.life.board.entries();
        board.iter().any(|(_, entry)| entry.text.contains("3 relays away"))
    };
    until("it is told so", declined).await;
    assert!(!fourth.cluster.standing().synced);
    fourth.stop().await;

    // The second dies: the third finds the first, and the edge does not notice.
    wires.open("r1", "r3");
    let second = relays.remove(1);
    let gone = second.addr();
    second.stop().await;
    assert!(edge.cluster.read(Consistency::Local).await.is_ok());
    let first = relays[0].addr();
    until("it moves", || relays[1].cluster.standing().upstream == Some(first)).await;
    assert_ne!(gone, first);
    server.put("after", "v").await;
    until("changes come down again", || edge.has("after")).await;
    assert_eq!(edge.put("up again", "v").await, Outcome::Kv(true));
    edge.stop().await;
    for agent in relays.into_iter().rev().chain([server]) {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_prefer_relays_and_do_without_them_when_they_are_gone() {
    let world = World::new();
    let server = Agent::start(world.server("s1", &[])).await;
    let relay = Agent::start(world.relay("r1", &[server.addr()])).await;
    relay.synced().await;
    // It learns of the relay from the server.
    let edge = Agent::start(world.edge("e1", &[server.addr()])).await;
    edge.synced().await;
    let wakes = Agent::start(world.edge("e2", &[relay.addr()])).await;
    wakes.synced().await;
    assert_eq!(wakes.cluster.standing().upstream, Some(relay.addr()));
    assert!(relay.metric("cluster_followers") >= 1);
    relay.stop().await;
    let direct = Some(server.addr());
    until("it follows the server", || wakes.cluster.standing().upstream == direct).await;
    assert_eq!(wakes.put("still", "v").await, Outcome::Kv(true));
    for agent in [wakes, edge, server] {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_leaves_an_upstream_that_goes_silent_and_never_goes_back() {
    let (world, wires) = World::wired();
    let servers = world.servers(3).await;
    let join: Vec<_> = servers.iter().map(Agent::addr).collect();
    let edge = Agent::start(world.edge("e1", &join)).await;
    edge.synced().await;
    let standing = edge.cluster.standing();
    let leader = servers.iter().find(|server| server.leads()).unwrap();
    assert_ne!(standing.upstream, Some(leader.addr()), "the leader has enough to do");
    // What is asked next goes out on a connection that stands.
    assert_eq!(edge.put("before", "v").await, Outcome::Kv(true));
    let mut applied = Applied::default();
    for round in 0..2 {
        let upstream = edge.cluster.standing().upstream.unwrap();
        let silent = servers.iter().find(|server| server.addr() == upstream).unwrap();
        wires.sever("e1", silent.name());
        let cut = Instant::now();
        let write = edge
            .cluster
            .propose(Command::LeaseGrant { id: LeaseId(round + 1), ttl: Duration::from_secs(60) });
        // Nobody knows whether it was done, and that is said soon.
        assert!(write.await.is_err());
        assert!(cut.elapsed() < Duration::from_secs(3), "{:?}", cut.elapsed());
        let elsewhere = |now| now != upstream;
        while !edge.cluster.standing().upstream.is_some_and(elsewhere) {
            assert!(edge.cluster.read(Consistency::Local).await.is_ok());
            assert!(cut.elapsed() < Duration::from_secs(15));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let now = edge.cluster.snapshot().applied();
        assert!(now >= applied);
        applied = now;
        assert_eq!(edge.put("through another", "v").await, Outcome::Kv(true));
        assert!(edge.cluster.read(Consistency::Linearizable).await.is_ok());
        wires.heal();
    }
    edge.stop().await;
    for server in servers {
        server.stop().await;
    }
}

//! Replicas that are not what they should be: found, stopped, and made anew.

use super::world::{Agent, World, until};
use crate::cluster::{Config, Door};
use crate::lifecycle::Level;

fn often(mut config: Config) -> Config {
    config.pace.compare_entries = 20;
    config
}

async fn corrupt(agent: &Agent, key: &'static [u8]) {
    match agent.cluster.threshold.door() {
        Some(Door::Server(server)) => server.raft.corrupt(key).await,
        Some(Door::Edge(edge)) => edge.corrupt(key),
        _ => panic!("it has no place yet"),
    }
}

fn level(agent: &Agent) -> Option<Level> {
    let entries = agent.life.board.entries().into_iter();
    entries.filter(|(subject, _)| subject == "cluster/replicas").map(|(_, at)| at.level).next()
}

async fn servers(world: &World, count: usize) -> Vec<Agent> {
    let first = Agent::start(often(world.server("s1", &[]))).await;
    let join = [first.addr()];
    let mut agents = vec![first];
    for n in 2..=count {
        agents.push(Agent::start(often(world.server(&format!("s{n}"), &join))).await);
    }
    let agents_ref = &agents;
    let wanted = if count == 2 { 1 } else { count };
    until("they vote", || {
        agents_ref.iter().all(|agent| agent.cluster.standing().voters.len() >= wanted)
    })
    .await;
    agents
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_odd_one_of_three_stops_and_comes_back_as_another() {
    let world = World::new();
    let mut agents = servers(&world, 3).await;
    agents[0].put("k", "v").await;
    until("all have it", || agents.iter().all(|agent| agent.has("k"))).await;
    let victim = agents.remove(1);
    let id = victim.cluster.standing().id;
    corrupt(&victim, b"k").await;
    let mut n = 0;
    while !victim.life.shutdown.has_begun() {
        agents[0].put(&format!("more-{n}"), "v").await;
        n += 1;
        assert!(n < 3000, "nobody notices");
    }
    assert_eq!(level(&victim), Some(Level::Failed));
    assert!(agents.iter().all(|agent| !agent.life.shutdown.has_begun()));
    let config = victim.stop().await;
    let again = Agent::start(config).await;
    until("it has everything", || again.has("k") && again.has(&format!("more-{}", n - 1))).await;
    assert!(again.cluster.standing().id > id, "it is another server");
    let flags = again.cluster.snapshot().key(b"k").map(|row| row.flags);
    assert_eq!(flags, Some(0), "what was wrong is gone");
    agents.push(again);
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_two_differ_both_say_so_and_go_on() {
    let world = World::new();
    let agents = servers(&world, 2).await;
    agents[0].put("k", "v").await;
    until("both have it", || agents.iter().all(|agent| agent.has("k"))).await;
    corrupt(&agents[1], b"k").await;
    let mut n = 0;
    while !agents.iter().all(|agent| level(agent) == Some(Level::Failed)) {
        agents[0].put(&format!("more-{n}"), "v").await;
        n += 1;
        assert!(n < 3000, "nobody notices");
    }
    assert!(agents.iter().all(|agent| !agent.life.shutdown.has_begun()));
    for agent in agents {
        agent.stop().await;
    }
}

fn flags(agent: &Agent) -> Option<u64> {
    agent.cluster.snapshot().key(b"k").map(|row| row.flags)
}

fn differed(agent: &Agent) -> u64 {
    agent.metric("cluster_edge_differed_total")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_or_a_relay_that_differs_takes_everything_anew() {
    let world = World::new();
    let server = Agent::start(often(world.server("s1", &[]))).await;
    let relay = Agent::start(world.relay("r1", &[server.addr()])).await;
    relay.synced().await;
    // It is let in by the server, and prefers the relay from then on.
    let edge = Agent::start(world.edge("e1", &[relay.addr()])).await;
    edge.synced().await;
    until("it follows the relay", || edge.cluster.standing().upstream == Some(relay.addr())).await;
    server.put("k", "v").await;
    for (victim, other) in [(&edge, &relay), (&relay, &edge)] {
        until("both have it", || flags(&edge) == Some(0) && flags(&relay) == Some(0)).await;
        let (before, well) = (differed(victim), differed(other));
        corrupt(victim, b"k").await;
        until("its state is false", || flags(victim) == Some(1)).await;
        let mut n = 0;
        while differed(victim) == before {
            server.put(&format!("more-{n}"), "v").await;
            n += 1;
            assert!(n < 3000, "nobody notices");
        }
        until("what was wrong is gone", || flags(victim) == Some(0)).await;
        server.put("last", "v").await;
        until("it goes on", || victim.has("last")).await;
        assert_eq!(differed(victim), before + 1, "once is enough");
        assert_eq!(differed(other), well, "the other one was well all along");
    }
    for agent in [edge, relay, server] {
        agent.stop().await;
    }
}

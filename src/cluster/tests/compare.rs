//! Replicas that are not what they should be: found, stopped, and made anew.

use super::world::{Agent, World, until};
use crate::cluster::{Config, Door};
use crate::lifecycle::Level;

fn often(mut config: Config) -> Config {
    config.pace.compare_entries = 20;
    config
}

async fn corrupt(agent: &Agent, key: &'static [u8]) {
    let Some(Door::Server(server)) = agent.cluster.threshold.door() else {
        panic!("it is a server");
    };
    server.raft.corrupt(key).await;
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

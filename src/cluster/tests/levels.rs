//! Two releases in one cluster: raised when the last server speaks more; who speaks less stays out.

use super::world::{Agent, World, until};
use crate::cluster::{Config, Consistency, ProposeError, ReadError, start};
use crate::lifecycle::Life;
use crate::state::{Command, KvCommand, LEVEL};
use crate::telemetry::Metrics;

const NEWER: u32 = LEVEL + 1;

fn newer(config: Config) -> Config {
    Config { level: NEWER, ..config }
}

fn level(agent: &Agent) -> u32 {
    agent.cluster.snapshot().identity().level
}

fn says(agent: &Agent, words: &str) -> bool {
    agent.life.board.entries().iter().any(|(_, entry)| entry.text.contains(words))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_server_raises_the_cluster_and_older_ones_are_refused_from_then_on() {
    let world = World::new();
    let mut servers = world.servers(3).await;
    let join = [servers[1].addr(), servers[2].addr()];
    let edge = Agent::start(world.edge("e1", &join)).await;
    edge.synced().await;
    assert_eq!(edge.put("before", "v").await, crate::state::Outcome::Kv(true));

    for _ in 0..2 {
        let config = servers.remove(0).stop().await;
        let again = Agent::start(newer(config)).await;
        until("its row says so", || {
            let id = again.cluster.standing().id;
            again.cluster.snapshot().member(id).is_some_and(|member| member.level == NEWER)
        })
        .await;
        servers.push(again);
    }
    // The leader has looked more than once since.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(servers.iter().all(|server| level(server) == LEVEL), "one does not speak it yet");
    let last = servers.remove(0).stop().await;
    let newest = Agent::start(newer(last.clone())).await;
    servers.push(newest);
    until("all are raised", || servers.iter().all(|server| level(server) == NEWER)).await;

    // The edge did not hold it back, and serves no more.
    let outdated = "install a newer release";
    until("the edge says so", || says(&edge, outdated)).await;
    assert!(!edge.cluster.standing().synced);
    let read = edge.cluster.read(Consistency::Local).await;
    assert!(matches!(read, Err(ReadError::Outdated(why)) if why.contains(outdated)));
    let (key, value) = ("late".into(), "v".into());
    let write = Command::Kv(KvCommand::Set { key, value, flags: 0, cas: None });
    let write = edge.cluster.propose(write).await;
    assert!(matches!(write, Err(ProposeError::Outdated(_))), "{write:?}");

    // An old binary that joins, and one that comes back, are told why they cannot.
    let join: Vec<_> = servers.iter().map(Agent::addr).collect();
    let stranger = Agent::start(world.server("s4", &join)).await;
    until("it is refused", || says(&stranger, outdated)).await;
    assert!(!stranger.cluster.standing().synced);
    let _ = servers.pop().unwrap().stop().await;
    let life = Life::default();
    match start(last, life.clone(), &Metrics::default()).await {
        Err(error) => assert!(error.to_string().contains(outdated), "{error}"),
        Ok(_) => until("it stops", || life.shutdown.has_begun()).await,
    }
    life.shutdown.begin();
    stranger.stop().await;
    edge.stop().await;
    for server in servers {
        server.stop().await;
    }
}

//! Servers whose log is gone, wholly or in part: new ones under their name, never the old ones.

use std::sync::Arc;
use std::time::Duration;

use super::world::{Agent, World, until};
use crate::cluster::Door;
use crate::identity::{DataDir, Identity};
use crate::lifecycle::Level;
use crate::model::{NodeId, NodeName};
use crate::raft::{LogMark, RealDisk};
use crate::state::Command;

fn files(world: &World, name: &str) -> DataDir {
    DataDir::new(Arc::new(RealDisk), world.path(name))
}

fn identity(world: &World, name: &str) -> Identity {
    files(world, name).load_identity(&NodeName::new(name).unwrap()).unwrap().unwrap()
}

/// The server whose log is missing comes back under another id, knowing everything, and votes.
async fn comes_back_as_new(world: &World, agents: &mut Vec<Agent>, config: crate::cluster::Config) {
    let old = identity(world, config.name.as_str()).admitted.unwrap().node;
    let again = Agent::start(config).await;
    // The leader finds that nobody answers as the old one, and retires it.
    until("it is let in", || again.cluster.standing().id > NodeId(3)).await;
    until("the old one is gone", || agents[0].cluster.snapshot().member(old).is_none()).await;
    until("it votes", || {
        let standing = agents[0].cluster.standing();
        standing.voters.contains(&again.cluster.standing().id) && !standing.voters.contains(&old)
    })
    .await;
    until("it knows everything", || again.has("kept")).await;
    assert!(identity(world, again.config.name.as_str()).lost.is_none());
    agents.push(again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_its_log_joins_again_as_a_new_one() {
    let world = World::new();
    let mut agents = world.servers(3).await;
    agents[0].put("kept", "v").await;
    until("everybody has it", || agents.iter().all(|agent| agent.has("kept"))).await;
    let config = agents.remove(2).stop().await;
    let mark = identity(&world, "s3").log.unwrap();
    assert!(mark.floor > 0, "{mark:?}");
    std::fs::remove_dir_all(world.path("s3").join("wal")).unwrap();
    comes_back_as_new(&world, &mut agents, config).await;
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_that_names_nobody_finds_the_others_again_and_never_founds_anew() {
    let world = World::new();
    let mut agents = world.servers(3).await;
    agents[0].put("kept", "v").await;
    let others = [agents[1].addr(), agents[2].addr()];
    until("it has written down where they are", || {
        let peers = identity(&world, "s1").peers;
        others.iter().all(|addr| peers.contains(addr))
    })
    .await;
    let config = agents.remove(0).stop().await;
    assert!(config.join.is_empty());
    // The log is there, but ends before what it had reached for good.
    let mut shortened = identity(&world, "s1");
    shortened.log = shortened.log.map(|mark| LogMark { floor: 100_000, ..mark });
    files(&world, "s1").store_identity(&shortened).unwrap();
    comes_back_as_new(&world, &mut agents, config).await;
    let aside = world.path("s1").join("lost").join("wal");
    assert!(std::fs::read_dir(aside).unwrap().next().is_some(), "the remains are kept");
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_of_its_loss_stops_and_forgets_who_it_was() {
    let world = World::new();
    let mut agents = world.servers(3).await;
    agents[0].put("kept", "v").await;
    until("everybody has it", || agents.iter().all(|agent| agent.has("kept"))).await;
    let at = (1..3).find(|at| !agents[*at].leads()).unwrap();
    let leader = agents.iter().position(Agent::leads).unwrap();
    let config = agents.remove(at).stop().await;
    let name = config.name.as_str().to_owned();
    // Another log under the same id: only the leader can know that it is not the one it fed.
    let mut swapped = identity(&world, &name);
    swapped.log = swapped.log.map(|mark| LogMark { incarnation: 1, ..mark });
    files(&world, &name).store_identity(&swapped).unwrap();
    let again = Agent::start(config).await;
    until("it stops", || again.life.shutdown.has_begun()).await;
    let board = again.life.board.entries();
    let said = board.iter().find(|(_, entry)| entry.level == Level::Failed).unwrap();
    assert!(said.1.text.contains("lost what it acknowledged"), "{said:?}");
    let config = again.stop().await;
    let now = identity(&world, &name);
    assert!(now.admitted.is_none() && now.lost.is_some(), "{now:?}");
    let still = agents.iter().position(Agent::leads);
    assert!(still.is_some() && leader < 3, "the others go on");
    agents[0].put("meanwhile", "v").await;
    tokio::time::timeout(Duration::from_secs(60), async {
        comes_back_after(&world, &mut agents, config, now.lost.unwrap().node).await;
    })
    .await
    .unwrap();
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_raft_ends_by_itself_stops_and_goes_on_when_it_is_started() {
    let world = World::new();
    let agent = Agent::start(world.server("s1", &[])).await;
    agent.put("kept", "v").await;
    let Some(Door::Server(server)) = agent.cluster.threshold.door() else {
        panic!("it is a server");
    };
    assert!(!agent.life.shutdown.has_begun());
    // As it does after a failed sync.
    server.raft.shutdown().await;
    until("it stops", || agent.life.shutdown.has_begun()).await;
    assert!(agent.board().contains("cannot be written any more"), "{}", agent.board());
    let again = Agent::start(agent.stop().await).await;
    until("it has everything", || again.has("kept")).await;
    again.stop().await;
}

async fn comes_back_after(
    world: &World,
    agents: &mut Vec<Agent>,
    config: crate::cluster::Config,
    old: NodeId,
) {
    agents[0].cluster.propose(Command::Retire(old)).await.unwrap();
    let again = Agent::start(config).await;
    until("it is let in", || again.cluster.standing().id > NodeId(3)).await;
    until("it knows everything", || again.has("kept") && again.has("meanwhile")).await;
    assert!(identity(world, again.config.name.as_str()).admitted.is_some());
    agents.push(again);
}

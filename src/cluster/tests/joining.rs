//! Servers join, vote, stand by, stop, come back; nothing acknowledged is lost.

use std::time::{Duration, Instant};

use super::world::{Agent, World, until};
use crate::cluster::{Alive, Beat, Consistency, RaftRole};
use crate::model::{LeaseId, NodeId};
use crate::state::{Command, Outcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_vote_a_fourth_stands_by_and_all_serve_writes() {
    let world = World::new();
    let mut agents = world.servers(3).await;
    let join = [agents[1].addr()];
    agents.push(Agent::start(world.server("s4", &join)).await);
    agents[3].synced().await;
    for (n, agent) in agents.iter().enumerate() {
        let key = format!("k{n}");
        assert_eq!(agent.put(&key, "v").await, Outcome::Kv(true));
        assert!(agent.has(&key), "read your writes on {n}");
        for other in &agents {
            let state = other.cluster.read(Consistency::Linearizable).await.unwrap();
            assert!(state.key(key.as_bytes()).is_some(), "linearizable everywhere");
        }
    }
    let id = LeaseId(5);
    let ttl = Duration::from_secs(30);
    agents[2].cluster.propose(Command::LeaseGrant { id, ttl }).await.unwrap();
    assert_eq!(agents[1].cluster.keep_alive(Beat::Lease(id)).await, Ok(Alive::For(ttl)));
    until("it learns", || agents[3].cluster.standing().raft == Some(RaftRole::Learner)).await;
    assert_eq!(agents[0].cluster.standing().voters.len(), 3, "the fourth stands by");
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_leads_when_the_leader_stops_and_nothing_is_lost() {
    let world = World::new();
    let mut agents = world.servers(3).await;
    for n in 0..20 {
        agents[n % 3].put(&format!("before/{n}"), "v").await;
    }
    let at = agents.iter().position(Agent::leads).unwrap();
    let leader = agents.remove(at);
    let stopping = tokio::spawn(leader.stop());
    let (mut written, mut slowest) = (0, Duration::ZERO);
    while written < 20 || !stopping.is_finished() {
        let begun = Instant::now();
        agents[written % 2].put(&format!("during/{written}"), "v").await;
        slowest = slowest.max(begun.elapsed());
        written += 1;
    }
    println!("{written} writes during a clean stop of the leader, the slowest in {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "leadership is handed over: {slowest:?}");
    let config = stopping.await.unwrap();
    let state = agents[0].cluster.read(Consistency::Linearizable).await.unwrap();
    assert_eq!(state.key_count(), 20 + written);
    agents.push(Agent::start(config).await);
    until("it catches up", || agents[2].cluster.snapshot().key_count() == 20 + written).await;
    for agent in agents {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_stop_all_start_on_other_addresses_and_find_each_other() {
    let world = World::new();
    let agents = world.servers(3).await;
    let ids: Vec<NodeId> = agents.iter().map(|agent| agent.cluster.standing().id).collect();
    agents[2].put("kept", "v").await;
    let mut configs = Vec::new();
    for agent in agents {
        configs.push(agent.stop().await);
    }
    // One is where the others look for it; those are anywhere, and nobody knows where.
    let free = crate::net::bind_tcp("test", ([127, 0, 0, 1], 0).into()).unwrap();
    let meeting = free.local_addr().unwrap();
    drop(free);
    (configs[0].bind, configs[0].advertise) = (meeting, meeting);
    let mut agents = Vec::new();
    for (n, mut config) in configs.into_iter().enumerate() {
        config.join = if n == 0 { vec![] } else { vec![meeting.to_string()] };
        agents.push(Agent::start(config).await);
    }
    let again: Vec<NodeId> = agents.iter().map(|agent| agent.cluster.standing().id).collect();
    assert_eq!(ids, again);
    for agent in &agents {
        let state = agent.cluster.read(Consistency::Linearizable).await.unwrap();
        assert!(state.key(b"kept").is_some());
        agent.put("more", "v").await;
    }
    until("the table is right", || {
        let state = agents[0].cluster.snapshot();
        state.member(ids[0]).is_some_and(|member| member.peer_addr == meeting)
    })
    .await;
    for agent in agents {
        agent.stop().await;
    }
}

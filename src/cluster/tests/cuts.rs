//! Links between servers that are cut, one by one and one way: nobody hangs, somebody leads.

use std::time::{Duration, Instant};

use super::fabric::Wires;
use super::world::{Agent, World, until};
use crate::cluster::{Beat, Consistency, ProposeError, ReadError};
use crate::model::LeaseId;
use crate::state::{Command, KvCommand, Outcome};

/// Two election timeouts of `World::server` and a second, and a little for a busy machine.
const BOUND: Duration = Duration::from_millis(2 * 900 + 1000 + 700);
/// Within this another server leads, whatever was cut: the old leader's lease, its silence, a vote.
const ELECTED: Duration = Duration::from_secs(25);

fn set(key: &'static str) -> Command {
    let (key, value) = (key.into(), "v".into());
    Command::Kv(KvCommand::Set { key, value, flags: 0, cas: None })
}

fn leader(servers: &[Agent]) -> usize {
    servers.iter().position(Agent::leads).unwrap()
}

/// The leader first.
async fn three(world: &World) -> Vec<Agent> {
    let mut servers = world.servers(3).await;
    until("a leader is known", || servers.iter().any(Agent::leads)).await;
    settled(&servers).await;
    let at = leader(&servers);
    servers.swap(0, at);
    servers
}

/// Waits until nothing is written any more. New voters come in two steps, and between them those
/// from before alone have a say.
async fn settled(servers: &[Agent]) {
    let applied = || -> Vec<u64> {
        servers.iter().map(|server| server.cluster.snapshot().applied().index).collect()
    };
    let begun = Instant::now();
    loop {
        let before = applied();
        tokio::time::sleep(Duration::from_secs(1)).await;
        if applied() == before && before.iter().all(|index| *index == before[0]) {
            return;
        }
        assert!(begun.elapsed() < ELECTED, "{before:?}");
    }
}

/// Writes through `agent` go on, after a while.
async fn writes(agent: &Agent, key: &'static str) {
    let begun = Instant::now();
    loop {
        match agent.cluster.propose(set(key)).await {
            Ok(outcome) => return assert_eq!(outcome, Outcome::Kv(true)),
            Err(error) => assert!(begun.elapsed() < ELECTED, "{key}: {error}"),
        }
    }
}

async fn stop(servers: Vec<Agent>, wires: &Wires) {
    wires.heal();
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_quorum_says_so_soon_and_another_leads() {
    let (world, wires) = World::wired();
    let servers = three(&world).await;
    let old = &servers[0];
    let lease = LeaseId(7);
    let ttl = Duration::from_secs(60);
    assert_eq!(
        old.cluster.propose(Command::LeaseGrant { id: lease, ttl }).await,
        Ok(Outcome::Done)
    );
    assert!(old.cluster.keep_alive(Beat::Lease(lease)).await.is_ok());
    for other in &servers[1..] {
        wires.sever(old.name(), other.name());
    }
    let cut = Instant::now();
    let (write, read, beat) = tokio::join!(
        old.cluster.propose(set("appended")),
        old.cluster.read(Consistency::Linearizable),
        old.cluster.keep_alive(Beat::Lease(lease)),
    );
    assert!(cut.elapsed() < BOUND, "{:?}", cut.elapsed());
    let unknown = write.unwrap_err();
    assert!(matches!(unknown, ProposeError::Unknown(_)), "it was appended: {unknown}");
    assert_eq!(read.err(), Some(ReadError::NoQuorum));
    assert_eq!(beat.err(), Some(ReadError::NoQuorum), "a deposed leader acknowledges nothing");

    let later = Instant::now();
    assert_eq!(old.cluster.propose(set("refused")).await, Err(ProposeError::NoQuorum));
    let read = old.cluster.read(Consistency::Linearizable).await;
    assert_eq!(read.err(), Some(ReadError::NoQuorum));
    assert!(later.elapsed() < BOUND, "{:?}", later.elapsed());
    assert!(old.cluster.read(Consistency::Local).await.is_ok());
    until("it shows no leader", || old.cluster.standing().leader.is_none()).await;

    writes(&servers[1], "without it").await;
    wires.heal();
    until("it follows the new leader", || !old.leads() && old.has("without it")).await;
    assert!(!old.has("refused"));
    writes(old, "with it").await;
    stop(servers, &wires).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_heard_but_hears_nobody_does_not_stall_the_others() {
    let (world, wires) = World::wired();
    let servers = three(&world).await;
    let old = &servers[0];
    for other in &servers[1..] {
        wires.cut(other.name(), old.name());
    }
    let beat = old.cluster.keep_alive(Beat::Presence).await;
    assert!(beat.is_err(), "{beat:?}");
    writes(&servers[1], "deaf").await;
    assert!(!old.leads());
    stop(servers, &wires).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_hears_but_is_not_heard_does_not_stall_the_others() {
    let (world, wires) = World::wired();
    let servers = three(&world).await;
    for other in &servers[1..] {
        wires.cut(servers[0].name(), other.name());
    }
    writes(&servers[2], "mute").await;
    stop(servers, &wires).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lost_link_deposes_no_leader_and_a_second_moves_it() {
    let (world, wires) = World::wired();
    let servers = three(&world).await;
    let [old, second, third] = &servers[..] else { panic!("three") };
    let term = old.cluster.standing().term;
    wires.sever(old.name(), second.name());
    // Far longer than the second bears silence: the third would not vote for it.
    let cut = Instant::now();
    while cut.elapsed() < Duration::from_secs(4) {
        assert_eq!(old.cluster.propose(set("on")).await, Ok(Outcome::Kv(true)));
        assert_eq!(third.cluster.propose(set("on")).await, Ok(Outcome::Kv(true)));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((old.leads(), old.cluster.standing().term), (true, term));
    wires.sever(old.name(), third.name());
    writes(third, "moved").await;
    writes(second, "both").await;
    wires.heal();
    until("all are one again", || old.has("both")).await;
    stop(servers, &wires).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_alone_comes_back_without_disturbing_the_leader() {
    let (world, wires) = World::wired();
    let servers = three(&world).await;
    let [old, second, third] = &servers[..] else { panic!("three") };
    let term = old.cluster.standing().term;
    wires.sever(second.name(), old.name());
    wires.sever(second.name(), third.name());
    writes(old, "meanwhile").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    wires.heal();
    until("it has caught up", || second.has("meanwhile")).await;
    until("it knows the leader", || second.cluster.standing().leader.is_some()).await;
    assert_eq!((old.leads(), old.cluster.standing().term), (true, term));
    stop(servers, &wires).await;
}

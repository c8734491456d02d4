//! How each fault is brought about, and how it is put right.

use std::time::Duration;

use http::Method;

use super::crew::{Crew, EDGE, SERVERS};
use super::fault::{Dealer, Fault};
use super::load::{Field, Load};
use super::node::Node;
use super::wait::eventually;

/// How long writes may take to go on while a majority of the servers is whole.
const GOES_ON: Duration = Duration::from_secs(12);
/// A fault that others may get over at once lasts this long all the same.
const LASTS: Duration = Duration::from_millis(1000);
/// Writes that are acknowledged while a fault lasts, before it is put right.
const WRITES: u64 = 20;
/// A slow disk's sync, far above a heartbeat and below an election.
const SLOW: &str = "delay_enter=120ms";
/// So large that the log needs another segment after a few of them.
const BULK: usize = 400 * 1024;
const BULK_WRITES: usize = 8;
const AT_ONCE: usize = 8;

/// Lets one fault happen and puts it right. The cluster is well before, and not yet after.
pub fn inject(fault: Fault, crew: &mut Crew, load: &Load, dealer: &mut Dealer) {
    let leader = crew.leader(load);
    let follower = (leader + 1 + dealer.pick(2)) % 3;
    match fault {
        Fault::KillLeader => kill(crew, load, leader),
        Fault::KillFollower => kill(crew, load, follower),
        Fault::KillEdge => kill(crew, load, EDGE),
        Fault::PauseLeader => pause(crew, load, leader),
        Fault::PauseFollower => pause(crew, load, follower),
        Fault::KillAll => {
            for i in crew.servers() {
                crew.nodes[i].kill();
            }
            start_all(crew);
        }
        Fault::IsolateLeader => {
            cut(crew, load, |crew, other| crew.network.cut(leader, other), leader)
        }
        Fault::DeafLeader => {
            cut(crew, load, |crew, other| crew.network.deafen(leader, other), leader);
        }
        Fault::MuteLeader => {
            cut(crew, load, |crew, other| crew.network.deafen(other, leader), leader);
        }
        Fault::CutOneLink => {
            crew.network.cut(leader, follower);
            writes_go_on(load, fault_of(crew, leader));
            crew.network.heal();
        }
        Fault::RollingRestart => roll(crew, load),
        Fault::FullDisk => fill(crew, load),
        Fault::LeaderSyncFails => fail_sync(crew, load, leader),
        Fault::FollowerSyncFails => fail_sync(crew, load, follower),
        Fault::SlowLeaderDisk => {
            crew.nodes[leader].trace(SLOW);
            writes_go_on(load, fault_of(crew, leader));
            crew.nodes[leader].untrace();
        }
        Fault::WipedDisk => wipe(crew, load, follower),
        Fault::NewAddresses => {
            crew.nodes.iter().for_each(Node::tell_to_stop);
            crew.nodes.iter_mut().for_each(Node::stopped);
            crew.move_all();
            start_all(crew);
        }
    }
}

fn fault_of(crew: &Crew, i: usize) -> String {
    format!("writes go on without {}", crew.nodes[i].name)
}

/// Waits for writes while the fault lasts.
fn writes_go_on(load: &Load, what: String) {
    let from = load.field.acknowledged();
    let begun = std::time::Instant::now();
    eventually(&what, GOES_ON, || {
        let since = load.field.acknowledged() - from;
        if since >= WRITES && begun.elapsed() >= LASTS {
            Ok(())
        } else {
            Err(format!("{since} acknowledged"))
        }
    });
}

fn start_all(crew: &mut Crew) {
    for i in 0..crew.nodes.len() {
        if !crew.nodes[i].is_running() {
            crew.launch(i);
        }
    }
}

fn kill(crew: &mut Crew, load: &Load, i: usize) {
    crew.nodes[i].kill();
    writes_go_on(load, fault_of(crew, i));
    crew.launch(i);
}

fn pause(crew: &mut Crew, load: &Load, i: usize) {
    crew.nodes[i].pause();
    writes_go_on(load, fault_of(crew, i));
    crew.nodes[i].resume();
}

/// Cuts links between one server and each other one.
fn cut(crew: &mut Crew, load: &Load, link: impl Fn(&Crew, usize), i: usize) {
    for other in crew.servers().filter(|other| *other != i) {
        link(crew, other);
    }
    writes_go_on(load, fault_of(crew, i));
    crew.network.heal();
}

fn roll(crew: &mut Crew, load: &Load) {
    for i in crew.servers() {
        crew.nodes[i].tell_to_stop();
        crew.nodes[i].stopped();
        crew.launch(i);
        crew.settle(load);
    }
}

/// The log of one server outgrows its disk; it says so, and the others go on.
fn fill(crew: &mut Crew, load: &Load) {
    let small = crew.small_disk();
    crew.nodes[small].fill();
    let value = "b".repeat(BULK);
    let agent = load.field.authority((small + 1) % SERVERS);
    for n in 0..BULK_WRITES {
        eventually("bulk is written", GOES_ON, || load.run(bulk(&load.field, &agent, n, &value)));
    }
    writes_go_on(load, fault_of(crew, small));
    // What it has, it still answers.
    let path = format!("/v1/kv/{}?recurse&stale", super::clients::PREFIX);
    let answer = load.run(load.field.asker.get(&load.field.authority(small), &path));
    answer.map_err(|why| why.to_string()).and_then(|answer| answer.good()).unwrap();
    crew.nodes[small].unfill();
}

/// Some large values at once.
async fn bulk(field: &Field, agent: &str, n: usize, value: &str) -> Result<(), String> {
    let write = |key| {
        let path = format!("/v1/kv/bulk/{key}");
        let value = value.to_owned();
        async move { field.asker.wait(Method::PUT, agent, &path, value, GOES_ON).await }
    };
    for answer in futures::future::join_all((0..AT_ONCE).map(write)).await {
        answer.map_err(|why| why.to_string())?.good().map_err(|why| format!("bulk {n}: {why}"))?;
    }
    Ok(())
}

/// A server whose sync failed acknowledges nothing more; it is started anew.
fn fail_sync(crew: &mut Crew, load: &Load, i: usize) {
    crew.nodes[i].trace("error=EIO");
    eventually("a sync fails", GOES_ON, || match crew.nodes[i].injected() {
        0 => Err("none yet".to_owned()),
        _ => Ok(()),
    });
    writes_go_on(load, fault_of(crew, i));
    crew.nodes[i].kill();
    crew.launch(i);
}

fn wipe(crew: &mut Crew, load: &Load, i: usize) {
    crew.nodes[i].kill();
    crew.nodes[i].wipe();
    writes_go_on(load, fault_of(crew, i));
    crew.launch(i);
}

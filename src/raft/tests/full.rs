//! Full disks: writes are refused, reads go on, and nothing needs a restart once there is room.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::raft::tests::faulty::{Faulty, Shared};
use crate::raft::{Config, ProposeError, Raft};
use crate::replica;
use crate::state::Part;
use crate::telemetry::Metrics;

use super::world::{CHUNK, Cluster, Nowhere, config, dir, found, put};

async fn alone(config: Config, disk: &Arc<Faulty>) -> Raft {
    let (writer, _) = replica::new(Part::Server);
    let disk = Arc::new(Shared(disk.clone()));
    let opened = Raft::open_on(disk, config, writer, Arc::new(Nowhere), &Metrics::default()).await;
    let raft = opened.unwrap();
    raft.found().await.unwrap();
    raft.propose(found()).await.unwrap();
    raft
}

async fn until_written(raft: &Raft, key: &str, size: usize) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while raft.propose(put(key, vec![7; size])).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "{key} is never taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_are_refused_reads_go_on_and_both_come_back() {
    let (dir, disk) = (dir(), Arc::new(Faulty::default()));
    let raft = alone(config(1, &dir), &disk).await;
    disk.full.store(true, Ordering::SeqCst);
    let refused = loop {
        if let Err(error) = raft.propose(put("k", vec![7; 4000])).await {
            break error;
        }
    };
    assert_eq!(refused, ProposeError::DiskFull);
    assert!(raft.is_full());
    assert!(raft.read_index().await.is_ok(), "reads go on");
    disk.full.store(false, Ordering::SeqCst);
    until_written(&raft, "again", 4000).await;
    assert!(!raft.is_full());
    raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_larger_than_what_is_left_is_refused_while_smaller_ones_pass() {
    let (dir, disk) = (dir(), Arc::new(Faulty::default()));
    let raft = alone(config(1, &dir), &disk).await;
    disk.full.store(true, Ordering::SeqCst);
    // Goes over to the spare, and so finds that there can be no other.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !raft.is_full() {
        raft.propose(put("k", vec![7; 4000])).await.unwrap();
        assert!(tokio::time::Instant::now() < deadline, "it never runs short");
    }
    let refused = raft.propose(put("large", vec![7; 60_000])).await;
    assert_eq!(refused.err(), Some(ProposeError::DiskFull));
    raft.propose(put("small", "v")).await.unwrap();
    disk.full.store(false, Ordering::SeqCst);
    until_written(&raft, "large", 60_000).await;
    raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_finds_no_room_leaves_nothing_behind() {
    let (dir, disk) = (dir(), Arc::new(Faulty::default()));
    let raft = alone(config(1, &dir), &disk).await;
    let noise: Vec<u8> = std::iter::repeat_with(rand::random).take(50_000).collect();
    raft.propose(put("k", noise)).await.unwrap();
    disk.room.store(20_000, Ordering::SeqCst);
    raft.snapshot_now().await.unwrap_err();
    let files = || std::fs::read_dir(dir.path().join("snapshots")).unwrap().count();
    assert_eq!(files(), 0, "what was half written is gone");
    disk.room.store(0, Ordering::SeqCst);
    disk.full.store(false, Ordering::SeqCst);
    until_written(&raft, "after", 1).await;
    raft.snapshot_now().await.unwrap();
    assert_eq!(files(), 1);
    raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tail_that_is_kept_is_bounded_in_bytes() {
    let (dir, disk) = (dir(), Arc::new(Faulty::default()));
    let mut config = config(1, &dir);
    (config.sizes.keep_entries, config.sizes.keep_bytes) = (1000, 10_000);
    let raft = alone(config, &disk).await;
    let mut last = 0;
    for number in 0..20 {
        let (_, at) = raft.propose(put(&format!("k{number}"), vec![7; 4000])).await.unwrap();
        last = at.index;
    }
    raft.snapshot_now().await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while raft.first_entry() != last - 1 {
        assert!(tokio::time::Instant::now() < deadline, "{} of {last}", raft.first_entry());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    raft.shutdown().await;
}

#[test]
fn where_every_disk_is_full_nobody_is_asked_to_lead() {
    let cluster = Cluster::new(3);
    let leader = cluster.leader();
    let term = cluster.status(leader).term;
    (1..=3).for_each(|id| cluster.disk(id).full.store(true, Ordering::SeqCst));
    let raft = cluster.raft(leader);
    let refused = loop {
        match cluster.block_on(raft.propose(put("k", vec![7; 4000]))) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, ProposeError::DiskFull | ProposeError::Unknown(_)), "{refused}");
    // Longer than the upkeep takes to look, and to look again.
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(100));
        assert!(cluster.block_on(raft.read_index()).is_ok(), "reads go on");
    }
    assert_eq!((cluster.leader(), cluster.status(leader).term), (leader, term));
    (1..=3).for_each(|id| cluster.disk(id).full.store(false, Ordering::SeqCst));
    cluster.write("after");
    cluster.all_have(&["after".to_owned()]);
}

#[test]
fn a_follower_without_room_is_given_its_snapshot_once_it_has() {
    let cluster = Cluster::new(3);
    let leader = cluster.leader();
    let behind = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    cluster.cut(behind);
    let keys: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
    keys.iter().for_each(|key| cluster.write_noise(key, CHUNK));
    cluster.snapshot(leader);
    cluster.wait("the log is purged", || cluster.first_entry(leader) > 20);
    cluster.disk(behind).room.store(5 * CHUNK as u64, Ordering::SeqCst);
    cluster.heal();
    cluster.wait("it runs out of room", || cluster.disk(behind).full.load(Ordering::SeqCst));
    cluster.write("meanwhile");
    cluster.wait("what was received is gone", || cluster.snapshot_files(behind).is_empty());
    cluster.disk(behind).room.store(0, Ordering::SeqCst);
    cluster.disk(behind).full.store(false, Ordering::SeqCst);
    cluster.all_have(&keys);
    cluster.all_have(&["meanwhile".to_owned()]);
}

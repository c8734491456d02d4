//! Snapshots on their way to a server that is behind: broken off, gone on with, replaced, damaged.

use super::world::{CHUNK, Cluster};

/// A cluster with a server that is cut off, and a leader whose log does not reach back to it. The
/// snapshot has at least `pieces` full pieces.
fn behind(pieces: usize) -> (Cluster, u64, u64, Vec<String>) {
    let cluster = Cluster::new(3);
    let leader = cluster.leader();
    let behind = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    cluster.cut(behind);
    let keys: Vec<String> = (0..pieces).map(|number| format!("k{number}")).collect();
    keys.iter().for_each(|key| cluster.write_noise(key, CHUNK));
    cluster.snapshot(leader);
    let last = pieces as u64;
    cluster.wait("the log is purged", || cluster.first_entry(leader) >= last);
    (cluster, leader, behind, keys)
}

fn incoming(cluster: &Cluster, id: u64) -> Option<u64> {
    let mut files = cluster.snapshot_files(id).into_iter();
    files.find(|(name, _)| name.starts_with("incoming-")).map(|(_, len)| len)
}

#[test]
fn a_transfer_that_was_broken_off_goes_on_where_it_was() {
    let (mut cluster, leader, behind, keys) = behind(40);
    let whole = cluster.snapshot_files(leader)[0].1 as usize;
    cluster.stop_pieces_at(Some(15));
    cluster.heal();
    cluster.wait("it breaks off", || cluster.pieces() == 15);
    let there = 15 * CHUNK as u64;
    cluster.wait("what came is on disk", || incoming(&cluster, behind) == Some(there));
    // The receiver is another one by then, with what it had on disk.
    cluster.kill(behind);
    cluster.start(behind);
    assert_eq!(incoming(&cluster, behind), Some(there));
    cluster.stop_pieces_at(None);
    cluster.all_have(&keys);
    // Bodies that are shorter than a piece are not counted: the last one.
    assert_eq!(cluster.pieces(), whole / CHUNK, "no piece was sent twice");
    assert_eq!(incoming(&cluster, behind), None);
}

#[test]
fn a_snapshot_that_was_replaced_meanwhile_is_sent_from_its_beginning() {
    let (cluster, leader, behind, mut keys) = behind(20);
    cluster.stop_pieces_at(Some(10));
    cluster.heal();
    cluster.wait("it breaks off", || cluster.pieces() == 10);
    cluster.write_noise("later", CHUNK);
    keys.push("later".to_owned());
    cluster.snapshot(leader);
    cluster.wait("only the new one is kept", || {
        let files = cluster.snapshot_files(leader);
        files.len() == 1 && cluster.first_entry(leader) > 21
    });
    let whole = cluster.snapshot_files(leader)[0].1 as usize;
    cluster.stop_pieces_at(None);
    cluster.all_have(&keys);
    assert_eq!(cluster.pieces(), 10 + whole / CHUNK);
    let left: Vec<_> = cluster.snapshot_files(behind).into_iter().map(|(name, _)| name).collect();
    assert!(left.iter().all(|name| name.ends_with(".snap")), "{left:?}");
}

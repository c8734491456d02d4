//! Three servers: leaders die, links are cut, followers lag, and nothing acknowledged is lost.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::model::NodeId;
use crate::raft::{ProposeError, ReadIndexError, Role};

use super::world::{Cluster, PATIENCE, found, put};

#[test]
fn writes_reach_all_and_outlive_the_leader() {
    let mut cluster = Cluster::new(3);
    let mut acknowledged = Vec::new();
    for number in 0..30 {
        let key = format!("before-{number}");
        cluster.write(&key);
        acknowledged.push(key);
    }
    let leader = cluster.leader();
    cluster.kill(leader);
    let next = cluster.leader();
    assert_ne!(next, leader);
    for number in 0..30 {
        let key = format!("after-{number}");
        cluster.write(&key);
        acknowledged.push(key);
    }
    cluster.start(leader);
    cluster.all_have(&acknowledged);
    let term = cluster.status(next).term;
    cluster.stop_all();
    for id in [1, 2, 3] {
        cluster.start(id);
    }
    cluster.all_have(&acknowledged);
    assert!(cluster.status(cluster.leader()).term > term);
}

#[test]
fn a_follower_far_behind_is_given_a_snapshot() {
    let cluster = Cluster::new(3);
    let leader = cluster.leader();
    let behind = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    cluster.cut(behind);
    let keys: Vec<String> = (0..60).map(|number| format!("k{number}")).collect();
    keys.iter().for_each(|key| cluster.write(key));
    cluster.snapshot(leader);
    cluster.wait("the log before the snapshot is purged", || cluster.first_entry(leader) > 50);
    cluster.heal();
    cluster.all_have(&keys);
    assert!(cluster.has_snapshot(behind));
}

#[test]
fn a_leader_without_a_quorum_says_so() {
    let cluster = Cluster::new(3);
    let leader = cluster.leader();
    cluster.write("before");
    cluster.cut(leader);
    let alone = cluster.raft(leader);
    let answer = cluster.block_on(alone.propose(put("lost", "v"))).unwrap_err();
    assert!(
        matches!(answer, ProposeError::Unknown(_) | ProposeError::NotLeader { .. }),
        "{answer}"
    );
    let answer = cluster.block_on(alone.read_index()).unwrap_err();
    assert!(
        matches!(answer, ReadIndexError::NoQuorum | ReadIndexError::NotLeader { .. }),
        "{answer}"
    );
    cluster.wait("the others elect a leader", || {
        [1, 2, 3].iter().any(|id| *id != leader && cluster.status(*id).leads())
    });
    cluster.write("meanwhile");
    cluster.heal();
    cluster.all_have(&["before".to_owned(), "meanwhile".to_owned()]);
}

#[test]
fn an_isolated_follower_disturbs_nobody_when_it_returns() {
    let cluster = Cluster::new(3);
    let leader = cluster.leader();
    let term = cluster.status(leader).term;
    let follower = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    cluster.cut(follower);
    // Long enough for it to ask for votes again and again, had it been let.
    std::thread::sleep(Duration::from_secs(2));
    cluster.heal();
    cluster.write("after");
    cluster.all_have(&["after".to_owned()]);
    assert_eq!(cluster.status(leader).term, term);
    assert!(cluster.status(leader).leads());
}

#[test]
fn leadership_moves_on_request() {
    let cluster = Cluster::new(3);
    let leader = cluster.leader();
    let to = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    cluster.wait("it has the log", || {
        let status = cluster.status(leader);
        status.matched.get(&NodeId(to)).copied().flatten() == status.last_log.map(|at| at.index)
    });
    cluster.block_on(cluster.raft(leader).transfer_leader(NodeId(to))).unwrap();
    cluster.wait("the other one leads", || cluster.status(to).leads());
    let heir = Some(NodeId(to));
    cluster.wait("the one before knows", || cluster.status(leader).leader == heir);
    let refused = cluster.block_on(cluster.raft(leader).propose(put("k", "v"))).unwrap_err();
    assert_eq!(refused, ProposeError::NotLeader { leader: heir });
}

#[test]
fn members_come_and_go() {
    let cluster = Cluster::new(3);
    let leader = cluster.leader();
    let gone = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    let stay: BTreeSet<NodeId> =
        [1, 2, 3].into_iter().filter(|id| *id != gone).map(NodeId).collect();
    let raft = cluster.raft(leader);
    let first = raft.membership();
    cluster.block_on(raft.change_voters(stay.clone())).unwrap();
    cluster.wait("it is a learner", || cluster.status(leader).learners == [NodeId(gone)]);
    cluster.block_on(raft.remove(NodeId(gone))).unwrap();
    cluster.wait("it is out", || {
        let status = cluster.status(leader);
        status.learners.is_empty() && status.voters.iter().copied().collect::<BTreeSet<_>>() == stay
    });
    let last = raft.membership();
    assert!(last > first, "{last} says who they are, {first} before");
    cluster.write("still");
    assert_eq!(raft.membership(), last);
}

#[test]
fn a_read_index_covers_what_was_acknowledged() {
    let cluster = Cluster::new(3);
    let raft = cluster.raft(cluster.leader());
    for number in 0..20 {
        let (_, at) = cluster.block_on(raft.propose(put(&number.to_string(), "v"))).unwrap();
        assert!(cluster.block_on(raft.read_index()).unwrap() >= at.index);
    }
    let follower = [1, 2, 3].into_iter().find(|id| !cluster.status(*id).leads()).unwrap();
    let refused = cluster.block_on(cluster.raft(follower).read_index()).unwrap_err();
    assert_eq!(refused, ReadIndexError::NotLeader { leader: Some(raft.id()) });
    assert!(cluster.block_on(raft.propose(found())).is_ok());
}

#[test]
fn a_leader_whose_disk_fails_stops_and_another_leads() {
    let cluster = Cluster::new(3);
    let leader = cluster.leader();
    cluster.write("before");
    cluster.disk(leader).sync_fails.store(true, Ordering::SeqCst);
    let failed = cluster.raft(leader);
    let answer = cluster.block_on(failed.propose(put("doubtful", "v")));
    assert!(matches!(answer, Ok(_) | Err(ProposeError::Unknown(_))), "{answer:?}");
    cluster.wait("it has stopped", || cluster.status(leader).role == Role::Stopped);
    let answer = cluster.block_on(failed.propose(put("refused", "v"))).unwrap_err();
    assert!(matches!(answer, ProposeError::Stopped(_)), "{answer}");
    cluster.write("after");
    assert_ne!(cluster.leader(), leader);
}

#[test]
fn a_leader_whose_disk_is_full_steps_aside_and_comes_back() {
    let cluster = Cluster::new(3);
    let leader = cluster.leader();
    cluster.disk(leader).full.store(true, Ordering::SeqCst);
    let mut keys = Vec::new();
    while cluster.leader() == leader {
        let key = format!("k{}", keys.len());
        cluster.write_large(&key);
        keys.push(key);
        assert!(keys.len() < 200, "it never steps aside");
    }
    cluster.write("meanwhile");
    keys.push("meanwhile".to_owned());
    assert_ne!(cluster.status(leader).role, Role::Stopped);
    cluster.disk(leader).full.store(false, Ordering::SeqCst);
    cluster.all_have(&keys);
}

/// Kills a follower and has it come back with what `damage` leaves of its log.
fn come_back_without(damage: impl Fn(&mut Cluster, u64)) {
    let mut cluster = Cluster::led_by_the_first(3);
    let leader = cluster.leader();
    for number in 0..20 {
        cluster.write(&format!("before-{number}"));
    }
    let last = ["before-19".to_owned()];
    cluster.all_have(&last);
    let lost = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    cluster.wait("it has acknowledged everything", || {
        let status = cluster.status(leader);
        status.matched.get(&NodeId(lost)).copied().flatten() == status.last_log.map(|at| at.index)
    });
    let acknowledged = cluster.status(leader).last_log;
    cluster.kill(lost);
    damage(&mut cluster, lost);
    cluster.start(lost);
    let told = cluster.raft(lost);
    cluster.block_on(async { tokio::time::timeout(PATIENCE, told.until_lost()).await }).unwrap();
    assert_eq!(cluster.raft(leader).lost_servers(), [NodeId(lost)]);
    for number in 0..10 {
        cluster.write(&format!("after-{number}"));
    }
    let last = cluster.status(lost).last_log;
    assert!(last.map(|at| at.index) < acknowledged.map(|at| at.index), "it is given nothing more");
    assert!(cluster.status(leader).leads());
    let other = [1, 2, 3].into_iter().find(|id| *id != leader && *id != lost).unwrap();
    assert!(cluster.raft(other).lost_servers().is_empty());
}

/// In a debug build openraft panics where a follower's log has become shorter, in a release build
/// it believes it: neither must come to pass. These tests run with debug assertions.
#[test]
fn a_server_that_lost_its_log_is_given_nothing_more() {
    const { assert!(cfg!(debug_assertions)) };
    come_back_without(|cluster, lost| cluster.wipe(lost));
}

#[test]
fn a_server_whose_log_was_shortened_is_given_nothing_more() {
    come_back_without(|cluster, lost| cluster.shorten(lost, 5));
}

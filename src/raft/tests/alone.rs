//! One server: what was acknowledged is there after every restart.

use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::model::{NodeId, limits};
use crate::raft::{Config, LogMark, Marker, OpenError, ProposeError, Raft, Role};
use crate::replica::{self, Replica};
use crate::state::{Outcome, Part};
use crate::telemetry::Metrics;

use super::world::{Nowhere, config, dir, found, put};

async fn open(dir: &TempDir) -> Result<(Raft, Replica), OpenError> {
    let (writer, replica) = replica::new(Part::Server);
    let raft = Raft::open(config(1, dir), writer, Arc::new(Nowhere), &Metrics::default()).await?;
    Ok((raft, replica))
}

async fn leads(raft: &Raft) {
    raft.status().wait_for(|status| status.leads()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_recovers_everything() {
    let dir = dir();
    let (raft, replica) = open(&dir).await.unwrap();
    raft.found().await.unwrap();
    let (outcome, _) = raft.propose(found()).await.unwrap();
    assert_eq!(outcome, Outcome::Admitted { id: NodeId(1), cluster: 7 });
    for number in 0..20 {
        raft.propose(put(&format!("k{number}"), "v")).await.unwrap();
    }
    raft.status().wait_for(|status| status.synced).await.unwrap();
    let before = replica.snapshot();
    raft.shutdown().await;
    drop(raft);

    let (raft, replica) = open(&dir).await.unwrap();
    leads(&raft).await;
    let index = raft.read_index().await.unwrap();
    replica.wait_for(index).await;
    let after = replica.snapshot();
    assert_eq!(after.revision(), before.revision());
    assert!(after.key(b"k19").is_some());
    let status = raft.status().borrow().clone();
    assert_eq!((status.role, status.voters.clone()), (Role::Leader, vec![NodeId(1)]));
    let (_, at) = raft.propose(put("more", "v")).await.unwrap();
    assert!(at.index > index && at.term > 1);
    raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_never_founded_leads_nobody() {
    let dir = dir();
    let (raft, _) = open(&dir).await.unwrap();
    let refused = raft.propose(put("k", "v")).await;
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: None }));
    assert!(!raft.status().borrow().synced);
    raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_is_told_who_holds_the_directory() {
    let dir = dir();
    let (raft, _) = open(&dir).await.unwrap();
    let error = open(&dir).await.err().unwrap();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_begins_with_the_snapshot_where_the_log_is_purged() {
    let dir = dir();
    let (raft, _) = open(&dir).await.unwrap();
    raft.found().await.unwrap();
    raft.propose(found()).await.unwrap();
    for number in 0..100 {
        raft.propose(put(&format!("k{number}"), vec![7; 2000])).await.unwrap();
    }
    raft.snapshot_now().await.unwrap();
    while raft.first_entry() < 90 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    raft.propose(put("last", "v")).await.unwrap();
    raft.shutdown().await;
    // Five segments' worth was written; what was purged is free for another life.
    let (raft, replica) = open(&dir).await.unwrap();
    leads(&raft).await;
    replica.wait_for(raft.read_index().await.unwrap()).await;
    let state = replica.snapshot();
    assert!((0..100).all(|number| state.key(format!("k{number}").as_bytes()).is_some()));
    assert!(state.key(b"last").is_some());
    raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_taken_when_the_log_has_grown() {
    let dir = dir();
    let (writer, _) = replica::new(Part::Server);
    let mut config = config(1, &dir);
    config.sizes.snapshot_bytes = 20_000;
    let raft = Raft::open(config, writer, Arc::new(Nowhere), &Metrics::default()).await.unwrap();
    raft.found().await.unwrap();
    raft.propose(found()).await.unwrap();
    for _ in 0..20 {
        raft.propose(put("k", vec![7; 2000])).await.unwrap();
    }
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while raft.first_entry() == 0 {
        assert!(tokio::time::Instant::now() < deadline, "nothing was purged");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    raft.shutdown().await;
}

async fn refusal(dir: &TempDir) -> OpenError {
    open(dir).await.err().unwrap()
}

/// A founded log that was closed, with this many keys.
async fn closed(keys: u64) -> TempDir {
    let dir = dir();
    let (raft, _) = open(&dir).await.unwrap();
    raft.found().await.unwrap();
    raft.propose(found()).await.unwrap();
    for number in 0..keys {
        raft.propose(put(&format!("k{number}"), "v")).await.unwrap();
    }
    if keys > 20 {
        raft.snapshot_now().await.unwrap();
        while raft.first_entry() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    raft.shutdown().await;
    dir
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_log_is_refused() {
    let dir = closed(3).await;
    let (writer, _) = replica::new(Part::Server);
    let mark = Some(LogMark { incarnation: 1, floor: 1000 });
    let marked = Config { mark, ..config(1, &dir) };
    let opened = Raft::open(marked, writer, Arc::new(Nowhere), &Metrics::default()).await;
    let error = opened.err().unwrap();
    assert!(matches!(error, OpenError::LogLost { known: 1000, .. }), "{error}");

    std::fs::remove_dir_all(dir.path().join("wal")).unwrap();
    let (writer, _) = replica::new(Part::Server);
    let mark = Some(LogMark { incarnation: 1, floor: 0 });
    let marked = Config { mark, ..config(1, &dir) };
    let opened = Raft::open(marked, writer, Arc::new(Nowhere), &Metrics::default()).await;
    let error = opened.err().unwrap();
    assert!(matches!(error, OpenError::LogLost { known: 0, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_far_the_log_is_for_good_is_written_down_before_it_is_acknowledged() {
    let dir = dir();
    let marks: Arc<Mutex<Vec<LogMark>>> = Arc::default();
    let seen = marks.clone();
    let keep = move |mark| {
        seen.lock().unwrap().push(mark);
        Ok(())
    };
    let config = Config { marker: Marker(Arc::new(keep)), ..config(1, &dir) };
    let (writer, _) = replica::new(Part::Server);
    let opened = Raft::open(config.clone(), writer, Arc::new(Nowhere), &Metrics::default()).await;
    let raft = opened.unwrap();
    let first = marks.lock().unwrap().clone();
    assert!(matches!(first.as_slice(), [LogMark { floor: 0, .. }]), "made: {first:?}");
    raft.found().await.unwrap();
    let (_, at) = raft.propose(found()).await.unwrap();
    let last = *marks.lock().unwrap().last().unwrap();
    assert!(last.floor >= 1 && last.floor <= at.index, "{last:?}");
    // Enough for several segments.
    let mut last_at = at;
    for number in 0..40 {
        let (_, at) = raft.propose(put(&format!("k{number}"), vec![7; 8 * 1024])).await.unwrap();
        last_at = at;
    }
    let marks = marks.lock().unwrap().clone();
    assert!(marks.is_sorted_by_key(|mark| mark.floor), "{marks:?}");
    assert!(marks.iter().all(|mark| mark.incarnation == first[0].incarnation));
    let last = marks.last().unwrap();
    assert!(last.floor > 20 && last.floor <= last_at.index, "with each segment: {marks:?}");
    raft.shutdown().await;
    drop(raft);
    let (writer, _) = replica::new(Part::Server);
    let config = Config { mark: Some(*last), ..config };
    let opened = Raft::open(config, writer, Arc::new(Nowhere), &Metrics::default()).await;
    opened.unwrap().shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_or_missing_snapshot_is_refused_with_its_name() {
    let dir = closed(30).await;
    let snapshots = std::fs::read_dir(dir.path().join("snapshots")).unwrap();
    let path = snapshots.map(|file| file.unwrap().path()).next().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = refusal(&dir).await;
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error = refusal(&dir).await;
    assert!(matches!(error, OpenError::SnapshotMissing { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_cannot_be_used_is_named() {
    let dir = dir();
    let file = dir.path().join("file");
    std::fs::write(&file, "no directory").unwrap();
    let (writer, _) = replica::new(Part::Server);
    let config = Config::new(NodeId(1), &file);
    let opened = Raft::open(config, writer, Arc::new(Nowhere), &Metrics::default()).await;
    let error = opened.err().unwrap();
    assert!(error.to_string().starts_with(&format!("data_dir {}", file.display())), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_too_large_is_never_appended() {
    let dir = dir();
    let (raft, _) = open(&dir).await.unwrap();
    raft.found().await.unwrap();
    let refused = raft.propose(put("k", vec![0; limits::LOG_COMMAND + 1])).await.unwrap_err();
    assert!(matches!(refused, ProposeError::TooLarge { .. }), "{refused}");
    raft.shutdown().await;
}

//! One server: what was acknowledged is there after every restart.

use std::sync::Arc;

use tempfile::TempDir;

use crate::model::NodeId;
use crate::raft::{OpenError, ProposeError, Raft, Role};
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

//! Backups over a live cluster, and a cluster that goes on from one server.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;

use super::world::{Agent, World, until};
use crate::cluster::{Consistency, RestoreError, Restored, Survivor};
use crate::replica::Topic;
use crate::state::{BackupError, Outcome};

fn backup(agent: &Agent) -> Vec<u8> {
    let mut bytes = Vec::new();
    agent.cluster.snapshot().back_up(&mut bytes).unwrap();
    bytes
}

/// In pieces of that size.
async fn restore(agent: &Agent, bytes: &[u8], size: usize) -> Result<Restored, RestoreError> {
    let pieces = bytes.chunks(size).map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)));
    let restored = agent.cluster.restore(stream::iter(pieces)).await;
    restored.unwrap_or_else(|never| match never {})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_restored_over_servers_and_edges() {
    let world = World::new();
    let servers = world.servers(3).await;
    let edge = Agent::start(world.edge("e1", &[servers[0].addr()])).await;
    edge.synced().await;
    for key in ["a", "b"] {
        servers[0].put(key, "saved").await;
    }
    servers[1].cluster.read(Consistency::Linearizable).await.unwrap();
    let bytes = backup(&servers[1]);
    servers[0].put("a", "changed").await;
    servers[0].put("c", "later").await;
    until("the edge has it", || edge.has("c")).await;
    let before = edge.cluster.snapshot().revision();
    let members: Vec<_> = servers[0].cluster.snapshot().members().cloned().collect();
    let mut waiting = edge.cluster.watch([Topic::Key("b".into())]);

    let restored = restore(&servers[1], &bytes, 100).await.unwrap();
    assert_eq!(restored.keys, 2);
    assert!(restored.revision > before);
    tokio::time::timeout(Duration::from_secs(10), waiting.changed()).await.expect("it wakes");
    for agent in servers.iter().chain([&edge]) {
        until("it is all as it was", || {
            let state = agent.cluster.snapshot();
            let value = state.key(b"a").map(|row| row.value.clone());
            state.revision() == restored.revision
                && value.as_deref() == Some(b"saved")
                && state.key(b"c").is_none()
        })
        .await;
        let state = agent.cluster.snapshot();
        assert_eq!(state.members().cloned().collect::<Vec<_>>(), members);
    }
    assert_eq!(edge.put("after", "v").await, Outcome::Kv(true));
    until("it goes on", || servers.iter().all(|server| server.has("after"))).await;
    edge.stop().await;
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_or_broken_off_leaves_the_old_state() {
    let world = World::new();
    let server = Agent::start(world.server("s1", &[])).await;
    server.put("old", "v").await;
    let bytes = backup(&server);
    server.put("new", "v").await;
    let lineage = server.cluster.snapshot().identity().lineage;

    let mut damaged = bytes.clone();
    let middle = damaged.len() - 20;
    damaged[middle] ^= 1;
    let refused = restore(&server, &damaged, damaged.len()).await.unwrap_err();
    assert!(matches!(refused, RestoreError::Refused(_) | RestoreError::Backup(_)), "{refused}");

    let refused = restore(&server, b"no backup at all", 16).await.unwrap_err();
    assert!(matches!(refused, RestoreError::Backup(_)), "{refused}");

    let refused = restore(&server, b"", 1).await.unwrap_err();
    assert_eq!(refused, RestoreError::Backup(BackupError::Short(0)));
    assert!(server.cluster.snapshot().staging().is_none());

    let half = Bytes::copy_from_slice(&bytes[..bytes.len() / 2]);
    let broken = server.cluster.restore(stream::iter([Ok(half), Err("it hung up")])).await;
    assert_eq!(broken, Err("it hung up"));
    assert!(server.has("new") && server.has("old"));
    assert_eq!(server.cluster.snapshot().identity().lineage, lineage);
    assert!(server.cluster.snapshot().staging().is_none());

    restore(&server, &bytes, bytes.len()).await.unwrap();
    assert!(server.has("old") && !server.has("new"));
    assert_ne!(server.cluster.snapshot().identity().lineage, lineage);
    // All of it is in the log: a restart comes to the same.
    let (revision, config) = (server.cluster.snapshot().revision(), server.stop().await);
    let server = Agent::start(config).await;
    server.synced().await;
    assert_eq!(server.cluster.snapshot().revision(), revision);
    assert!(server.has("old") && !server.has("new"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_that_is_left_recovers_the_cluster() {
    let world = World::new();
    let mut servers = world.servers(3).await;
    servers[0].put("kept", "v").await;
    until("all have it", || servers.iter().all(|server| server.has("kept"))).await;
    let running = Survivor::open(&world.path("s2")).err().unwrap();
    assert!(running.to_string().contains("another process"), "{running}");
    let third = servers.pop().unwrap().stop().await;
    let second = servers.pop().unwrap().stop().await;
    let first = servers.pop().unwrap().stop().await;
    for lost in [&first, &third] {
        std::fs::remove_dir_all(lost.data_dir.as_ref().unwrap()).unwrap();
    }

    let survivor = Survivor::open(&world.path("s2")).unwrap();
    let (id, before) = (survivor.id(), survivor.state().clone());
    assert_eq!(survivor.voters().len(), 3);
    assert!(survivor.state().key(b"kept").is_some());
    survivor.recover().await.unwrap();
    let alone = Agent::start(second).await;
    alone.synced().await;
    until("it leads", || alone.leads()).await;
    assert_eq!(alone.put("after", "v").await, Outcome::Kv(true));
    let was = before.member(id).unwrap().peer_addr;
    until("the table shows where it is now", || alone.addr() != was).await;
    let state = alone.cluster.snapshot();
    assert!(state.key(b"kept").is_some());
    assert_eq!(state.members().map(|member| member.id).collect::<Vec<_>>(), [id]);
    assert_ne!(state.identity().lineage, before.identity().lineage);

    let join = [alone.addr()];
    let again = [
        Agent::start(world.server("s1", &join)).await,
        Agent::start(world.server("s3", &join)).await,
    ];
    until("all three vote", || alone.cluster.standing().voters.len() == 3).await;
    for agent in &again {
        assert!(agent.cluster.standing().id.0 >= before.identity().next_node + 1024);
        until("it has everything", || agent.has("kept") && agent.has("after")).await;
    }
    for agent in again.into_iter().chain([alone]) {
        agent.stop().await;
    }
}

//! What ten thousand leases cost the leader: messages, and no entry of the log.

use std::time::{Duration, Instant};

use futures::future::join_all;

use super::world::{Agent, World, until};
use crate::cluster::confirms::MERGE;
use crate::cluster::{Alive, Beat};
use crate::model::LeaseId;
use crate::state::{Command, Outcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_leases_through_two_servers_cost_few_messages_and_no_entries() {
    let world = World::new();
    let servers = world.servers(3).await;
    until("a leader is known", || servers.iter().any(Agent::leads)).await;
    let (leaders, others): (Vec<&Agent>, Vec<&Agent>) =
        servers.iter().partition(|server| server.leads());
    let (leader, ttl) = (leaders[0], Duration::from_secs(60));
    let ids: Vec<LeaseId> = (1..=10_000).map(LeaseId).collect();
    for some in ids.chunks(1000) {
        let grants = some.iter().map(|id| Command::LeaseGrant { id: *id, ttl });
        let granted = join_all(grants.map(|grant| leader.cluster.propose(grant))).await;
        assert!(granted.iter().all(|outcome| *outcome == Ok(Outcome::Done)));
    }
    let messages = || leader.metric("cluster_confirmations_total");
    let (before, entries) = (messages(), leader.cluster.snapshot().applied().index);
    let begun = Instant::now();
    for _ in 0..2 {
        let beats = ids.iter().map(|id| {
            let through = others[usize::try_from(id.0).unwrap() % 2];
            through.cluster.keep_alive(Beat::Lease(*id))
        });
        let alive = join_all(beats).await;
        assert!(alive.iter().all(|alive| *alive == Ok(Alive::For(ttl))));
    }
    // Each server sends at most one in that time, and one at once.
    let took = begun.elapsed().as_millis();
    let most = 2 * (took / MERGE.as_millis() + 1);
    let sent = u128::from(messages() - before);
    assert!(sent <= most, "{sent} messages in {took} ms");
    assert!(sent >= 2);
    let written = leader.cluster.snapshot().applied().index - entries;
    assert!(written <= 2, "{written} entries");
    for server in servers {
        server.stop().await;
    }
}

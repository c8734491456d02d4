//! Since when each server has been as it is, there or silent, as far as this agent has seen.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::model::{NodeId, Role};
use crate::replica::{Replica, Topic};
use crate::state::State;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    there: bool,
    since: SystemTime,
}

/// As many as there are servers. Of one that it has never looked at it knows only how long it has
/// been looking itself.
#[derive(Debug)]
pub(super) struct Steady {
    began: SystemTime,
    seen: Mutex<BTreeMap<NodeId, Seen>>,
}

impl Steady {
    pub fn new(began: SystemTime) -> Steady {
        Steady { began, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<NodeId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs on every agent. A server's presence is in the state, so that all see the same changes.
    pub async fn watch(&self, replica: &Replica) {
        let mut watch = replica.watch([Topic::Members, Topic::Presences]);
        loop {
            self.note(&replica.snapshot(), SystemTime::now());
            watch.changed().await;
        }
    }

    fn note(&self, state: &State, now: SystemTime) {
        let servers = state.members().filter(|member| member.role == Role::Server);
        let there = servers.map(|member| (member.id, state.is_there(member)));
        let mut seen = self.seen();
        let before = std::mem::take(&mut *seen);
        *seen = there
            .map(|(id, there)| match before.get(&id) {
                Some(known) if known.there == there => (id, *known),
                _ => (id, Seen { there, since: now }),
            })
            .collect();
    }

    pub fn since(&self, id: NodeId) -> SystemTime {
        self.seen().get(&id).map_or(self.began, |seen| seen.since)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::cluster::Cluster;
    use crate::model::{Health, NodeName, Source};
    use crate::state::{CatalogOp, Command, NodeDef, presence_check};

    async fn report(cluster: &Cluster, status: Health) {
        let node = cluster.name().folded();
        let def = presence_check();
        let row = NodeDef {
            name: "n1".into(),
            agent: Some(NodeId(1)),
            uuid: String::new(),
            address: "127.0.0.1".into(),
            tagged_addresses: Default::default(),
            meta: Default::default(),
            presence_ttl: Duration::from_secs(10),
        };
        let (output, source) = (String::new(), Source::Config);
        let check = CatalogOp::PutCheck { node, def, status, output, source };
        let ops = vec![CatalogOp::PutNode(row), check];
        cluster.propose(Command::Catalog(ops)).await.expect("an outcome");
    }

    #[tokio::test]
    async fn only_a_change_of_how_a_server_is_begins_anew() {
        let cluster = Cluster::solo(NodeName::new("n1").expect("a name"));
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let steady = Steady::new(at(1));
        assert_eq!(steady.since(NodeId(1)), at(1));
        steady.note(&cluster.snapshot(), at(2));
        report(&cluster, Health::Passing).await;
        for (now, since) in [(3, 3), (4, 3)] {
            steady.note(&cluster.snapshot(), at(now));
            assert_eq!(steady.since(NodeId(1)), at(since));
        }
        report(&cluster, Health::Critical).await;
        for (now, since) in [(5, 5), (6, 5)] {
            steady.note(&cluster.snapshot(), at(now));
            assert_eq!(steady.since(NodeId(1)), at(since));
        }
        // Of who is no server nothing is kept.
        assert_eq!(steady.since(NodeId(9)), at(1));
    }

    #[tokio::test]
    async fn a_change_is_seen_as_it_comes() {
        let cluster = Cluster::solo(NodeName::new("n1").expect("a name"));
        report(&cluster, Health::Passing).await;
        let steady = std::sync::Arc::new(Steady::new(UNIX_EPOCH));
        let (watching, replica) = (steady.clone(), cluster.replica.clone());
        tokio::spawn(async move { watching.watch(&replica).await });
        while steady.seen().get(&NodeId(1)).is_none_or(|seen| !seen.there) {
            tokio::task::yield_now().await;
        }
        report(&cluster, Health::Critical).await;
        while steady.seen().get(&NodeId(1)).is_none_or(|seen| seen.there) {
            tokio::task::yield_now().await;
        }
    }
}

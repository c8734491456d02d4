//! A cluster of one with an agent that can be started again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::lifecycle::{Gate, Life};
use crate::model::{CheckDef, CheckKind, Folded, Health, NodeName, ServiceDef};
use crate::presence::{Config, Presence, start};
use crate::replica::Topic;
use crate::state::{CatalogOp, Command, Outcome, State};
use crate::telemetry::Metrics;

pub(super) const NODE: &str = "web-1";

pub(super) struct House {
    pub(super) cluster: Cluster,
    pub(super) life: Life,
    pub(super) presence: Presence,
}

pub(super) fn config(services: Vec<(ServiceDef, Vec<CheckDef>)>) -> Config {
    Config {
        node: NodeName::new(NODE).unwrap(),
        address: "10.0.0.1".to_owned(),
        meta: BTreeMap::new(),
        presence_ttl: Duration::from_secs(10),
        services,
        peer_port: 8300,
        exec_checks: false,
    }
}

pub(super) fn service(id: &str) -> ServiceDef {
    let mut def = ServiceDef::new(id, "web");
    def.port = 8080;
    def
}

/// A TTL check that gets its id and name from its service.
pub(super) fn ttl(seconds: u64) -> CheckDef {
    CheckDef::new("", "", CheckKind::Ttl { ttl: Duration::from_secs(seconds) })
}

impl House {
    pub(super) async fn open(services: Vec<(ServiceDef, Vec<CheckDef>)>) -> House {
        House::enter(Cluster::solo(NodeName::new(NODE).unwrap()), services).await
    }

    /// An agent over a catalog that may know an earlier life of it.
    pub(super) async fn enter(
        cluster: Cluster,
        services: Vec<(ServiceDef, Vec<CheckDef>)>,
    ) -> House {
        let life = Life::default();
        let metrics = Metrics::default();
        let started = start(config(services), cluster.clone(), life.clone(), &metrics);
        let presence = started.unwrap();
        let opened =
            tokio::time::timeout(Duration::from_secs(5), life.gates.wait(Gate::Registered));
        opened.await.expect("the gate opens");
        House { cluster, life, presence }
    }

    /// The agent dies without a word and starts again.
    pub(super) async fn restart(self, services: Vec<(ServiceDef, Vec<CheckDef>)>) -> House {
        self.life.shutdown.begin();
        assert!(self.life.tasks.join(Duration::from_secs(5)).await);
        House::enter(self.cluster, services).await
    }

    pub(super) fn state(&self) -> Arc<State> {
        self.cluster.snapshot()
    }

    /// The status and output of a check; none if it is not in the catalog.
    pub(super) fn check(&self, id: &str) -> Option<(Health, String)> {
        let state = self.state();
        state.check(&Folded::new(NODE), id).map(|row| (row.status, row.output.clone()))
    }

    pub(super) fn status(&self, id: &str) -> Option<Health> {
        self.check(id).map(|(status, _)| status)
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.state().instance(&Folded::new(NODE), id).is_some()
    }

    /// How many instances of `web` DNS would answer with.
    pub(super) fn healthy(&self) -> usize {
        self.state().healthy("web", None).count()
    }

    /// What somebody else does to the catalog.
    pub(super) async fn catalog(&self, op: CatalogOp) {
        let outcome = self.cluster.propose(Command::Catalog(vec![op])).await.unwrap();
        assert_eq!(outcome, Outcome::Done);
    }

    /// Waits until all is as wanted; fails after a minute of it not being so.
    pub(super) async fn until(&self, what: &str, wanted: impl Fn(&House) -> bool) {
        let mut watch = self.cluster.watch([Topic::All]);
        let waiting = async {
            while !wanted(self) {
                // The board wakes nobody, so it is looked at now and then.
                let look = Duration::from_millis(10);
                let _ = tokio::time::timeout(look, watch.changed()).await;
            }
        };
        let limit = Duration::from_secs(60);
        assert!(tokio::time::timeout(limit, waiting).await.is_ok(), "never: {what}");
    }
}

//! Keeps an upstream's set the same as the healthy instances in the state.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::cluster::Cluster;
use crate::lifecycle::{Board, Level, Life};
use crate::model::{Endpoint, Folded};
use crate::replica::{Topic, Watch};
use crate::state::State;

use super::config;
use super::upstream::Upstream;

/// How often an agent that has not synced looks whether it has.
const UNSYNCED_LOOK: Duration = Duration::from_millis(100);

pub(super) struct Follower {
    upstream: Arc<Upstream>,
    cluster: Cluster,
    life: Life,
    watch: Watch,
    last: Option<Vec<Endpoint>>,
}

impl Follower {
    /// The set is what the state says before this returns.
    pub(super) fn new(upstream: Arc<Upstream>, cluster: Cluster, life: Life) -> Follower {
        let watch = cluster.watch([Topic::Service(Folded::new(&upstream.config.service))]);
        let mut follower = Follower { upstream, cluster, life, watch, last: None };
        follower.look();
        follower
    }

    /// Runs until the shutdown. A change wakes it; what it then reads is the truth.
    pub(super) async fn run(mut self) {
        let period = self.upstream.config.timeouts.pool_idle / 2;
        let mut prune = interval(period.max(Duration::from_millis(1)));
        prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let synced = self.look();
            tokio::select! {
                () = self.life.shutdown.begun() => return,
                () = self.watch.changed() => {}
                () = sleep(UNSYNCED_LOOK), if !synced => {}
                _ = prune.tick() => self.upstream.prune(),
            }
        }
    }

    /// Takes over what the state says; false while it says nothing.
    fn look(&mut self) -> bool {
        let synced = self.cluster.standing().synced;
        let seen = seen(synced, &self.cluster.snapshot(), &self.upstream.config);
        if let Some(endpoints) = seen
            && self.last.as_ref() != Some(&endpoints)
        {
            self.upstream.replace(&endpoints);
            report(&self.upstream, &endpoints, &self.life.board);
            self.last = Some(endpoints);
        }
        synced
    }
}

/// The instances to balance over; none where the state is not the cluster's, so that the last set
/// stays: losing the cluster never empties a set.
pub(super) fn seen(
    synced: bool,
    state: &State,
    upstream: &config::Upstream,
) -> Option<Vec<Endpoint>> {
    if !synced {
        return None;
    }
    let healthy = state.healthy(&upstream.service, upstream.tag.as_deref());
    Some(healthy.filter_map(|view| view.endpoint()).collect())
}

fn report(upstream: &Upstream, endpoints: &[Endpoint], board: &Board) {
    let (service, count) = (&upstream.label, endpoints.len());
    let subject = format!("proxy/{service}");
    if count == 0 {
        tracing::warn!(%service, "upstream has no healthy instance");
        board.set(&subject, Level::Warning, format!("no healthy instance of {service}"));
    } else {
        tracing::info!(%service, count, "upstream's instances have changed");
        board.set(&subject, Level::Ok, format!("balances over {count} instances"));
    }
}

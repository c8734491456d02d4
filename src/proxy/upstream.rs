//! One upstream while it runs: its current set of instances, and how one of them is chosen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::balance::{Outstanding, Set};
use crate::model::Endpoint;

use super::config;
use super::failure::Failure;
use super::meters::Meter;
use super::target::{Choice, Target};

pub(super) struct Upstream {
    pub config: config::Upstream,
    pub label: String,
    pub meter: Meter,
    /// None until the state was received once.
    set: ArcSwapOption<Set<Choice>>,
    epoch: Instant,
}

/// A chosen instance, counted as busy until dropped.
pub(super) struct Picked {
    pub target: Arc<Target>,
    _outstanding: Outstanding,
}

impl Upstream {
    pub(super) fn new(config: config::Upstream, meter: Meter) -> Upstream {
        let label = config.label();
        Upstream { config, label, meter, set: ArcSwapOption::empty(), epoch: Instant::now() }
    }

    /// The clock of all loads: time since this upstream began.
    pub(super) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// One instance that was not tried yet. With all tried and one of them alone in the set, the
    /// caller ends; with none in the set it is told why.
    pub(super) fn pick(&self, tried: &[Arc<Target>]) -> Result<Option<Picked>, Failure> {
        let set = self.set.load();
        let Some(set) = set.as_ref() else { return Err(Failure::NotSynced) };
        if set.is_empty() && tried.is_empty() {
            return Err(Failure::NoInstance);
        }
        let fresh = |choice: &Choice| !tried.iter().any(|done| Arc::ptr_eq(done, &choice.target));
        let picked = set.pick(self.now(), &mut rand::rng(), fresh);
        Ok(picked.map(|choice| Picked {
            target: choice.target.clone(),
            _outstanding: Outstanding::new(choice.target.load.clone()),
        }))
    }

    /// Makes these the instances. Those that stay keep what is known of them and their idle
    /// connections; those that go lose their idle connections, and what is under way ends by
    /// itself.
    pub(super) fn replace(&self, endpoints: &[Endpoint]) {
        let old = self.set.load_full();
        let old = old.as_ref().map_or(&[][..], |set| set.members());
        let choices = endpoints.iter().map(|endpoint| {
            let known = old.iter().find(|choice| choice.target.is_at(endpoint));
            let target = known.map_or_else(
                || Arc::new(Target::new(endpoint.clone())),
                |choice| choice.target.clone(),
            );
            Choice { target, weight: endpoint.weight }
        });
        let set = Arc::new(Set::new(self.config.balance, choices.collect()));
        self.meter.endpoints.set(i64::try_from(endpoints.len()).unwrap_or(i64::MAX));
        self.set.store(Some(set.clone()));
        for gone in old {
            if !set.members().iter().any(|choice| Arc::ptr_eq(&choice.target, &gone.target)) {
                gone.target.pool.retire();
            }
        }
    }

    /// Closes connections that have been idle for too long.
    pub(super) fn prune(&self) {
        let set = self.set.load_full();
        for choice in set.as_ref().map_or(&[][..], |set| set.members()) {
            choice.target.pool.prune(self.now(), self.config.timeouts.pool_idle);
        }
    }
}

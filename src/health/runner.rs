//! Runs the probes of many checks, none of them twice at a time, and tells what they found.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::MissedTickBehavior;

use crate::lifecycle::{Life, Shutdown, Tasks};
use crate::model::{CheckDef, Health, limits};
use crate::telemetry::Metrics;

use super::HealthError;
use super::probe::{Probe, Prober};
use super::verdict::{Judge, Ruling};

/// A verdict that has turned, or a new output of one that has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub check: Arc<str>,
    pub status: Health,
    pub output: String,
    /// Which start of the check it is of.
    start: u64,
}

/// The running probes, by check id. A check that needs none (TTL, static) is no error.
pub struct Runner {
    running: BTreeMap<Arc<str>, Running>,
    starts: u64,
    shared: Shared,
}

struct Running {
    def: CheckDef,
    start: u64,
    stop: Shutdown,
}

#[derive(Clone)]
struct Shared {
    prober: Prober,
    findings: mpsc::Sender<Finding>,
    permits: Arc<Semaphore>,
    shutdown: Shutdown,
    tasks: Tasks,
}

impl Runner {
    /// With the channel in which the findings come; a full one holds the probes up.
    pub fn new(
        life: &Life,
        _metrics: &Metrics,
    ) -> Result<(Runner, mpsc::Receiver<Finding>), HealthError> {
        let (findings, received) = mpsc::channel(limits::FINDINGS);
        let shared = Shared {
            prober: Prober::new()?,
            findings,
            permits: Arc::new(Semaphore::new(limits::PROBES_IN_FLIGHT)),
            shutdown: life.shutdown.clone(),
            tasks: life.tasks.clone(),
        };
        Ok((Runner { running: BTreeMap::new(), starts: 0, shared }, received))
    }

    /// Runs a check from now on. One that runs with the same definition goes on undisturbed.
    pub fn put(&mut self, def: &CheckDef) {
        let Some(probe) = Probe::of(&def.kind) else { return self.remove(&def.id) };
        if self.running.get(&def.id).is_some_and(|running| running.def == *def) {
            return;
        }
        self.remove(&def.id);
        self.starts += 1;
        let stop = self.shared.shutdown.child();
        let running = Running { def: def.clone(), start: self.starts, stop: stop.clone() };
        self.running.insert(def.id.clone(), running);
        let (shared, def, start) = (self.shared.clone(), def.clone(), self.starts);
        self.shared.tasks.spawn("probe", async move {
            stop.or(watch(shared, def, probe, start)).await;
        });
    }

    pub fn remove(&mut self, check: &str) {
        if let Some(running) = self.running.remove(check) {
            running.stop.begin();
        }
    }

    /// False for what a probe said that was stopped or redefined since.
    pub fn is_current(&self, finding: &Finding) -> bool {
        self.running.get(&finding.check).is_some_and(|running| running.start == finding.start)
    }
}

/// Probes at once, then each interval; a probe that takes longer moves the next one back.
async fn watch(shared: Shared, def: CheckDef, probe: Probe, start: u64) {
    let mut ticks = tokio::time::interval(probe.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut judge = Judge::new(def.rise, def.fall);
    let mut told: Option<(Health, String)> = None;
    loop {
        ticks.tick().await;
        let Ok(permit) = shared.permits.acquire().await else { return };
        let (result, output) = shared.prober.run(&probe).await;
        drop(permit);
        let news = match judge.observe(result) {
            Ruling::Turned(_) => true,
            Ruling::Confirmed => told.as_ref().is_none_or(|(_, last)| *last != output),
            Ruling::Doubted => false,
        };
        if !news {
            continue;
        }
        told = Some((result, output.clone()));
        let check = def.id.clone();
        let finding = Finding { check, status: result, output, start };
        if shared.findings.send(finding).await.is_err() {
            return;
        }
    }
}

//! Runs the probes of many checks, none of them twice at a time, and tells what they found.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::lifecycle::{Life, Shutdown, Tasks};
use crate::model::{CheckDef, Health, limits};
use crate::telemetry::{Counter, Metrics};

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
    probes: Counter,
    turns: Counter,
}

impl Runner {
    /// With the channel in which the findings come; a full one holds the probes up.
    pub fn new(
        life: &Life,
        metrics: &Metrics,
    ) -> Result<(Runner, mpsc::Receiver<Finding>), HealthError> {
        let (findings, received) = mpsc::channel(limits::FINDINGS);
        let shared = Shared {
            prober: Prober::new()?,
            findings,
            permits: Arc::new(Semaphore::new(limits::PROBES_IN_FLIGHT)),
            shutdown: life.shutdown.clone(),
            tasks: life.tasks.clone(),
            probes: metrics.register("health_probes", "Probes run", Counter::default()),
            turns: metrics.register("health_turns", "Verdicts that turned", Counter::default()),
        };
        Ok((Runner { running: BTreeMap::new(), starts: 0, shared }, received))
    }

    /// Runs a check from now on. One that runs with the same definition goes on undisturbed.
    pub fn put(&mut self, def: &CheckDef) {
        let Some(probe) = Probe::of(def) else { return self.remove(&def.id) };
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

/// Probes at once, then each interval; a probe that takes longer moves the next one back. The
/// second probe comes early by a random part of the interval, so that checks that were started
/// together do not stay in step.
async fn watch(shared: Shared, def: CheckDef, probe: Probe, start: u64) {
    let mut judge = Judge::new(def.flaps);
    let mut told = None;
    let early = probe.interval().mul_f64(rand::random_range(0.0..1.0));
    let mut next = Instant::now();
    let mut gap = early;
    loop {
        tokio::time::sleep_until(next).await;
        let Ok(permit) = shared.permits.acquire().await else { return };
        next = Instant::now() + gap;
        gap = probe.interval();
        let (status, output) = shared.prober.run(&probe).await;
        drop(permit);
        shared.probes.inc();
        let news = match judge.observe(status) {
            Ruling::Turned(_) => {
                shared.turns.inc();
                true
            }
            Ruling::Confirmed => told.as_ref() != Some(&output),
            Ruling::Doubted => false,
        };
        if !news {
            continue;
        }
        told = Some(output.clone());
        let finding = Finding { check: def.id.clone(), status, output, start };
        if shared.findings.send(finding).await.is_err() {
            return;
        }
    }
}

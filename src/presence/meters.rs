//! What presence counts for `/metrics`.

use crate::telemetry::{Counter, Gauge, Metrics};

#[derive(Clone)]
pub(super) struct Meters {
    pub(super) services: Gauge,
    pub(super) failures: Counter,
    pub(super) missed_beats: Counter,
}

impl Meters {
    pub(super) fn new(metrics: &Metrics) -> Meters {
        let services = "Instances that this agent runs, those of Remora itself included";
        let failures = "Changes of the catalog that this agent proposed in vain";
        let missed = "Heartbeats of this agent that nobody acknowledged";
        Meters {
            services: metrics.register("presence_services", services, Gauge::default()),
            failures: metrics.register("presence_failures", failures, Counter::default()),
            missed_beats: metrics.register("presence_missed_beats", missed, Counter::default()),
        }
    }
}

//! What `files` counts, by file.

use crate::telemetry::{Counter, Family, Gauge, Labels, Metrics};

#[derive(Clone)]
pub(super) struct Meters {
    renders: Family<Labels, Counter>,
    writes: Family<Labels, Counter>,
    failures: Family<Labels, Counter>,
    waiting: Family<Labels, Gauge>,
    rendered_at: Family<Labels, Gauge>,
    pub(super) reloads: Counter,
    pub(super) reload_failures: Counter,
}

/// One file's own.
pub(super) struct Meter {
    pub(super) renders: Counter,
    pub(super) writes: Counter,
    pub(super) failures: Counter,
    /// 1 while a key is missing.
    pub(super) waiting: Gauge,
    /// Unix seconds, for display alone: when what is on disk was last known to be true.
    pub(super) rendered_at: Gauge,
}

impl Meters {
    pub(super) fn new(metrics: &Metrics) -> Meters {
        let counters = |name: &str, help: &str| {
            metrics.register(name, help, Family::<Labels, Counter>::default())
        };
        let gauges = |name: &str, help: &str| {
            metrics.register(name, help, Family::<Labels, Gauge>::default())
        };
        let counter =
            |name: &str, help: &str| metrics.register(name, help, Counter::<u64>::default());
        Meters {
            renders: counters("files_renders", "Times a file's text was made"),
            writes: counters("files_writes", "Times a file changed on disk"),
            failures: counters("files_failures", "Times a file could not be made or written"),
            waiting: gauges("files_waiting", "1 while a file waits for a missing key"),
            rendered_at: gauges(
                "files_rendered_timestamp_seconds",
                "When the file was last brought up to date",
            ),
            reloads: counter("files_reloads", "Reload commands that succeeded"),
            reload_failures: counter("files_reload_failures", "Reload commands that failed"),
        }
    }

    pub(super) fn of(&self, file: &str) -> Meter {
        let labels: Labels = vec![("file", file.to_owned())];
        Meter {
            renders: self.renders.get_or_create(&labels).clone(),
            writes: self.writes.get_or_create(&labels).clone(),
            failures: self.failures.get_or_create(&labels).clone(),
            waiting: self.waiting.get_or_create(&labels).clone(),
            rendered_at: self.rendered_at.get_or_create(&labels).clone(),
        }
    }
}

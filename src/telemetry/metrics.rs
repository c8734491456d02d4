//! The registry that every module puts its own metrics into, and its text form.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::exponential_buckets;
use prometheus_client::registry::{Metric, Registry};

pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
pub use prometheus_client::metrics::histogram::Histogram;

/// Names and values of one member of a family.
pub type Labels = Vec<(&'static str, String)>;

/// Names come out as `remora_<name>`.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    /// Under names that another product has made known.
    known: Arc<Mutex<Registry>>,
}

/// A number that is looked up when somebody asks for it.
pub struct Reading {
    /// As it comes out, but for what is added to a counter's.
    pub name: &'static str,
    pub help: &'static str,
    pub value: Value,
}

pub enum Value {
    Gauge(i64),
    /// Comes out as `<name>_total`.
    Counter(u64),
}

/// Times of 0.25 ms to 8 s, in seconds.
pub fn latencies() -> Histogram {
    Histogram::new(exponential_buckets(0.00025, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            registry: Arc::new(Mutex::new(Registry::with_prefix("remora"))),
            known: Arc::default(),
        }
    }
}

impl Metrics {
    /// Puts a metric into the registry and hands it back.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register(name, help, metric.clone());
        metric
    }

    /// The same under a name that another product has made known, as it is.
    pub fn register_known<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.register(name, help, metric.clone());
        metric
    }

    /// Numbers under such names that are looked up whenever somebody asks.
    pub fn read_known(&self, readings: impl Fn() -> Vec<Reading> + Send + Sync + 'static) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.register_collector(Box::new(Readings(readings)));
    }

    /// The OpenMetrics text exposition.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing into a String cannot fail.
        for registry in [&self.registry, &self.known] {
            let registry = registry.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = text::encode_registry(&mut out, &registry);
        }
        let _ = text::encode_eof(&mut out);
        out
    }
}

struct Readings<F>(F);

impl<F> fmt::Debug for Readings<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readings")
    }
}

impl<F: Fn() -> Vec<Reading> + Send + Sync + 'static> Collector for Readings<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Reading { name, help, value } in (self.0)() {
            match value {
                Value::Gauge(value) => {
                    let gauge = ConstGauge::new(value);
                    let kind = gauge.metric_type();
                    gauge.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
                }
                Value::Counter(value) => {
                    let counter = ConstCounter::new(value);
                    let kind = counter.metric_type();
                    counter.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_known_come_out_as_they_are() {
        let metrics = Metrics::default();
        metrics.register("own", "Ours", Counter::<u64>::default()).inc();
        metrics.register_known("other_product", "Theirs", Gauge::<i64>::default()).set(7);
        metrics.read_known(|| {
            vec![
                Reading { name: "a_size", help: "A size", value: Value::Gauge(-1) },
                Reading { name: "a_count", help: "A count", value: Value::Counter(3) },
            ]
        });
        let text = metrics.encode();
        for line in ["remora_own_total 1", "other_product 7", "a_size -1", "a_count_total 3"] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
    }
}

//! Logging set-up and the metrics registry; knows nobody's metric.

mod logging;
mod metrics;

pub use logging::{LogConfig, LogFormat, init_logging};
pub use metrics::{Counter, Family, Gauge, Histogram, Labels, Metrics, Reading, Value, latencies};

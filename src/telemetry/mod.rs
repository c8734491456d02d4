//! Logging set-up, the log as it is written, and the metrics registry; knows nobody's metric.

mod exposition;
mod logging;
mod metrics;
mod monitor;

pub use exposition::{Kind, Sample, prometheus, samples};
pub use logging::{LogConfig, LogFormat, init_logging};
pub use metrics::{Counter, Family, Gauge, Histogram, Labels, Metrics, Reading, Value, latencies};
pub use monitor::{LogLine, LogWatch, Logs, Verbosity};

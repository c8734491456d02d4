//! Where log lines go and what they look like: standard error, text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry};

use super::monitor;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Clone, Default)]
pub struct LogConfig {
    pub format: LogFormat,
    /// A `tracing` filter such as `info` or `remora=debug`; empty: `info`.
    pub filter: String,
}

/// Openraft and hyper speak of their own insides at info, and openraft warns of a peer that is away
/// with every heartbeat.
pub(super) const QUIET: &str =
    "openraft=error,hyper=warn,h2=warn,hickory_proto=warn,hickory_resolver=warn";

/// Sets logging up once for the process; a second call changes nothing.
pub fn init_logging(config: &LogConfig) -> Result<(), String> {
    let wanted = if config.filter.is_empty() { "info" } else { config.filter.as_str() };
    let filter = EnvFilter::try_new(format!("{QUIET},{wanted}"))
        .map_err(|error| format!("log filter {wanted:?}: {error}"))?;
    let shown = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let (tap, logs) = monitor::tap();
    let watched = Registry::default().with(tap);
    let first = match config.format {
        LogFormat::Text => watched.with(shown.with_filter(filter)).try_init(),
        LogFormat::Json => watched.with(shown.json().with_filter(filter)).try_init(),
    };
    // A second initialisation in one process (tests) keeps the first.
    if first.is_ok() {
        monitor::publish(logs);
    }
    Ok(())
}

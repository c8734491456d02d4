//! Where log lines go and what they look like: standard error, text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

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
const QUIET: &str = "openraft=error,hyper=warn,h2=warn,hickory_proto=warn,hickory_resolver=warn";

/// Sets logging up once for the process; a second call changes nothing.
pub fn init_logging(config: &LogConfig) -> Result<(), String> {
    let wanted = if config.filter.is_empty() { "info" } else { config.filter.as_str() };
    let filter = EnvFilter::try_new(format!("{QUIET},{wanted}"))
        .map_err(|error| format!("log filter {wanted:?}: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second initialisation in one process (tests) keeps the first.
    let _ = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}

//! Probes of apps into verdicts: how each check is, told only when it changes.
//!
//! Knows neither the catalog nor the cluster; `presence` says what to run and takes the findings.

mod connect;
mod deadlines;
mod exec;
mod http;
mod http2;
mod output;
mod probe;
mod runner;
mod verdict;

#[cfg(test)]
mod tests;

pub use deadlines::Deadlines;
pub use output::{cut_note, expired};
pub use runner::{Finding, Runner};
pub use verdict::{Judge, Ruling};

/// Why no check can be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HealthError {
    #[error("the clients of probes cannot be built: {0}")]
    Client(String),
}

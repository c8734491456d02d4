//! Why this agent does not promise what was asked of it.

use crate::cluster::ProposeError;
use crate::state::Refusal;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PresenceError {
    #[error("this agent has no service with the id {0:?}")]
    UnknownService(String),
    #[error("this agent has no check with the id {0:?}")]
    UnknownCheck(String),
    /// The check exists, but its result does not come from reports.
    #[error("check {0:?} has no TTL")]
    NotTtl(String),
    /// It came by API, and the config does not let those run programs.
    #[error("check {0:?} runs a program, which this agent does only with `exec_checks: true`")]
    NoPrograms(String),
    /// Made by the agent itself; nobody takes it out or replaces it.
    #[error("{0:?} belongs to the agent itself")]
    Reserved(String),
    #[error("an agent has at most {max} {what}")]
    Limit { what: &'static str, max: usize },
    /// `field` is named as in the config file, for example `services[web].meta`.
    #[error("{field}: {reason}")]
    Invalid { field: String, reason: String },
    /// The catalog did not take it. Nothing of it was kept, unless the outcome is unknown.
    #[error(transparent)]
    Cluster(#[from] ProposeError),
    #[error("the catalog refused: {0}")]
    Refused(Refusal),
    #[error("the probes cannot be set up: {0}")]
    Probes(#[from] crate::health::HealthError),
    #[error("this agent has left the cluster")]
    Stopped,
}

impl PresenceError {
    pub(super) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> PresenceError {
        PresenceError::Invalid { field: field.into(), reason: reason.into() }
    }
}

//! Why a request or a connection got no instance, as a status and as words.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

/// One try that failed: the instance's address and what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub address: String,
    pub reason: String,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.address, self.reason)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The state has never been received, so nothing is known of the service.
    NotSynced,
    /// All instances are critical, or there are none.
    NoInstance,
    /// No connection could be made; nothing was sent to anyone.
    Unreachable(Vec<Attempt>),
    /// The connection broke before a response came; the request may have been carried out.
    BrokeOff(Attempt),
    /// No response came in time; the request may have been carried out.
    Slow { address: String, after: Duration },
    /// A request that no upstream may be given.
    Malformed(&'static str),
    /// A method that a reverse proxy does not carry.
    Unsupported(&'static str),
}

impl Failure {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Failure::NotSynced | Failure::NoInstance => StatusCode::SERVICE_UNAVAILABLE,
            Failure::Unreachable(_) | Failure::BrokeOff(_) => StatusCode::BAD_GATEWAY,
            Failure::Slow { .. } => StatusCode::GATEWAY_TIMEOUT,
            Failure::Malformed(_) => StatusCode::BAD_REQUEST,
            Failure::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// Whether the client is at fault, so that nothing more is taken from its connection.
    pub(super) fn is_the_clients(&self) -> bool {
        matches!(self, Failure::Malformed(_) | Failure::Unsupported(_))
    }

    /// One line for people: which service, and why.
    pub(super) fn text(&self, service: &str) -> String {
        format!("remora: service {service}: {self}\n")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotSynced => f.write_str("this agent has not synced with the cluster yet"),
            Failure::NoInstance => f.write_str("no healthy instance"),
            Failure::Unreachable(attempts) => {
                f.write_str("no instance could be reached: ")?;
                for (position, attempt) in attempts.iter().enumerate() {
                    let comma = if position == 0 { "" } else { ", " };
                    write!(f, "{comma}{attempt}")?;
                }
                Ok(())
            }
            Failure::BrokeOff(attempt) => write!(f, "no response from {attempt}"),
            Failure::Slow { address, after } => {
                write!(f, "no response from {address} within {after:?}")
            }
            Failure::Malformed(why) | Failure::Unsupported(why) => f.write_str(why),
        }
    }
}

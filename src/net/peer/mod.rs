//! Connections between agents: calls that are answered, and streams that are pushed.
//!
//! One persistent connection per peer and purpose: TLS 1.3, on which each side judges the other by
//! its certificate (`guard`), then a hello {magic, version, purpose} and the welcome to it; then
//! frames go both ways. Everything a peer sends is checked: what makes no sense closes the
//! connection, with one line in the log. Who shows no certificate may ask to be let in, no more.

mod credentials;
mod examiner;
mod exchange;
mod guard;
mod knocks;
mod link;
mod links;
mod register;
mod serve;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

use bytes::Bytes;
use futures::future::BoxFuture;

pub use credentials::{Binding, Caller, Credentials, Judged, Peer, Shown};
pub use exchange::Exchange;
pub use guard::Guard;
pub use links::Links;
pub use serve::{Service, serve};
pub use stream::{Pushed, Pushes};

/// What a connection is for: traffic of one kind never waits behind another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Votes, appends, read index probes.
    Raft,
    /// Snapshots for learners and voters that are far behind.
    Snapshot,
    /// What one agent asks of another: propose, read index, admit, keep alive.
    Door,
    /// Changes pushed to an agent without a log.
    Follow,
    /// What an agent that is no member asks: who are you, let me in.
    Entrance,
    /// Checksums and backups of all that a server holds.
    Survey,
}

impl Purpose {
    const ALL: [Purpose; 6] = [
        Purpose::Raft,
        Purpose::Snapshot,
        Purpose::Door,
        Purpose::Follow,
        Purpose::Entrance,
        Purpose::Survey,
    ];

    fn code(self) -> u8 {
        match self {
            Purpose::Raft => 1,
            Purpose::Snapshot => 2,
            Purpose::Door => 3,
            Purpose::Follow => 4,
            Purpose::Entrance => 5,
            Purpose::Survey => 6,
        }
    }

    fn of(code: u8) -> Option<Purpose> {
        Purpose::ALL.into_iter().find(|purpose| purpose.code() == code)
    }
}

/// A call without an answer. The difference decides whether it may be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The peer has not handled it and never will: safe to try again.
    #[error("{0}")]
    NotSent(String),
    /// The peer may have handled it.
    #[error("{0}")]
    Lost(String),
}

/// The peer's side did not handle a call at all, and says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

/// Answers calls of the caller given. It is called in the order in which the peer called, and the
/// future it gives is polled once before the next call is looked at; from there on, calls run side
/// by side.
pub type Handler = std::sync::Arc<
    dyn Fn(Caller, Bytes) -> BoxFuture<'static, Result<Bytes, Refused>> + Send + Sync,
>;

/// Pushes frames to a peer that asked with the bytes given; the stream ends with the future.
pub type Streamer =
    std::sync::Arc<dyn Fn(Caller, Bytes, Pushes) -> BoxFuture<'static, ()> + Send + Sync>;

//! openraft, contained: the write-ahead log, snapshots, the messages between servers, one handle.
//!
//! A proposal is answered once it is fsynced on a quorum and applied here. Votes, entries and
//! everything else that must survive go through one queue to one writer; the first error of the
//! disk stops the node, and nothing is acknowledged after it.

mod aside;
mod ceiling;
mod clock;
mod codec;
mod config;
mod disk;
mod error;
mod inbox;
mod log_store;
mod machine;
mod mark;
mod network;
mod node;
mod open;
mod propose;
mod recover;
mod retention;
mod reversion;
mod runtime;
mod shelf;
mod snapshot;
mod status;
#[cfg(test)]
mod tests;
mod types;
mod upkeep;
pub mod wal;
mod watch;
mod wire;

pub use aside::set_aside;
pub use config::{Config, LogSizes};
pub use disk::{Disk, DiskFile, RealDisk};
pub use error::{MembershipError, OpenError, ProposeError, ReadIndexError};
pub use mark::{LogMark, Marker};
pub use network::Transport;
pub use node::{Raft, Ready};
pub use recover::Remains;
pub use status::{Role, Status};

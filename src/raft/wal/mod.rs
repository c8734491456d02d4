//! The write-ahead log: numbered frames in recycled, zero-filled segments, group commit.
//!
//! A batch is written only after the one before was synced. So a damaged frame at the very end is
//! a write that nobody was told of, and is cut off; a damaged frame with a valid one after it had
//! been acknowledged, and is refused.

mod error;
mod frame;
mod journal;
mod record;
mod recovery;
mod replay;
mod segment;
mod spares;
#[cfg(test)]
mod tests;
mod writer;

pub use error::WalError;
#[cfg(test)]
pub(super) use frame::positions as frames;
pub use record::{Position, Record};
pub use replay::Recovered;
pub(super) use segment::exists;
pub use writer::{Done, Floors, Pressure, Wal};

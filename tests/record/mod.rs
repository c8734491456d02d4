//! What replays of recorded answers share: rules for what differs on purpose, their document, and
//! how a difference is shown.

mod difference;
mod rules;
mod table;

pub use difference::difference;
pub use rules::{Change, Rules};
pub use table::{Document, code};

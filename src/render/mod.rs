//! Template and state in, text and the set of reads it made out.
//!
//! Pure: no clock, no I/O, no environment of the process. Who renders again when a read changes,
//! and where the text goes, is `files`' business.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod error;
mod filters;
mod functions;
mod objects;
mod reads;
mod template;
#[cfg(test)]
mod tests;

pub use error::{Error, Place};
pub use reads::Read;
pub use template::{Outcome, Rendering, Template};

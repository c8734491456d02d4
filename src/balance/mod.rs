//! Given endpoints and observations, pick one: p2c with peak EWMA, least requests, round robin.
//!
//! Pure: randomness and time are arguments.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod load;
mod set;
#[cfg(test)]
mod tests;
mod weights;

pub use load::{Load, Outstanding};
pub use set::{Member, Policy, Set, UnknownPolicy};

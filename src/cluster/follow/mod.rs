//! How an agent without a log follows the changes: what travels, who pushes it, who takes it in.

mod choice;
mod comparison;
mod feeder;
mod follower;
mod intake;
mod me;
mod picture;
#[cfg(test)]
mod tests;
mod wire;

pub(super) use feeder::{Condition, feeder};
pub(super) use follower::{Follower, Upstream};
pub(super) use me::Me;
pub(super) use wire::Pulse;

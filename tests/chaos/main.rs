//! Process chaos: real agents in a network of their own, real faults, a history that must make sense.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod ask;
mod clients;
mod crew;
mod fault;
#[path = "../history/mod.rs"]
mod history;
mod inject;
mod judge;
mod load;
mod network;
mod node;
mod rounds;
mod stage;
#[path = "../it/house/wait.rs"]
mod wait;

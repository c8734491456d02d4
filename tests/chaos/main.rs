//! Process chaos: real agents in a network of their own, real faults, a history that must make sense.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod ask;
mod clients;
mod crew;
mod crowd;
mod etcd;
mod fault;
#[path = "../history/mod.rs"]
mod history;
mod inject;
mod judge;
mod load;
mod network;
mod node;
#[allow(dead_code, unused_imports, reason = "the product's own")]
#[path = "../../src/etcd/proto/mod.rs"]
mod proto;
mod rounds;
mod stage;
#[path = "../it/house/wait.rs"]
mod wait;
#[allow(dead_code, reason = "shared: another binary uses the rest")]
#[path = "../against/wire.rs"]
mod wire;

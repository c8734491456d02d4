//! What a real Consul 1.8.7 answered, asked of Remora again: 2,800 recorded answers, block by block.
//!
//! Every file of `tests/fixtures/consul` is played against agents of its own, which
//! `tests/profiles` configures. What the recorder did beside its blocks is in `setup/`, what
//! differs from run to run in `mask.rs`, and what differs on purpose in `rules/`, of which
//! `docs/consul-differences.md` is made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod body;
mod dns;
mod facts;
#[allow(dead_code, unused_imports, reason = "shared: another binary uses the rest")]
#[path = "../it/house/mod.rs"]
mod house;
mod http;
mod live;
mod mask;
mod names;
mod player;
#[path = "../record/mod.rs"]
mod record;
mod rules;
mod sections;
mod setup;
mod stage;
mod stubs;
mod topics;
mod transcript;
#[allow(dead_code, reason = "shared: another binary uses the rest")]
#[path = "../replay/wire.rs"]
mod wire;

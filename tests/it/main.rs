//! Everything that needs the real program: agents, clusters, real clients, and the house rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod accounts;
mod acl;
mod bad_input;
mod clients;
mod dns;
mod durability;
mod examples;
mod exposure;
mod generated;
mod grpc;
mod heartbeat;
#[allow(dead_code, reason = "shared: another binary uses the rest")]
#[path = "../history/mod.rs"]
mod history;
mod hold;
mod house;
mod keys;
mod main_job;
mod membership;
mod operate;
mod probes;
mod push;
mod steering;
mod tidy;
mod tls;
mod trust;
mod upkeep;
mod words;

//! A small language for tests: start agents and clusters, ask them, break them.

mod agent;
mod app;
mod client;
mod cluster;
mod load;
mod place;
mod wait;

pub use agent::{Agent, AgentSpec, tokens};
pub use app::{App, Haproxy, Nginx};
pub use client::{Client, dig, dig_tcp, run, run_with};
pub use cluster::Cluster;
pub use load::Load;
pub use place::Place;
pub use wait::eventually;

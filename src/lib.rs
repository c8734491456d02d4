//! Remora: a service-discovery agent that travels beside an app. ARCHITECTURE.md is the map.

pub mod access;
pub mod agent;
pub mod balance;
pub mod cli;
pub mod cluster;
pub mod consul;
pub mod dns;
pub mod etcd;
pub mod files;
pub mod health;
pub mod identity;
pub mod lifecycle;
pub mod model;
pub mod net;
pub mod presence;
pub mod proxy;
pub mod raft;
pub mod render;
pub mod replica;
pub mod state;
pub mod telemetry;
pub mod web;

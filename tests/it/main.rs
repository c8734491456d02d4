//! Everything that needs the real program: agents, clusters, real clients, and the house rules.

mod bad_input;
mod durability;
mod heartbeat;
mod house;
mod main_job;
mod tidy;
mod words;

//! The clients that people already run, unchanged, against an agent.

mod prometheus;
mod python;

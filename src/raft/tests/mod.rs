//! Tests of one server and of three, in one process, on real files.

mod alone;
pub mod faulty;
mod suite;
mod three;
mod world;

//! Tests of one server and of three, in one process, on real files.

mod alone;
pub mod faulty;
pub mod forgetful;
mod full;
mod suite;
mod three;
mod transfers;
mod world;

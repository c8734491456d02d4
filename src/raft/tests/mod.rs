//! Tests of one server and of three, in one process, on real files.

mod alone;
mod suite;
mod three;
mod world;

//! The promise against a cluster of one, in paused time.

mod house;
mod keeping;
mod registering;

//! The promise against a cluster of one in paused time, and its pure parts as values.

mod configuring;
mod house;
mod keeping;
mod many;
mod pure;
mod registering;
mod repeating;
mod setting_right;

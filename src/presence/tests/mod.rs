//! The promise against a cluster of one in paused time, and its pure parts as values.

mod house;
mod keeping;
mod many;
mod pure;
mod registering;
mod setting_right;

//! Serves HTTP/1 and HTTP/2 on one listener: own accept loop, limits, and a drain at the end.

mod body;
mod hosts;
mod requests;
mod serve;

#[cfg(test)]
mod tests;

pub use body::{BodyError, collect};
pub use hosts::{HostRules, Verdict};
pub use requests::Requests;
pub use serve::{Limits, serve};

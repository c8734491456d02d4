//! Binds, accepts and limits connections: the only place that opens a socket to listen on.

mod bind;
pub mod peer;

pub use bind::{BindError, bind_tcp, bind_udp, is_loopback};

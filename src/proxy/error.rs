//! Why the balancer did not start.

use std::net::SocketAddr;

use crate::net::BindError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(
        "{setting}: {addr} can be reached from other hosts, and an upstream's listener has no \
         TLS; listen on 127.0.0.1, or set `insecure: true` beside it"
    )]
    Insecure { setting: String, addr: SocketAddr },
}

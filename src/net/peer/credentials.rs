//! Who an agent is to another: what it shows, and how what others show is judged.

use std::net::SocketAddr;

use crate::model::{NodeId, Role};

/// Ties what is said on a connection to that connection (RFC 9266, TLS 1.3 exporter).
pub type Binding = [u8; 32];

/// What a certificate says of its bearer, once it has been judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// 0: a candidate that belongs to no cluster yet.
    pub id: NodeId,
    pub role: Role,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// None: it showed no certificate. Only `Purpose::Entrance` is open to it.
    pub peer: Option<Peer>,
    pub addr: SocketAddr,
    pub binding: Binding,
}

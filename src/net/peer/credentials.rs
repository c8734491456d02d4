//! Who an agent is to another: what it shows, and how what others show is judged.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::model::{NodeId, Role};

use super::Purpose;

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

/// A chain and the key of its first certificate.
pub struct Shown {
    /// DER, the agent's own first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8, DER.
    pub key: Vec<u8>,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// A chain that was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    pub peer: Peer,
    /// It has expired a short while ago: good for nothing but getting another.
    pub late: bool,
}

/// What this agent shows, and whom it takes for what. `net` never looks into a certificate.
/// Called during handshakes: nothing here may wait.
pub trait Credentials: Send + Sync + 'static {
    /// Asked anew for every handshake, so that a renewed certificate is used at once. `calling`:
    /// what for, where this agent calls. None: it calls as a stranger, or takes no calls. The same
    /// `Arc` is to be given as long as nothing has changed.
    fn shown(&self, calling: Option<Purpose>) -> Option<Arc<Shown>>;

    /// Whose a chain (DER, the bearer's own first) is, or why it is not taken.
    fn judge(&self, chain: &[&[u8]]) -> Result<Judged, String>;

    /// Whether one who was judged well before still belongs here, or why not.
    fn knows(&self, peer: Peer) -> Result<(), String>;

    /// Whether a member may call this agent for that. Strangers are never asked about.
    fn admits(&self, caller: Peer, purpose: Purpose) -> bool;

    /// Whether this agent calls such a one for that.
    fn calls_on(&self, callee: Peer, purpose: Purpose) -> bool;

    /// Another agent has refused what this one showed.
    fn not_taken(&self) {}
}

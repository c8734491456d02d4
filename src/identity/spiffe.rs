//! Who holds a certificate, and the name by which the certificate says so (SPIFFE). Pure.

use std::fmt;

use crate::model::{NodeId, Role, unhex};

const SCHEME: &str = "spiffe://";

/// `spiffe://<cluster, 32 hex digits>/<role>/<node id>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// 0: none yet, a candidate for founding one.
    pub cluster: u128,
    pub role: Role,
    /// 0: a candidate's.
    pub node: NodeId,
}

impl Holder {
    /// Reads exactly what `Display` prints.
    pub fn parse(uri: &str) -> Option<Holder> {
        let mut parts = uri.strip_prefix(SCHEME)?.split('/');
        let cluster = u128::from_be_bytes(unhex(parts.next()?)?);
        let word = parts.next()?;
        let roles = [Role::Server, Role::Edge, Role::Relay];
        let role = roles.into_iter().find(|role| role.as_str() == word)?;
        let node = NodeId(parts.next()?.parse().ok()?);
        let holder = Holder { cluster, role, node };
        // Also refuses `+7`, `007` and whatever comes after.
        (holder.to_string() == uri).then_some(holder)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holder { cluster, role, node } = self;
        write!(f, "{SCHEME}{cluster:032x}/{}/{node}", role.as_str())
    }
}

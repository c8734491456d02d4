//! A lease's TTL is a lower bound, whatever happens to leaders meanwhile.

use super::Micros;

/// One lease that nobody revoked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lease {
    pub name: String,
    pub ttl: Micros,
    /// When the grant and the keep-alives that were acknowledged had been *called*.
    pub renewed: Vec<Micros>,
    /// When somebody first knew it to have ended.
    pub gone: Option<Micros>,
}

impl Lease {
    pub(super) fn check(&self) -> Option<String> {
        let gone = self.gone?;
        let renewed = self.renewed.iter().filter(|called| **called < gone).max()?;
        let lived = gone.saturating_sub(*renewed);
        (lived < self.ttl).then(|| {
            let Lease { name, ttl, .. } = self;
            format!("lease {name} of {ttl} us ended {lived} us after it was renewed at {renewed}")
        })
    }
}

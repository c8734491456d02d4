//! An agent's own certificate: the key that never leaves it, the request, the chain, when to renew.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DistinguishedName};
use webpki::{EndEntityCert, KeyUsage};

use crate::net::pki_types::{CertificateDer, UnixTime};

use super::IdentityError;
use super::key::{Key, digest_of};

/// A key and the certificates that speak for it.
#[derive(Debug)]
pub struct Leaf {
    key: Key,
    chain: Vec<Vec<u8>>,
    begins: SystemTime,
    ends: SystemTime,
}

impl Leaf {
    /// `chain`: DER, the certificate of `key` first.
    pub fn new(key: Key, chain: Vec<Vec<u8>>) -> Result<Leaf, IdentityError> {
        let wrong = |why: String| IdentityError::Crypto(format!("the own certificate: {why}"));
        let first = chain.first().ok_or_else(|| wrong("there is none".to_owned()))?;
        let der = CertificateDer::from(first.as_slice());
        let cert = EndEntityCert::try_from(&der).map_err(|error| wrong(error.to_string()))?;
        if digest_of(&cert.subject_public_key_info()) != key.digest() {
            return Err(wrong("it is another key's".to_owned()));
        }
        let (begins, ends) = validity(first).ok_or_else(|| wrong("it has no dates".to_owned()))?;
        Ok(Leaf { key, chain, begins, ends })
    }

    pub fn key(&self) -> &Key {
        &self.key
    }

    /// DER, the leaf first.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    pub fn begins(&self) -> SystemTime {
        self.begins
    }

    pub fn ends(&self) -> SystemTime {
        self.ends
    }
}

impl Key {
    /// Asks for a certificate of this key: DER of a PKCS#10 request without any wish.
    pub fn request(&self) -> Result<Vec<u8>, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let request = params
            .serialize_request(self)
            .map_err(|error| IdentityError::crypto("no certificate request", error))?;
        Ok(request.der().to_vec())
    }
}

/// When to renew a certificate with these dates: at 50 to 80 % of its life. `dice` is in [0, 1).
pub fn renew_at(begins: SystemTime, ends: SystemTime, dice: f64) -> SystemTime {
    let life = ends.duration_since(begins).unwrap_or(Duration::ZERO);
    begins + life.mul_f64(0.5 + 0.3 * dice.clamp(0.0, 1.0))
}

/// The dates of a certificate in DER: its first and its last second. None: it cannot be read.
pub fn validity(der: &[u8]) -> Option<(SystemTime, SystemTime)> {
    let der = CertificateDer::from(der);
    let cert = EndEntityCert::try_from(&der).ok()?;
    // The library tells the dates only in refusing what lies beyond them; it looks at them
    // before it looks for an issuer.
    let refusal = |at: Duration| {
        let at = UnixTime::since_unix_epoch(at);
        cert.verify_for_usage(&[], &[], &[], at, KeyUsage::server_auth(), None, None).err()
    };
    let begins = match refusal(Duration::ZERO)? {
        webpki::Error::CertNotValidYet { not_before, .. } => not_before.as_secs(),
        _ => return None,
    };
    let ends = match refusal(Duration::from_secs(u64::MAX))? {
        webpki::Error::CertExpired { not_after, .. } => not_after.as_secs(),
        _ => return None,
    };
    let date = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    Some((date(begins)?, date(ends)?))
}

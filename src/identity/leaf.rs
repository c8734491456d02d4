//! An agent's own certificate: the key that never leaves it, the request, the chain, when to renew.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName};
use webpki::EndEntityCert;

use crate::net::pki_types::CertificateDer;
use crate::net::validity;

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

/// Whether to renew a certificate with these dates: from 50 to 80 % of its life on, as `dice`, in
/// [0, 1), has it. One that has yet to begin is due as well: the clock was put back since it was
/// issued, and nobody takes it.
pub fn is_due(begins: SystemTime, ends: SystemTime, now: SystemTime, dice: f64) -> bool {
    now < begins || now >= renew_at(begins, ends, dice)
}

fn renew_at(begins: SystemTime, ends: SystemTime, dice: f64) -> SystemTime {
    let life = ends.duration_since(begins).unwrap_or(Duration::ZERO);
    begins + life.mul_f64(0.5 + 0.3 * dice.clamp(0.0, 1.0))
}

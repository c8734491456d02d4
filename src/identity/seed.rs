//! The secret in a join token, and the keys and further secrets that are derived from it. Pure.

use std::fmt;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use crate::model::unhex;

use super::IdentityError;
use super::key::{Key, random};

/// Derivations of another version differ in all they give.
const SALT: &[u8] = b"remora join token 1";
/// One number in 2^32 is no P-256 key; so many in a row do not happen.
const TRIES: u8 = 8;

/// 256 random bits. Shown by `reveal` alone, wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    pub fn random() -> Result<Secret, IdentityError> {
        let mut bytes = Zeroizing::new([0; 32]);
        random(bytes.as_mut_slice())?;
        Ok(Secret(bytes))
    }

    pub(super) fn new(bytes: [u8; 32]) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    pub(super) fn parse(text: &str) -> Option<Secret> {
        unhex(text).map(Secret::new)
    }

    /// 64 hex digits.
    pub(super) fn reveal(&self) -> Zeroizing<String> {
        use std::fmt::Write;
        // Never grows, so no copy is left behind.
        let mut text = Zeroizing::new(String::with_capacity(64));
        for byte in self.0.iter() {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// What follows from the secret for one purpose; the secret does not follow from it.
    pub(super) fn derive<const N: usize>(
        &self,
        purpose: &[&[u8]],
    ) -> Result<Zeroizing<[u8; N]>, IdentityError> {
        let failed = |error| IdentityError::crypto("HKDF failed", error);
        let mut out = Zeroizing::new([0; N]);
        let prk = Salt::new(HKDF_SHA256, SALT).extract(self.0.as_slice());
        let okm = prk.expand(purpose, Length(N)).map_err(failed)?;
        okm.fill(out.as_mut_slice()).map_err(failed)?;
        Ok(out)
    }

    /// The P-256 key that this secret seeds for one purpose: always the same.
    pub fn key(&self, purpose: &str) -> Result<Key, IdentityError> {
        let mut last = IdentityError::Crypto("no key can be derived".to_owned());
        for attempt in 0..TRIES {
            let number = self.derive::<32>(&[b"P-256 key: ", purpose.as_bytes(), &[attempt]])?;
            match PrivateKey::from_private_key(&ECDH_P256, number.as_slice()) {
                Ok(private) => {
                    let public = private
                        .compute_public_key()
                        .map_err(|error| IdentityError::crypto("no public half", error))?;
                    return Key::from_halves(number.as_slice(), public.as_ref());
                }
                Err(error) => last = IdentityError::crypto("no key can be derived", error),
            }
        }
        Err(last)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

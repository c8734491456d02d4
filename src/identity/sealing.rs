//! Seals what only servers may read, and opens it again.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use crate::model::Digest;

use super::IdentityError;
use super::authority::Authority;
use super::key::digest_of;

/// What the key is derived for: another use of the same secret has another key.
const PURPOSE: &[u8] = b"remora: sealed secrets of tokens, version 1";
const KEY: usize = 32;

/// What seals the secrets of tokens.
pub struct SealingKey(LessSafeKey);

impl SealingKey {
    /// The same at every server of a cluster. Nobody else has what it is derived from.
    pub fn of(authority: &Authority) -> Result<SealingKey, IdentityError> {
        SealingKey::derive(authority.cluster_key().as_slice())
    }

    /// Of a cluster without an authority: its one server's data directory is all that guards it,
    /// and what lies there may be known to who can read there.
    pub fn of_nobody() -> Result<SealingKey, IdentityError> {
        SealingKey::derive(&[])
    }

    fn derive(secret: &[u8]) -> Result<SealingKey, IdentityError> {
        let failed = |error| IdentityError::crypto("a key for secrets cannot be derived", error);
        let derived = Salt::new(HKDF_SHA256, &[]).extract(secret);
        let purpose = [PURPOSE];
        let okm = derived.expand(&purpose, Length).map_err(failed)?;
        let mut key = Zeroizing::new([0; KEY]);
        okm.fill(key.as_mut_slice()).map_err(failed)?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).map_err(failed)?;
        Ok(SealingKey(LessSafeKey::new(key)))
    }

    /// The nonce, then the secret in a form that this key alone opens. No nonce may come twice.
    pub fn seal(&self, secret: &str, nonce: [u8; NONCE_LEN]) -> Result<Vec<u8>, IdentityError> {
        let failed = |error| IdentityError::crypto("a secret cannot be sealed", error);
        let mut bytes = secret.as_bytes().to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(unique, Aad::empty(), &mut bytes).map_err(failed)?;
        Ok([&nonce[..], &bytes].concat())
    }

    /// The secret; none if another key sealed it.
    pub fn open(&self, sealed: &[u8]) -> Option<Zeroizing<String>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut bytes = Zeroizing::new(rest.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_in_place(nonce, Aad::empty(), &mut bytes).ok()?;
        std::str::from_utf8(opened).ok().map(|text| Zeroizing::new(text.to_owned()))
    }
}

/// By what a token's secret is known: secrets are drawn, and so none can be guessed from it.
pub fn digest_of_secret(secret: &str) -> Digest {
    digest_of(secret.as_bytes())
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_opened_by_its_own_key_as_it_was_sealed() {
        let [ours, theirs] = [b"ours", b"them"].map(|key| SealingKey::derive(key).unwrap());
        let sealed = ours.seal("b0d5", [7; 12]).unwrap();
        assert_eq!(ours.open(&sealed).as_deref().map(String::as_str), Some("b0d5"));
        assert!(!sealed.windows(4).any(|window| window == b"b0d5"));
        assert!(theirs.open(&sealed).is_none());
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(ours.open(&damaged).is_none(), "byte {at}");
            assert!(ours.open(&sealed[..at]).is_none(), "cut at {at}");
        }
        assert_ne!(ours.seal("b0d5", [8; 12]).unwrap()[12..], sealed[12..]);
    }
}

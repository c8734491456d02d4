//! Tokens of users: signed, so that every server knows what another has given out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;

use crate::model::limits;

use super::IdentityError;
use super::authority::Authority;

/// The first byte of a token.
const VERSION: u8 = 1;
const KEY: usize = 32;
/// What the key is derived for: another use of the same secret has another key.
const PURPOSE: &[u8] = b"remora: tokens of users, version 1";

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    pub user: String,
    /// Of the password that it was given out for.
    pub generation: u64,
    /// In whole seconds. Tokens are judged by the wall clock, as certificates are.
    pub ends: SystemTime,
}

/// What signs tokens, and knows its own.
pub struct PassKey(hmac::Key);

impl PassKey {
    /// The same at every server of a cluster. Nobody else has what it is derived from.
    pub fn of(authority: &Authority) -> Result<PassKey, IdentityError> {
        PassKey::derive(authority.cluster_key().as_slice())
    }

    /// From random bytes: of a cluster without an authority, for as long as it runs.
    pub fn derive(secret: &[u8]) -> Result<PassKey, IdentityError> {
        let failed = |error| IdentityError::crypto("a key for tokens cannot be derived", error);
        let derived = Salt::new(HKDF_SHA256, &[]).extract(secret);
        let purpose = [PURPOSE];
        let okm = derived.expand(&purpose, Length).map_err(failed)?;
        let mut key = zeroize::Zeroizing::new([0; KEY]);
        okm.fill(key.as_mut_slice()).map_err(failed)?;
        Ok(PassKey(hmac::Key::new(HMAC_SHA256, key.as_slice())))
    }

    /// `version, generation, end, name`, a dot, the signature over the first half; base64 for URLs.
    pub fn sign(&self, pass: &Pass) -> String {
        let mut said = vec![VERSION];
        said.extend_from_slice(&pass.generation.to_be_bytes());
        said.extend_from_slice(&seconds(pass.ends).to_be_bytes());
        said.extend_from_slice(pass.user.as_bytes());
        let said = B64.encode(said);
        let signature = B64.encode(hmac::sign(&self.0, said.as_bytes()));
        format!("{said}.{signature}")
    }

    /// What it says, if this cluster has given it out and it has not ended.
    pub fn verify(&self, token: &str, now: SystemTime) -> Option<Pass> {
        if token.len() > limits::ACCESS_TOKEN {
            return None;
        }
        let (said, signature) = token.split_once('.')?;
        let signature = B64.decode(signature).ok()?;
        hmac::verify(&self.0, said.as_bytes(), &signature).ok()?;
        let said = B64.decode(said).ok()?;
        let (&[VERSION], rest) = said.split_first_chunk::<1>()? else { return None };
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let (ends, name) = rest.split_first_chunk::<8>()?;
        let pass = Pass {
            user: String::from_utf8(name.to_vec()).ok()?,
            generation: u64::from_be_bytes(*generation),
            ends: UNIX_EPOCH.checked_add(Duration::from_secs(u64::from_be_bytes(*ends)))?,
        };
        (pass.ends > now).then_some(pass)
    }
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY
    }
}

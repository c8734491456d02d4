//! A P-256 key: made, read and written, its public half, and what it signs.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use rand::RngExt;
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use zeroize::Zeroizing;

use crate::lifecycle::chance::{self, Dice};
use crate::model::Digest;

use super::IdentityError;
use super::seed::Secret;

/// An ECDSA key on P-256 with SHA-256. The library wipes its private half when it is dropped.
pub struct Key {
    pair: EcdsaKeyPair,
}

impl Key {
    pub fn generate() -> Result<Key, IdentityError> {
        Secret::random()?.key("a key of its own")
    }

    pub fn from_pkcs8(bytes: &[u8]) -> Result<Key, IdentityError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, bytes)
            .map_err(|error| IdentityError::crypto("no P-256 key in PKCS#8", error))?;
        Ok(Key { pair })
    }

    /// From the two halves: a big-endian number and the point that belongs to it.
    pub(super) fn from_halves(private: &[u8], public: &[u8]) -> Result<Key, IdentityError> {
        let alg = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(alg, private, public)
            .map_err(|error| IdentityError::crypto("a key cannot be derived", error))?;
        Ok(Key { pair })
    }

    /// The private key, for a file or for TLS.
    pub fn pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
        let document = self
            .pair
            .to_pkcs8v1()
            .map_err(|error| IdentityError::crypto("a key cannot be written", error))?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// The public half: 65 bytes, an uncompressed point.
    pub fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The public half in the form of X.509 (DER of SubjectPublicKeyInfo).
    pub fn spki(&self) -> Vec<u8> {
        self.subject_public_key_info()
    }

    /// By which this key is pinned.
    pub fn digest(&self) -> Digest {
        digest_of(&self.spki())
    }

    pub(super) fn signature(&self, message: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message)
            .map_err(|error| IdentityError::crypto("cannot sign", error))?;
        Ok(signature.as_ref().to_vec())
    }
}

/// Whether `signature` over `message` was made by the key with this public half (a point).
pub(super) fn is_signed(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public).verify(message, signature).is_ok()
}

/// The digest by which a public key in the form of X.509 is pinned.
pub fn digest_of(spki: &[u8]) -> Digest {
    Digest(sha256(spki))
}

/// Random bytes: from the machine, or in a simulation from its seed, so that what is made of them
/// has the same size and order in each run.
pub(super) fn random(bytes: &mut [u8]) -> Result<(), IdentityError> {
    if chance::is_seeded() {
        Dice.fill(bytes);
        return Ok(());
    }
    aws_lc_rs::rand::fill(bytes).map_err(|error| IdentityError::crypto("no random numbers", error))
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    out
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.public()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signature(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.digest())
    }
}

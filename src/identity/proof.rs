//! How a joiner shows that it holds a token's secret: a signature tied to a connection and a key.

use super::IdentityError;
use super::key::{Key, is_signed};

/// The signature, as DER.
pub type Proof = Vec<u8>;

const LABEL: &[u8] = b"remora join 1\0";

/// What is signed: the label, the connection's exporter (RFC 9266), the public key that a
/// certificate is asked for. Each has a fixed length or is the last, so nothing can be shifted.
fn message(binding: &[u8; 32], spki: &[u8]) -> Vec<u8> {
    [LABEL, binding.as_slice(), spki].concat()
}

/// Proves that the holder of `key` asks, on this connection, for a certificate of the key `spki`.
pub fn prove(key: &Key, binding: &[u8; 32], spki: &[u8]) -> Result<Proof, IdentityError> {
    key.signature(&message(binding, spki))
}

/// Whether the holder of the token key with the public half `public` (a point) asks for this.
pub fn verify_proof(public: &[u8], binding: &[u8; 32], spki: &[u8], proof: &[u8]) -> bool {
    is_signed(public, &message(binding, spki), proof)
}

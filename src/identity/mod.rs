//! Join tokens, the cluster's authority, certificates and how they are judged; what is on disk.
//!
//! Nothing here opens a socket or speaks TLS, and time is an argument everywhere. The chain of
//! trust: a *root* key, pinned by members, certifies a *signing* key, which signs the *leaves* of
//! members. Where the cluster was founded with an offline server token, the *founding* key that
//! the token seeds certifies the root as well, so that agents which know that token's digest
//! alone find their way up to it.

mod access;
mod authority;
mod error;
mod files;
mod judge;
mod key;
mod leaf;
mod password;
mod proof;
mod sealing;
mod seed;
mod spiffe;
mod sum;
#[cfg(test)]
mod tests;
mod token;

use std::time::Duration;

pub use access::{Pass, PassKey};
pub use authority::{Authority, Founding, requested_spki};
pub use error::IdentityError;
pub use files::{Admitted, DataDir, Identity, Lost, Pledge, Promise};
pub use judge::{Judged, Trust, Unfit, judge, judge_for_renewal};
pub use key::{Key, digest_of};
pub use leaf::{Leaf, is_due};
pub use password::{Salt, hash_password, is_password, nobodys_hash};
pub use proof::{Proof, prove, verify_proof};
pub use sealing::{SealingKey, digest_of_secret};
pub use seed::Secret;
pub use spiffe::Holder;
pub use sum::Sum;
pub use token::{JoinToken, Offline, TokenError};

/// How long certificates are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of a member's certificate, from its issue on.
    pub leaf: Duration,
    /// How long after its end a leaf is still good for being renewed.
    pub grace: Duration,
    /// How far before its issue a leaf begins, as clocks differ.
    pub skew: Duration,
}

impl Default for Lifetimes {
    fn default() -> Lifetimes {
        Lifetimes {
            leaf: Duration::from_secs(72 * 3600),
            grace: Duration::from_secs(72 * 3600),
            skew: Duration::from_secs(10 * 60),
        }
    }
}

//! Why a key, a certificate or a file of this agent's identity cannot be used.

use std::io;
use std::path::PathBuf;

/// Something of the agent's own identity is unusable. Fatal at the start; later it ends a try.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}: {why}", path.display())]
    Content { path: PathBuf, why: String },
    #[error(
        "{}: its mode is {mode:04o}, so others on this host can reach a secret: \
         run `chmod 600 {}`, and think of it as seen", path.display(), path.display()
    )]
    Wide { path: PathBuf, mode: u32 },
    #[error("the certificate request is refused: {0}")]
    Request(String),
    #[error("{0}")]
    Crypto(String),
}

impl IdentityError {
    pub(super) fn crypto(what: &str, error: impl std::fmt::Display) -> IdentityError {
        IdentityError::Crypto(format!("{what}: {error}"))
    }
}

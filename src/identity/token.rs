//! Join tokens: what is printed once, carried to an agent and read there.

use std::fmt;

use zeroize::Zeroizing;

use crate::model::{Digest, Role, TokenId};

use super::IdentityError;
use super::key::Key;
use super::seed::Secret;

const PREFIX: &str = "rmr1";
const TOKEN_KEY: &str = "token";
const FOUNDING_KEY: &str = "founding";

/// What lets an agent in: `rmr1-<role>-<digest>-<id>-<secret>`, all but the role in hex digits.
/// Neither `Debug` nor an error shows the secret; `reveal` does.
#[derive(Clone)]
pub struct JoinToken {
    role: Role,
    digest: Digest,
    id: TokenId,
    secret: Secret,
}

/// Why a text is no join token. Never says what was in the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the join token is empty")]
    Empty,
    #[error(
        "no join token: it has {0} parts between dashes, a token has 5 (rmr1-role-digest-id-secret)"
    )]
    Parts(usize),
    #[error("no join token of a kind this release knows: it must begin with {PREFIX}-")]
    Prefix,
    #[error("the join token's role (part 2) must be server, edge or relay")]
    Role,
    #[error("the join token's digest (part 3) must be 64 hex digits in lower case")]
    Digest,
    #[error("the join token's id (part 4) must be 16 hex digits in lower case")]
    Id,
    #[error("the join token's secret (part 5) must be 64 hex digits in lower case")]
    Secret,
    #[error("the join token is damaged: its parts do not belong together, copy it again")]
    Mixed,
    #[error("the join token's key cannot be derived")]
    Key,
}

impl JoinToken {
    /// A new token for agents of `role` that shall trust the key with this digest.
    pub fn generate(role: Role, digest: Digest) -> Result<JoinToken, IdentityError> {
        JoinToken::new(role, digest, Secret::random()?)
    }

    fn new(role: Role, digest: Digest, secret: Secret) -> Result<JoinToken, IdentityError> {
        let id = check_number(role, &digest, &secret)?;
        Ok(JoinToken { role, digest, id, secret })
    }

    /// Reads what `reveal` gives; white space around it is ignored.
    pub fn parse(text: &str) -> Result<JoinToken, TokenError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        let parts: Vec<&str> = text.split('-').collect();
        if parts.first() != Some(&PREFIX) {
            return Err(TokenError::Prefix);
        }
        let &[_, role, digest, id, secret] = parts.as_slice() else {
            return Err(TokenError::Parts(parts.len()));
        };
        let roles = [Role::Server, Role::Edge, Role::Relay];
        let role =
            roles.into_iter().find(|known| known.as_str() == role).ok_or(TokenError::Role)?;
        let digest = Digest::parse(digest).ok_or(TokenError::Digest)?;
        let id = TokenId::parse(id).ok_or(TokenError::Id)?;
        let secret = Secret::parse(secret).ok_or(TokenError::Secret)?;
        let token = JoinToken::new(role, digest, secret).map_err(|_| TokenError::Key)?;
        if token.id == id { Ok(token) } else { Err(TokenError::Mixed) }
    }

    /// The whole token, secret included: for who asked for it, and for nobody else.
    pub fn reveal(&self) -> Zeroizing<String> {
        let role = self.role.as_str();
        let secret = self.secret.reveal();
        let mut text = Zeroizing::new(String::with_capacity(192));
        for part in [PREFIX, "-", role, "-", &self.digest.to_string(), "-"] {
            text.push_str(part);
        }
        text.push_str(&self.id.to_string());
        text.push('-');
        text.push_str(&secret);
        text
    }

    /// What an agent may become with it, at most: a server token also lets edges in.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Of the key that must be found above the certificates of whoever answers.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub fn id(&self) -> TokenId {
        self.id
    }

    /// The key that signs the proof; the cluster knows its public half.
    pub fn key(&self) -> Result<Key, IdentityError> {
        self.secret.key(TOKEN_KEY)
    }

    /// The founding key, if this is a server token that was made offline: its holder may found
    /// the cluster.
    pub fn founding_key(&self) -> Result<Option<Key>, IdentityError> {
        if self.role != Role::Server {
            return Ok(None);
        }
        let key = self.secret.key(FOUNDING_KEY)?;
        Ok((key.digest() == self.digest).then_some(key))
    }

    /// The tokens made together with this one, if it is a server token that was made offline.
    pub fn kin(&self) -> Result<Option<Offline>, IdentityError> {
        if self.founding_key()?.is_none() {
            return Ok(None);
        }
        let derived = |role: Role| {
            let secret = self.secret.derive::<32>(&[b"secret: ", role.as_str().as_bytes()])?;
            JoinToken::new(role, self.digest, Secret::new(*secret))
        };
        let (edge, relay) = (derived(Role::Edge)?, derived(Role::Relay)?);
        Ok(Some(Offline { server: self.clone(), edge, relay }))
    }
}

/// Tokens made before there is a cluster. The latter two follow from the first; not the reverse.
#[derive(Debug, Clone)]
pub struct Offline {
    /// Seeds the key under which the cluster is founded. Never for a sidecar.
    pub server: JoinToken,
    pub edge: JoinToken,
    pub relay: JoinToken,
}

impl Offline {
    pub fn generate() -> Result<Offline, IdentityError> {
        let secret = Secret::random()?;
        let digest = secret.key(FOUNDING_KEY)?.digest();
        let server = JoinToken::new(Role::Server, digest, secret)?;
        let kin = server.kin()?;
        kin.ok_or_else(|| IdentityError::Crypto("the founding key is not its own".to_owned()))
    }

    /// Those that a cluster founded with the first knows from the beginning.
    pub fn all(&self) -> [&JoinToken; 3] {
        [&self.server, &self.edge, &self.relay]
    }
}

/// The id follows from all other parts, so that a token copied wrong is found out where it is
/// read. It tells nothing of the secret.
fn check_number(role: Role, digest: &Digest, secret: &Secret) -> Result<TokenId, IdentityError> {
    let bytes = secret.derive::<8>(&[b"id: ", role.as_str().as_bytes(), &digest.0])?;
    Ok(TokenId(u64::from_be_bytes(*bytes)))
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (role, id) = (self.role.as_str(), self.id);
        write!(f, "JoinToken({role}, id {id}, redacted)")
    }
}

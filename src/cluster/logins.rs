//! Who somebody is: passwords compared and hashed, tokens given out and recognised.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::access::{ANONYMOUS_SECRET, AclCommand, Caller, PasswordHash, Sealed, SecretId};
use crate::identity::{self, Pass, PassKey, SealingKey};
use crate::lifecycle::{aside, chance};
use crate::model::limits;
use crate::state::{Command, State};

use super::badge::Badge;
use super::{ProposeError, ReadError};

/// How a caller says who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    Nothing,
    /// What a login gave out, or the secret of a token.
    Token(Arc<str>),
    /// The name in the certificate of its connection, which the listener has verified.
    Name(Arc<str>),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credential::Nothing => f.write_str("nothing"),
            Credential::Token(_) => f.write_str("a token"),
            Credential::Name(name) => write!(f, "a certificate of {name}"),
        }
    }
}

/// Somebody who asks this agent for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// Who that is: what its questions are judged by.
    pub caller: Caller,
    /// As it goes along with what it wants written. An edge's word on who that is counts for
    /// nothing: a server looks at the token itself.
    pub(super) sent: Caller,
}

impl Asker {
    pub fn nobody() -> Asker {
        Asker::known(Caller::Nobody)
    }

    pub(super) fn known(caller: Caller) -> Asker {
        Asker { sent: caller.clone(), caller }
    }

    /// The command as one that it wants.
    pub fn wants(&self, command: Command) -> Command {
        command.by(self.sent.clone())
    }
}

/// Why there is no token, or no hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LoginError {
    #[error("accounts do not count: authentication is not enabled")]
    NotEnabled,
    #[error("the user does not exist, or the password is wrong")]
    Wrong,
    #[error("the user has no password")]
    NoPassword,
    #[error("too many passwords are being compared")]
    Busy,
    #[error("a password of {len} bytes is too long: at most {max}")]
    TooLong { len: usize, max: usize },
    #[error("no cluster leader")]
    NoLeader,
    #[error("passwords cannot be hashed: {0}")]
    Failed(String),
}

impl From<ReadError> for LoginError {
    fn from(_: ReadError) -> LoginError {
        LoginError::NoLeader
    }
}

/// A token's worth, as a server tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Worth {
    pub caller: Caller,
    /// For how long that is so.
    pub left: Duration,
}

/// How long a token that is worth nothing is remembered as such.
const WORTHLESS: Duration = Duration::from_secs(10);

pub(super) struct Logins {
    /// None in tests of what stands above.
    badge: Option<Arc<Badge>>,
    key: OnceLock<PassKey>,
    sealing: OnceLock<SealingKey>,
    hashing: Semaphore,
    waiting: Semaphore,
    /// What servers said of tokens; of who is no server.
    known: Mutex<BTreeMap<Arc<str>, (Caller, Instant)>>,
}

impl Logins {
    pub fn new(badge: Option<Arc<Badge>>) -> Logins {
        Logins {
            badge,
            key: OnceLock::new(),
            sealing: OnceLock::new(),
            hashing: Semaphore::new(limits::HASHES_AT_ONCE),
            waiting: Semaphore::new(limits::HASHES_AT_ONCE + limits::HASHES_WAITING),
            known: Mutex::default(),
        }
    }

    /// Of the authority that all servers share, or drawn for this run where there is none.
    fn key(&self) -> Result<&PassKey, LoginError> {
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        let authority = self.badge.as_ref().and_then(|badge| badge.authority());
        let key = match authority {
            Some(authority) => PassKey::of(&authority),
            None => PassKey::derive(&chance::random::<[u8; 32]>()),
        };
        let key = key.map_err(|error| LoginError::Failed(error.to_string()))?;
        Ok(self.key.get_or_init(|| key))
    }

    /// The same for secrets; where there is no authority, there is nobody to keep them from.
    fn sealing(&self) -> Result<&SealingKey, LoginError> {
        if let Some(key) = self.sealing.get() {
            return Ok(key);
        }
        let authority = self.badge.as_ref().and_then(|badge| badge.authority());
        let key = match authority {
            Some(authority) => SealingKey::of(&authority),
            None => SealingKey::of_nobody(),
        };
        let key = key.map_err(|error| LoginError::Failed(error.to_string()))?;
        Ok(self.sealing.get_or_init(|| key))
    }

    /// The secret that a server sealed.
    pub fn open(&self, sealed: &Sealed) -> Option<Zeroizing<String>> {
        self.sealing().ok()?.open(&sealed.0)
    }

    /// A secret in a command is sealed: at a server, which has the key, before anything is logged.
    pub fn seal(&self, command: Command) -> Command {
        match command {
            Command::For(mut wish) => {
                wish.command = self.seal(wish.command);
                Command::For(wish)
            }
            Command::Acl(mut command) => {
                if let AclCommand::Bootstrap(put)
                | AclCommand::Reset(put)
                | AclCommand::TokenPut(put) = &mut command
                {
                    put.secret = put.secret.take().map(|secret| self.sealed(secret));
                }
                Command::Acl(command)
            }
            command => command,
        }
    }

    /// One that cannot be sealed can never be read again, but lets in who knows it.
    fn sealed(&self, secret: SecretId) -> SecretId {
        let SecretId::Open(text) = &secret else { return secret };
        let sealed = self.sealing().ok().and_then(|key| key.seal(text, chance::random()).ok());
        let sealed = Sealed(sealed.unwrap_or_default().into());
        SecretId::Sealed { digest: identity::digest_of_secret(text), sealed }
    }

    fn now(&self) -> SystemTime {
        self.badge.as_ref().map_or_else(SystemTime::now, |badge| badge.now())
    }

    /// What a token is worth: at a server, which has the key. Whether the user is still there and
    /// has the same password, the state says.
    pub fn look_at(&self, token: &str) -> Worth {
        let now = self.now();
        let pass = self.key().ok().and_then(|key| key.verify(token, now));
        match pass {
            Some(Pass { user, generation, ends }) => Worth {
                caller: Caller::User { name: user.into(), generation: Some(generation) },
                left: ends.duration_since(now).unwrap_or_default(),
            },
            None => Worth { caller: holder(token), left: WORTHLESS },
        }
    }

    /// A command that came with a token that nobody has looked at is one of its bearer's. No
    /// secret enters the log in clear.
    pub fn resolve(&self, command: Command) -> Command {
        match self.seal(command) {
            Command::For(mut wish) => {
                if let Caller::Bearer(token) = &wish.caller {
                    wish.caller = self.look_at(token).caller;
                }
                Command::For(wish)
            }
            command => command,
        }
    }

    /// At a server, which has the passwords. Who does not exist is refused after the same time.
    pub async fn login(
        &self,
        state: &State,
        name: &str,
        password: Zeroizing<String>,
    ) -> Result<String, LoginError> {
        if !state.accounts().enabled() {
            return Err(LoginError::NotEnabled);
        }
        let user = state.accounts().user(name);
        if user.is_some_and(|user| user.no_password) {
            return Err(LoginError::NoPassword);
        }
        let hash = state.password(name).filter(|_| user.is_some());
        let against = hash.map_or_else(|| identity::nobodys_hash().into(), |hash| hash.0.clone());
        let _turn = self.turn().await?;
        let right = aside(move || identity::is_password(&password, &against)).await;
        let right = right.map_err(|error| LoginError::Failed(error.to_string()))?;
        let (Some(user), Some(_), true) = (user, hash, right) else {
            return Err(LoginError::Wrong);
        };
        let ends = self.now() + limits::ACCESS_TOKEN_TTL;
        let pass = Pass { user: name.to_owned(), generation: user.generation, ends };
        Ok(self.key()?.sign(&pass))
    }

    /// What a new password is to be held against.
    pub async fn hash(&self, password: Zeroizing<String>) -> Result<PasswordHash, LoginError> {
        let (len, max) = (password.len(), limits::PASSWORD);
        if len > max {
            return Err(LoginError::TooLong { len, max });
        }
        let salt: identity::Salt = chance::random();
        let _turn = self.turn().await?;
        let hash = aside(move || identity::hash_password(&password, &salt)).await;
        match hash {
            Ok(Some(hash)) => Ok(PasswordHash(hash.into())),
            Ok(None) => Err(LoginError::Failed("there is no memory for it".to_owned())),
            Err(error) => Err(LoginError::Failed(error.to_string())),
        }
    }

    /// Few at a time: each takes a core and some memory.
    async fn turn(&self) -> Result<(SemaphorePermit<'_>, SemaphorePermit<'_>), LoginError> {
        let waiting = self.waiting.try_acquire().map_err(|_| LoginError::Busy)?;
        let turn = self.hashing.acquire().await.map_err(|_| LoginError::Busy)?;
        Ok((waiting, turn))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, (Caller, Instant)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a server has said of a token that still holds.
    pub fn remembered(&self, token: &str) -> Option<Caller> {
        let known = self.known();
        let (caller, until) = known.get(token)?;
        (Instant::now() < *until).then(|| caller.clone())
    }

    /// Remembers what a server said. Where there are too many, the one that ends first goes.
    pub fn remember(&self, token: &Arc<str>, worth: &Worth) {
        let now = Instant::now();
        let Some(until) = now.checked_add(worth.left) else { return };
        let mut known = self.known();
        if known.len() >= limits::TOKENS_KNOWN && !known.contains_key(token) {
            known.retain(|_, (_, until)| *until > now);
        }
        if known.len() >= limits::TOKENS_KNOWN && !known.contains_key(token) {
            let first = known.iter().min_by_key(|(_, (_, until))| *until);
            if let Some(first) = first.map(|(token, _)| token.clone()) {
                known.remove(&first);
            }
        }
        known.insert(token.clone(), (worth.caller.clone(), until));
    }
}

/// Who shows a secret: whether it is one of a token, the state says.
pub(super) fn holder(token: &str) -> Caller {
    match token {
        ANONYMOUS_SECRET => Caller::Nobody,
        token => Caller::Holder(identity::digest_of_secret(token)),
    }
}

impl From<LoginError> for ProposeError {
    fn from(error: LoginError) -> ProposeError {
        match error {
            LoginError::NoLeader => ProposeError::NoLeader,
            other => ProposeError::Busy(other.to_string()),
        }
    }
}

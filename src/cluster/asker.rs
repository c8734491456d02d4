//! Who asks this agent for something: by its own word at a server, by a server's elsewhere.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, sleep, timeout_at};
use zeroize::Zeroizing;

use crate::access::{Caller, Level, Need, PasswordHash, Resource};
use crate::lifecycle::Backoff;
use crate::model::{AclId, limits};
use crate::state::{Command, Outcome};

use super::asks::{Ask, Reply, Secret};
use super::edge::Edge;
use super::logins::{self, Asker, Credential, LoginError};
use super::server::Server;
use super::{Cluster, Door, ProposeError, ReadError, patience};

/// What etcd's clients call themselves where their password is a token's secret.
const TOKEN: &str = "token";
/// How soon, and how late, whoever is followed is asked again.
const AGAIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

impl Cluster {
    /// Whose credential that is. While neither users nor tokens count nobody is looked at. Whether
    /// a user still is what the credential says, the state knows that its question is judged by.
    pub async fn asker(&self, credential: &Credential) -> Result<Asker, ReadError> {
        if *credential == Credential::Nothing || !self.snapshot().is_guarded() {
            return Ok(Asker::nobody());
        }
        match (self.threshold.door(), credential) {
            (None, _) => Err(ReadError::NotSynced),
            (_, Credential::Nothing) => Ok(Asker::nobody()),
            // A server takes nobody's word on whom a listener of an edge has seen.
            (Some(Door::Edge(_)), Credential::Name(_)) => Ok(Asker::nobody()),
            (Some(_), Credential::Name(name)) => {
                Ok(Asker::known(Caller::User { name: name.clone(), generation: None }))
            }
            (Some(Door::Edge(edge)), Credential::Token(token)) => {
                if token.len() > limits::ACCESS_TOKEN {
                    return Ok(Asker::known(Caller::Stranger));
                }
                let caller = match self.logins.remembered(token) {
                    Some(caller) => caller,
                    // A secret's digest is everywhere; what users show is looked at by servers.
                    None if !token.contains('.') => logins::holder(token),
                    None => self.ask_about(edge, token).boxed().await?,
                };
                Ok(Asker { caller, sent: Caller::Bearer(token.clone()) })
            }
            (Some(_), Credential::Token(token)) => {
                Ok(Asker::known(self.logins.look_at(token).caller))
            }
        }
    }

    async fn ask_about(&self, edge: &Edge, token: &Arc<str>) -> Result<Caller, ReadError> {
        let ask = || Ask::Identify(Secret(Zeroizing::new(token.to_string())));
        let worth = asked(edge, ask, |reply| match reply {
            Reply::Identified(worth) => Some(worth),
            _ => None,
        });
        let worth = worth.await.ok_or(ReadError::NoLeader)?;
        self.logins.remember(token, &worth);
        Ok(worth.caller)
    }

    /// The same as `propose`, for somebody: whether it may be is judged as it is applied.
    pub async fn propose_for(
        &self,
        asker: &Asker,
        command: Command,
    ) -> Result<Outcome, ProposeError> {
        self.propose(asker.wants(command)).await
    }

    /// A token for who knows a user's password.
    pub async fn login(
        &self,
        name: &str,
        password: Zeroizing<String>,
    ) -> Result<String, LoginError> {
        if password.len() > limits::PASSWORD || name.len() > limits::ACCOUNT_NAME {
            return Err(LoginError::Wrong);
        }
        if let Some(logged_in) = self.login_of_token(name, &password) {
            return logged_in;
        }
        match self.threshold.door() {
            None => Err(LoginError::NoLeader),
            Some(Door::Edge(edge)) => {
                let ask =
                    || Ask::Login { name: name.to_owned(), password: Secret(password.clone()) };
                let done = asked(edge, ask, |reply| match reply {
                    Reply::LoggedIn(done) => Some(done),
                    _ => None,
                });
                done.boxed()
                    .await
                    .unwrap_or(Err(LoginError::NoLeader))
                    .map(|token| token.0.to_string())
            }
            Some(Door::Server(server)) => server.login(name, password).boxed().await,
            #[cfg(test)]
            Some(Door::Solo(_)) => self.logins.login(&self.snapshot(), name, password).await,
        }
    }

    /// etcd's clients can show nothing but what they are given for a name and a password: with a
    /// name that is no user's, the secret of a token is what it is elsewhere.
    fn login_of_token(&self, name: &str, secret: &str) -> Option<Result<String, LoginError>> {
        let state = self.snapshot();
        if name != TOKEN || !state.acl().enabled() || state.accounts().user(name).is_some() {
            return None;
        }
        let Caller::Holder(digest) = logins::holder(secret) else {
            return Some(Err(LoginError::Wrong));
        };
        let held = state.acl().held(&digest, state.stamp());
        Some(held.map(|_| secret.to_owned()).ok_or(LoginError::Wrong))
    }

    /// The secret of a token, for who may make tokens. None: nobody here may read it, or whoever
    /// is asked does not know it.
    pub async fn reveal(&self, asker: &Asker, accessor: AclId) -> Option<Zeroizing<String>> {
        match (self.threshold.door()?, &asker.sent) {
            (Door::Server(server), _) => server.reveal(accessor, &asker.caller),
            #[cfg(test)]
            (Door::Solo(_), _) => {
                let state = self.snapshot();
                state.secret(accessor).and_then(|sealed| self.logins.open(sealed))
            }
            (Door::Edge(edge), Caller::Bearer(token)) => {
                let token = || Secret(Zeroizing::new(token.to_string()));
                let ask = || Ask::Reveal { accessor, token: token() };
                let revealed = asked(edge, ask, |reply| match reply {
                    Reply::Revealed(secret) => Some(secret),
                    _ => None,
                });
                revealed.boxed().await.flatten().map(|secret| secret.0)
            }
            (Door::Edge(_), _) => None,
        }
    }

    /// What a new password is to be held against.
    pub async fn hash_password(
        &self,
        password: Zeroizing<String>,
    ) -> Result<PasswordHash, LoginError> {
        self.logins.hash(password).await
    }
}

impl Server {
    /// By everything that was acknowledged before: an old password is worth nothing at once.
    pub(super) async fn login(
        &self,
        name: &str,
        password: Zeroizing<String>,
    ) -> Result<String, LoginError> {
        let state = patience::read(self, &self.replica).await?;
        self.logins.login(&state, name, password).await
    }
}

impl Server {
    pub(super) fn reveal(&self, accessor: AclId, caller: &Caller) -> Option<Zeroizing<String>> {
        let state = self.replica.snapshot();
        state.judge(caller, Need::Rule(Resource::Acl, "", Level::Write)).ok()?;
        self.logins.open(state.secret(accessor)?)
    }
}

impl Edge {
    /// Asks whoever is followed once.
    pub(super) async fn inquire(&self, ask: &Ask) -> Option<Reply> {
        self.call_upstream(ask, limits::LEADER_PATIENCE).await
    }
}

/// Asks as often as whoever is followed changes. None of these questions does anything, so that
/// each may be asked again.
async fn asked<T>(
    edge: &Edge,
    ask: impl Fn() -> Ask,
    read: impl Fn(Reply) -> Option<T>,
) -> Option<T> {
    let deadline = Instant::now() + limits::LEADER_PATIENCE;
    let mut pauses = Backoff::new(AGAIN.0, AGAIN.1);
    loop {
        let reply = timeout_at(deadline, edge.inquire(&ask())).await.ok()?;
        if let Some(read) = reply.and_then(&read) {
            return Some(read);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(pauses.next_delay()).await;
    }
}

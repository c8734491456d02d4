//! The one authorizer: whether somebody may do something.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{AclId, Digest, KeyRange, Stamp};

use super::accounts::{Accounts, User};
use super::acl::Acl;
use super::demand::Area;
use super::grants::Grants;
use super::rule::{Level, Resource};

/// Who asks. It travels with what is proposed, and is judged where that is applied.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Caller {
    /// Says nothing of itself.
    Nobody,
    /// Shows a token that nobody has looked at yet: an edge's caller, on its way to a server.
    Bearer(Arc<str>),
    /// Has shown a token that is worth nothing.
    Stranger,
    /// Who it is was proved to a server.
    User {
        name: Arc<str>,
        /// Of the password that it was proved with. None: by a certificate.
        generation: Option<u64>,
    },
    /// Has shown the secret with that digest.
    Holder(Digest),
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Nobody => f.write_str("Nobody"),
            Caller::Bearer(_) => f.write_str("Bearer(redacted)"),
            Caller::Stranger => f.write_str("Stranger"),
            Caller::User { name, generation } => write!(f, "User({name:?}, {generation:?})"),
            Caller::Holder(digest) => write!(f, "Holder({digest})"),
        }
    }
}

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Denied {
    #[error("who asks has not said who it is")]
    Nobody,
    #[error("the token is invalid or has expired")]
    Token,
    #[error("permission denied")]
    Permission,
    #[error("permission denied: {0}")]
    Lacks(Arc<Lack>),
}

/// What a token does not permit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// None: of who shows none.
    pub token: Option<AclId>,
    pub resource: Resource,
    pub level: Level,
    pub name: String,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.token {
            Some(id) => write!(f, "token with AccessorID '{id}' lacks permission ")?,
            None => f.write_str("anonymous token lacks permission ")?,
        }
        write!(f, "'{}:{}'", self.resource.name(), self.level)?;
        if !self.name.is_empty() {
            write!(f, " on {:?}", self.name)?;
        }
        if self.token.is_none() {
            f.write_str(
                ". The anonymous token is used implicitly when a request does not specify a token.",
            )?;
        }
        Ok(())
    }
}

/// What something takes.
#[derive(Debug, Clone, Copy)]
pub enum Need<'a> {
    /// To be a user at all, or to have a token.
    User,
    /// To have the role root, or a token that may do everything.
    Root,
    Read(&'a KeyRange),
    Write(&'a KeyRange),
    /// To be that user, or root.
    Oneself(&'a str),
    /// To have that role, or root.
    RoleOf(&'a str),
    /// What tokens have rules for. Users may do what nothing closes to them.
    Rule(Resource, &'a str, Level),
}

/// All that a verdict depends on, at one moment of the cluster.
#[derive(Debug, Clone, Copy)]
pub struct Gate<'a> {
    pub accounts: &'a Accounts,
    pub acl: &'a Acl,
    pub now: Stamp,
}

/// What a caller may do.
#[derive(Debug, Clone)]
pub struct Rights<'a>(Standing<'a>);

#[derive(Debug, Clone)]
enum Standing<'a> {
    All,
    /// None of those whom users and roles know. `others`: what tokens leave to everybody, where
    /// these count.
    Outside {
        why: Denied,
        others: Option<Grants>,
    },
    User {
        accounts: &'a Accounts,
        name: &'a str,
        user: &'a User,
        others: Option<Grants>,
    },
    Token(Grants),
}

impl<'a> Gate<'a> {
    /// Whether anybody is asked who it is.
    pub fn is_open(&self) -> bool {
        !self.accounts.enabled() && !self.acl.enabled()
    }

    /// What may be done by somebody, whom users and roles need not know: something may be open. An
    /// error: nothing at all, as it has shown what is worth nothing.
    pub fn standing(&self, caller: &'a Caller) -> Result<Rights<'a>, Denied> {
        if self.is_open() {
            return Ok(Rights(Standing::All));
        }
        let (users, tokens) = (self.accounts.enabled(), self.acl.enabled());
        let anonymous = || self.acl.grants(None, users);
        let outside = |why| {
            let others = tokens.then(anonymous);
            Ok(Rights(Standing::Outside { why, others }))
        };
        match caller {
            Caller::Nobody if users => outside(Denied::Nobody),
            Caller::Nobody => Ok(Rights(Standing::Token(anonymous()))),
            Caller::Holder(digest) if tokens => {
                let token = self.acl.held(digest, self.now).ok_or(Denied::Token)?;
                Ok(Rights(Standing::Token(self.acl.grants(Some(token), users))))
            }
            Caller::Bearer(_) | Caller::Stranger | Caller::Holder(_) if tokens => {
                Err(Denied::Token)
            }
            Caller::Bearer(_) | Caller::Stranger | Caller::Holder(_) => outside(Denied::Token),
            Caller::User { generation: None, .. } if !users => {
                Ok(Rights(Standing::Token(anonymous())))
            }
            Caller::User { .. } if !users => Err(Denied::Token),
            Caller::User { name, generation } => match self.user(name, *generation) {
                Ok(user) if user.is_root() => Ok(Rights(Standing::All)),
                Ok(user) => {
                    let (accounts, others) = (self.accounts, tokens.then(anonymous));
                    Ok(Rights(Standing::User { accounts, name, user, others }))
                }
                Err(Denied::Token) if tokens => Err(Denied::Token),
                Err(why) => outside(why),
            },
        }
    }

    /// The same where it has to be somebody.
    pub fn rights(&self, caller: &'a Caller) -> Result<Rights<'a>, Denied> {
        match self.standing(caller)? {
            Rights(Standing::Outside { why, .. }) => Err(why),
            rights => Ok(rights),
        }
    }

    /// The same for one thing.
    pub fn judge(&self, caller: &Caller, need: Need<'_>) -> Result<(), Denied> {
        self.standing(caller)?.may(need)
    }

    fn user(&self, name: &str, generation: Option<u64>) -> Result<&'a User, Denied> {
        match (self.accounts.user(name), generation) {
            (Some(user), Some(generation)) if user.generation != generation => Err(Denied::Token),
            (Some(user), _) => Ok(user),
            (None, Some(_)) => Err(Denied::Token),
            // A certificate of nobody who is known here.
            (None, None) => Err(Denied::Permission),
        }
    }
}

impl Rights<'_> {
    pub fn may(&self, need: Need<'_>) -> Result<(), Denied> {
        let (grants, why) = match (&self.0, need) {
            (Standing::All, _) => return Ok(()),
            (Standing::Token(grants), _) => (Some(grants), Denied::Permission),
            // The one area that users and roles know nothing of.
            (
                Standing::Outside { others, .. } | Standing::User { others, .. },
                Need::Rule(resource, _, level),
            ) if Area::of(resource, level) == Area::Catalog => match others {
                None => return Ok(()),
                others => (others.as_ref(), Denied::Permission),
            },
            (Standing::Outside { why, .. }, _) => (None, why.clone()),
            (Standing::User { accounts, name, user, .. }, need) => {
                let may = user_may(accounts, name, user, need);
                return if may { Ok(()) } else { Err(Denied::Permission) };
            }
        };
        match grants {
            None => Err(why),
            Some(grants) if token_may(grants, need) => Ok(()),
            Some(grants) => Err(lacks(grants, need).map_or(why, |lack| Denied::Lacks(lack.into()))),
        }
    }

    /// Whether it may read that, so that it is shown.
    pub fn sees(&self, resource: Resource, name: &str) -> bool {
        let need = Need::Rule(resource, name, Level::Read);
        match &self.0 {
            Standing::All => true,
            Standing::Token(grants) => token_may(grants, need),
            Standing::Outside { others: None, .. } | Standing::User { others: None, .. }
                if Area::of(resource, Level::Read) == Area::Catalog =>
            {
                true
            }
            _ => self.may(need).is_ok(),
        }
    }

    /// Whether it sees a key of those that it asked for: a token is shown those it may read, a
    /// user may read all of them or is told so before.
    pub fn sees_key(&self, key: &[u8]) -> bool {
        match &self.0 {
            Standing::Token(grants) => grants.allows(Resource::Key, key, Level::Read),
            _ => true,
        }
    }

    /// Whether it goes by rules, and is shown of many keys those that it may read.
    pub fn goes_by_rules(&self) -> bool {
        matches!(self.0, Standing::Token(_))
    }

    /// Whether nothing is closed to it.
    pub fn are_all(&self) -> bool {
        matches!(self.0, Standing::All)
    }

    /// The token that it goes by.
    pub fn token(&self) -> Option<AclId> {
        match &self.0 {
            Standing::Token(grants) => grants.holder,
            _ => None,
        }
    }
}

fn user_may(accounts: &Accounts, name: &str, user: &User, need: Need<'_>) -> bool {
    match need {
        Need::User => true,
        Need::Root => false,
        Need::Read(range) => accounts.reads(user, range),
        Need::Write(range) => accounts.writes(user, range),
        Need::Oneself(other) => name == other,
        Need::RoleOf(role) => user.roles.contains(role),
        Need::Rule(Resource::Key, key, level) => {
            let range = KeyRange::one(key.as_bytes().to_vec().into());
            match level {
                Level::Write => accounts.writes(user, &range),
                _ => accounts.reads(user, &range),
            }
        }
        // What it holds is judged by the keys, where it is ended or kept.
        Need::Rule(Resource::Session, ..) => true,
        Need::Rule(..) => false,
    }
}

fn token_may(grants: &Grants, need: Need<'_>) -> bool {
    match need {
        Need::User => {
            let opened = grants.by_default && !grants.beside_users;
            !grants.is_anonymous() || opened
        }
        // Who may write ACLs may give itself everything: that is Consul's management.
        Need::Root | Need::Oneself(_) | Need::RoleOf(_) => {
            grants.allows(Resource::Acl, b"", Level::Write)
        }
        Need::Read(range) => grants.allows_range(range, Level::Read),
        Need::Write(range) => grants.allows_range(range, Level::Write),
        Need::Rule(resource, name, level) => grants.allows(resource, name.as_bytes(), level),
    }
}

fn lacks(grants: &Grants, need: Need<'_>) -> Option<Lack> {
    let text = |range: &KeyRange| String::from_utf8_lossy(&range.key).into_owned();
    let (resource, level, name) = match need {
        Need::User => return None,
        Need::Root | Need::Oneself(_) | Need::RoleOf(_) => {
            (Resource::Acl, Level::Write, String::new())
        }
        Need::Read(range) => (Resource::Key, Level::Read, text(range)),
        Need::Write(range) => (Resource::Key, Level::Write, text(range)),
        Need::Rule(resource, name, level) => (resource, level, name.to_owned()),
    };
    Some(Lack { token: grants.holder, resource, level, name })
}

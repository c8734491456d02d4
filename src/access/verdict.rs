//! The one authorizer: whether somebody may do something.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::KeyRange;

use super::accounts::{Accounts, User};

/// Who asks. It travels with what is proposed, and is judged where that is applied.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Nobody => f.write_str("Nobody"),
            Caller::Bearer(_) => f.write_str("Bearer(redacted)"),
            Caller::Stranger => f.write_str("Stranger"),
            Caller::User { name, generation } => write!(f, "User({name:?}, {generation:?})"),
        }
    }
}

/// Why somebody may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Denied {
    #[error("who asks has not said who it is")]
    Nobody,
    #[error("the token is invalid or has expired")]
    Token,
    #[error("permission denied")]
    Permission,
}

/// What something takes.
#[derive(Debug, Clone, Copy)]
pub enum Need<'a> {
    /// To be a user at all.
    User,
    /// To have the role root.
    Root,
    Read(&'a KeyRange),
    Write(&'a KeyRange),
    /// To be that user, or root.
    Oneself(&'a str),
    /// To have that role, or root.
    RoleOf(&'a str),
}

/// What a caller may do.
#[derive(Debug, Clone, Copy)]
pub struct Rights<'a>(Option<Limited<'a>>);

#[derive(Debug, Clone, Copy)]
struct Limited<'a> {
    accounts: &'a Accounts,
    name: &'a str,
    user: &'a User,
}

impl Accounts {
    /// Everything, while accounts do not count or to who has the role root.
    pub fn rights<'a>(&'a self, caller: &'a Caller) -> Result<Rights<'a>, Denied> {
        if !self.enabled() {
            return Ok(Rights(None));
        }
        let (name, generation) = match caller {
            Caller::Nobody => return Err(Denied::Nobody),
            Caller::Bearer(_) | Caller::Stranger => return Err(Denied::Token),
            Caller::User { name, generation } => (name, generation),
        };
        let user = match (self.user(name), generation) {
            (Some(user), Some(generation)) if user.generation != *generation => {
                return Err(Denied::Token);
            }
            (Some(user), _) => user,
            (None, Some(_)) => return Err(Denied::Token),
            // A certificate of nobody who is known here.
            (None, None) => return Err(Denied::Permission),
        };
        let limited = Limited { accounts: self, name, user };
        Ok(Rights((!user.is_root()).then_some(limited)))
    }

    /// The same for one thing.
    pub fn judge(&self, caller: &Caller, need: Need<'_>) -> Result<(), Denied> {
        self.rights(caller)?.may(need)
    }
}

impl Rights<'_> {
    pub fn may(&self, need: Need<'_>) -> Result<(), Denied> {
        let Some(Limited { accounts, name, user }) = self.0 else { return Ok(()) };
        let may = match need {
            Need::User => true,
            Need::Root => false,
            Need::Read(range) => accounts.reads(user, range),
            Need::Write(range) => accounts.writes(user, range),
            Need::Oneself(other) => name == other,
            Need::RoleOf(role) => user.roles.contains(role),
        };
        if may { Ok(()) } else { Err(Denied::Permission) }
    }
}

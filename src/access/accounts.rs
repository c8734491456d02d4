//! Users, their roles, and what these permit.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::model::KeyRange;

use super::interval;

/// The user, and the role, that may do everything.
pub const ROOT: &str = "root";

/// What a permission is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Read,
    Write,
    ReadWrite,
}

impl Kind {
    fn reads(self) -> bool {
        matches!(self, Kind::Read | Kind::ReadWrite)
    }

    fn writes(self) -> bool {
        matches!(self, Kind::Write | Kind::ReadWrite)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    pub kind: Kind,
    pub range: KeyRange,
}

/// Permissions in the order of their keys, then of their ends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Role {
    pub permissions: Vec<Permission>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct User {
    pub roles: BTreeSet<Arc<str>>,
    /// The revision of the accounts at which its password was last set: a token of another
    /// generation is worth nothing.
    pub generation: u64,
    /// It is known by its certificate alone.
    pub no_password: bool,
}

impl User {
    pub(super) fn is_root(&self) -> bool {
        self.roles.contains(ROOT)
    }
}

/// Whether accounts count, and what moved them last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    pub enabled: bool,
    /// Counts the changes of accounts, from 1.
    pub revision: u64,
}

/// A row put (`Some`) or deleted (`None`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountChange {
    Switch(Switch),
    User(Arc<str>, Option<Arc<User>>),
    Role(Arc<str>, Option<Arc<Role>>),
}

/// All users and roles. A clone shares everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    pub(super) switch: Switch,
    pub(super) users: OrdMap<Arc<str>, Arc<User>>,
    pub(super) roles: OrdMap<Arc<str>, Arc<Role>>,
}

impl Default for Accounts {
    fn default() -> Accounts {
        let switch = Switch { enabled: false, revision: 1 };
        Accounts { switch, users: OrdMap::new(), roles: OrdMap::new() }
    }
}

impl Accounts {
    /// While they do not count, everybody may do everything.
    pub fn enabled(&self) -> bool {
        self.switch.enabled
    }

    pub fn revision(&self) -> u64 {
        self.switch.revision
    }

    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    pub fn role(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(name)
    }

    /// In the order of their names.
    pub fn users(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<User>)> {
        self.users.iter()
    }

    /// In the order of their names.
    pub fn roles(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Role>)> {
        self.roles.iter()
    }

    /// Whether nothing was ever changed.
    pub fn are_untouched(&self) -> bool {
        *self == Accounts::default()
    }

    /// Everything that makes them, in order.
    pub fn rows(&self) -> impl Iterator<Item = AccountChange> {
        let user = |(name, user): (&Arc<str>, &Arc<User>)| {
            AccountChange::User(name.clone(), Some(user.clone()))
        };
        let role = |(name, role): (&Arc<str>, &Arc<Role>)| {
            AccountChange::Role(name.clone(), Some(role.clone()))
        };
        let switch = AccountChange::Switch(self.switch);
        [switch].into_iter().chain(self.users().map(user)).chain(self.roles().map(role))
    }

    /// The only thing that alters them.
    pub fn absorb(&mut self, change: &AccountChange) {
        match change {
            AccountChange::Switch(switch) => self.switch = *switch,
            AccountChange::User(name, Some(user)) => {
                self.users.insert(name.clone(), user.clone());
            }
            AccountChange::User(name, None) => {
                self.users.remove(name);
            }
            AccountChange::Role(name, Some(role)) => {
                self.roles.insert(name.clone(), role.clone());
            }
            AccountChange::Role(name, None) => {
                self.roles.remove(name);
            }
        }
    }

    fn permissions<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Permission> + Clone {
        let roles = user.roles.iter().filter_map(|role| self.roles.get(role));
        roles.flat_map(|role| role.permissions.iter())
    }

    pub(super) fn reads(&self, user: &User, range: &KeyRange) -> bool {
        let granted = self.permissions(user).filter(|permission| permission.kind.reads());
        interval::covers(granted.map(|permission| &permission.range), range)
    }

    pub(super) fn writes(&self, user: &User, range: &KeyRange) -> bool {
        let granted = self.permissions(user).filter(|permission| permission.kind.writes());
        interval::covers(granted.map(|permission| &permission.range), range)
    }
}

//! Decides changes of accounts, with etcd's refusals (contracts: its Auth service).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{KeyRange, limits};

use super::accounts::{AccountChange, Accounts, Permission, ROOT, Role, Switch, User};

/// A change of users and roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountCommand {
    Enable,
    Disable,
    UserAdd {
        name: Arc<str>,
        /// None: it has no password, and is known by its certificate alone.
        hash: Option<PasswordHash>,
    },
    UserDelete(Arc<str>),
    ChangePassword {
        name: Arc<str>,
        hash: PasswordHash,
    },
    GrantRole {
        user: Arc<str>,
        role: Arc<str>,
    },
    RevokeRole {
        user: Arc<str>,
        role: Arc<str>,
    },
    RoleAdd(Arc<str>),
    RoleDelete(Arc<str>),
    GrantPermission {
        role: Arc<str>,
        permission: Permission,
    },
    RevokePermission {
        role: Arc<str>,
        range: KeyRange,
    },
}

/// What a password is held against. It never leaves servers, and no log line shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash(pub Arc<str>);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(redacted)")
    }
}

/// What changes, and what becomes of a password.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decided {
    pub changes: Vec<AccountChange>,
    pub password: Option<(Arc<str>, Option<PasswordHash>)>,
}

/// Why accounts stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AccountError {
    #[error("there is no user root")]
    NoRoot,
    #[error("the user root does not have the role root")]
    RootLacksRole,
    #[error("a user needs a name")]
    UserEmpty,
    #[error("there is a user of that name already")]
    UserExists,
    #[error("there is no such user")]
    NoUser,
    #[error("a role needs a name")]
    RoleEmpty,
    #[error("there is a role of that name already")]
    RoleExists,
    #[error("there is no such role")]
    NoRole,
    #[error("the user does not have that role")]
    RoleNotGranted,
    #[error("the role does not have that permission")]
    PermissionNotGranted,
    #[error("that would take root its rights, or means no keys")]
    Invalid,
    #[error("there are {0} of them, and no more are kept")]
    TooMany(usize),
    #[error("a name of {len} bytes is too long: at most {max}")]
    NameTooLong { len: usize, max: usize },
}

use AccountError as E;

impl Accounts {
    /// What a command does to them; changes nothing itself. Whoever asks may do it.
    pub fn decide(&self, command: &AccountCommand) -> Result<Decided, AccountError> {
        let next = self.revision() + 1;
        let (changes, password) = match command {
            AccountCommand::Enable => return self.enable(),
            AccountCommand::Disable if !self.enabled() => return Ok(Decided::default()),
            AccountCommand::Disable => {
                let switch = Switch { enabled: false, revision: next };
                let changes = vec![AccountChange::Switch(switch)];
                return Ok(Decided { changes, password: None });
            }
            AccountCommand::UserAdd { name, hash } => self.add_user(name, hash.as_ref(), next)?,
            AccountCommand::UserDelete(name) => {
                if self.enabled() && **name == *ROOT {
                    return Err(E::Invalid);
                }
                self.user(name).ok_or(E::NoUser)?;
                (vec![AccountChange::User(name.clone(), None)], Some((name.clone(), None)))
            }
            AccountCommand::ChangePassword { name, hash } => {
                let mut user = User::clone(self.user(name).ok_or(E::NoUser)?);
                user.generation = next;
                let password = (!user.no_password).then(|| (name.clone(), Some(hash.clone())));
                (vec![changed(name, user)], password)
            }
            AccountCommand::GrantRole { user, role } => match self.grant_role(user, role)? {
                Some(change) => (vec![change], None),
                None => return Ok(Decided::default()),
            },
            AccountCommand::RevokeRole { user, role } => {
                (vec![self.revoke_role(user, role)?], None)
            }
            AccountCommand::RoleAdd(name) => (vec![self.add_role(name)?], None),
            AccountCommand::RoleDelete(name) => (self.delete_role(name)?, None),
            AccountCommand::GrantPermission { role, permission } => {
                (vec![self.grant_permission(role, permission)?], None)
            }
            AccountCommand::RevokePermission { role, range } => {
                (vec![self.revoke_permission(role, range)?], None)
            }
        };
        let mut changes = changes;
        changes.push(AccountChange::Switch(Switch { revision: next, ..self.switch }));
        Ok(Decided { changes, password })
    }

    /// Counts no change, as etcd does not.
    fn enable(&self) -> Result<Decided, AccountError> {
        if self.enabled() {
            return Ok(Decided::default());
        }
        let root = self.user(ROOT).ok_or(E::NoRoot)?;
        if !root.is_root() {
            return Err(E::RootLacksRole);
        }
        let switch = Switch { enabled: true, ..self.switch };
        Ok(Decided { changes: vec![AccountChange::Switch(switch)], password: None })
    }

    #[allow(clippy::type_complexity, reason = "what changes, and the password")]
    fn add_user(
        &self,
        name: &Arc<str>,
        hash: Option<&PasswordHash>,
        generation: u64,
    ) -> Result<(Vec<AccountChange>, Option<(Arc<str>, Option<PasswordHash>)>), AccountError> {
        named(name, E::UserEmpty)?;
        if self.user(name).is_some() {
            return Err(E::UserExists);
        }
        room(self.users.len(), limits::USERS)?;
        let user = User { generation, no_password: hash.is_none(), ..User::default() };
        Ok((vec![changed(name, user)], hash.map(|hash| (name.clone(), Some(hash.clone())))))
    }

    /// None: it has it already. The role root need not exist.
    fn grant_role(
        &self,
        name: &Arc<str>,
        role: &Arc<str>,
    ) -> Result<Option<AccountChange>, AccountError> {
        let user = self.user(name).ok_or(E::NoUser)?;
        if **role != *ROOT && self.role(role).is_none() {
            return Err(E::NoRole);
        }
        if user.roles.contains(role) {
            return Ok(None);
        }
        let mut user = User::clone(user);
        room(user.roles.len(), limits::ROLES_OF_USER)?;
        user.roles.insert(role.clone());
        Ok(Some(changed(name, user)))
    }

    fn revoke_role(&self, name: &Arc<str>, role: &str) -> Result<AccountChange, AccountError> {
        if self.enabled() && (name.as_ref(), role) == (ROOT, ROOT) {
            return Err(E::Invalid);
        }
        let mut user = User::clone(self.user(name).ok_or(E::NoUser)?);
        if !user.roles.remove(role) {
            return Err(E::RoleNotGranted);
        }
        Ok(changed(name, user))
    }

    fn add_role(&self, name: &Arc<str>) -> Result<AccountChange, AccountError> {
        named(name, E::RoleEmpty)?;
        if self.role(name).is_some() {
            return Err(E::RoleExists);
        }
        room(self.roles.len(), limits::ROLES)?;
        Ok(AccountChange::Role(name.clone(), Some(Arc::default())))
    }

    /// Nobody has it any more.
    fn delete_role(&self, name: &Arc<str>) -> Result<Vec<AccountChange>, AccountError> {
        if self.enabled() && **name == *ROOT {
            return Err(E::Invalid);
        }
        self.role(name).ok_or(E::NoRole)?;
        let holders = self.users().filter(|(_, user)| user.roles.contains(name));
        let without = holders.map(|(holder, user)| {
            let mut user = User::clone(user);
            user.roles.remove(name);
            changed(holder, user)
        });
        Ok(without.chain([AccountChange::Role(name.clone(), None)]).collect())
    }

    /// Of another kind for the same range: in the place of that one.
    fn grant_permission(
        &self,
        name: &Arc<str>,
        permission: &Permission,
    ) -> Result<AccountChange, AccountError> {
        if permission.range.key.is_empty() || permission.range.is_empty() {
            return Err(E::Invalid);
        }
        let mut role = Role::clone(self.role(name).ok_or(E::NoRole)?);
        let place = |range: &KeyRange| (range.key.clone(), range.end.clone());
        let wanted = place(&permission.range);
        match role.permissions.binary_search_by_key(&wanted, |known| place(&known.range)) {
            Ok(at) => role.permissions.splice(at..=at, [permission.clone()]).for_each(drop),
            Err(at) => {
                room(role.permissions.len(), limits::PERMISSIONS)?;
                role.permissions.insert(at, permission.clone());
            }
        }
        Ok(AccountChange::Role(name.clone(), Some(Arc::new(role))))
    }

    fn revoke_permission(
        &self,
        name: &Arc<str>,
        range: &KeyRange,
    ) -> Result<AccountChange, AccountError> {
        let mut role = Role::clone(self.role(name).ok_or(E::NoRole)?);
        let before = role.permissions.len();
        role.permissions.retain(|permission| permission.range != *range);
        if role.permissions.len() == before {
            return Err(E::PermissionNotGranted);
        }
        Ok(AccountChange::Role(name.clone(), Some(Arc::new(role))))
    }
}

fn changed(name: &Arc<str>, user: User) -> AccountChange {
    AccountChange::User(name.clone(), Some(Arc::new(user)))
}

fn named(name: &str, empty: AccountError) -> Result<(), AccountError> {
    match name.len() {
        0 => Err(empty),
        len if len > limits::ACCOUNT_NAME => Err(E::NameTooLong { len, max: limits::ACCOUNT_NAME }),
        _ => Ok(()),
    }
}

fn room(known: usize, max: usize) -> Result<(), AccountError> {
    if known < max { Ok(()) } else { Err(E::TooMany(max)) }
}

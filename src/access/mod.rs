//! Who may do what: users and roles, tokens and policies and what these permit, the calls that
//! there are and what each of them takes, and the one authorizer.
//!
//! Pure: it knows of no protocol, and compares no passwords and no secrets.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod accounts;
mod acl;
mod acl_change;
mod call;
mod change;
mod demand;
mod grants;
mod hcl;
mod interval;
mod rule;
mod sight;
#[cfg(test)]
mod tests;
mod verdict;

pub use accounts::{AccountChange, Accounts, Kind, Permission, ROOT, Role, Switch, User};
pub use acl::{
    ANONYMOUS, ANONYMOUS_SECRET, Acl, AclChange, AclPolicy, AclRole, AclSwitch, AclToken,
    DefaultPolicy, Links, MANAGEMENT, NodeIdentity, READ_ONLY, ServiceIdentity,
};
pub use acl_change::{
    AclCommand, AclDecided, AclError, AclRow, AclTokenPut, PolicyPut, RolePut, Sealed, SecretId,
    When,
};
pub use call::{Call, Right};
pub use change::{AccountCommand, AccountError, Decided, PasswordHash};
pub use demand::{Area, Demand, Of};
pub use rule::{Level, Resource};
pub use sight::Sight;
pub use verdict::{Caller, Denied, Gate, Lack, Need, Rights};

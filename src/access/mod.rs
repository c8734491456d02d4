//! Who may do what: users, roles and what these permit, the calls that there are and what each of
//! them takes, and the one authorizer.
//!
//! Pure: it knows of no protocol, and compares no passwords.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod accounts;
mod call;
mod change;
mod interval;
#[cfg(test)]
mod tests;
mod verdict;

pub use accounts::{AccountChange, Accounts, Kind, Permission, ROOT, Role, Switch, User};
pub use call::{Area, Call, Right};
pub use change::{AccountCommand, AccountError, Decided, PasswordHash};
pub use verdict::{Caller, Denied, Need, Rights};

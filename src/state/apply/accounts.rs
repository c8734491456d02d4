//! Takes over what `access` decides about accounts, and what becomes of them with a backup.

use std::sync::Arc;

use crate::access::{AccountChange, AccountCommand, Accounts, Decided, Switch, User};
use crate::state::State;
use crate::state::change::Change;
use crate::state::command::{Outcome, Refusal};

use super::draft::Draft;

pub(super) fn change(draft: &mut Draft<'_>, command: &AccountCommand) -> Result<Outcome, Refusal> {
    let Decided { changes, password } = draft.state().accounts.decide(command)?;
    for change in changes {
        draft.push(Change::Account(change));
    }
    if let Some((user, hash)) = password {
        draft.push(Change::Password(user, hash));
    }
    Ok(Outcome::Done)
}

/// As they are in the backup. Tokens that were given out before are worth nothing: the passwords
/// behind them may be others.
pub(super) fn restore(draft: &mut Draft<'_>, base: &State, backup: &State) {
    let (now, then): (&Accounts, &Accounts) = (&base.accounts, &backup.accounts);
    if now.are_untouched() && then.are_untouched() {
        return;
    }
    let revision = now.revision().max(then.revision()) + 1;
    for (name, _) in now.users().filter(|(name, _)| then.user(name).is_none()) {
        draft.push(Change::Account(AccountChange::User(name.clone(), None)));
    }
    for (name, _) in now.roles().filter(|(name, _)| then.role(name).is_none()) {
        draft.push(Change::Account(AccountChange::Role(name.clone(), None)));
    }
    for (name, role) in then.roles() {
        draft.push(Change::Account(AccountChange::Role(name.clone(), Some(role.clone()))));
    }
    for (name, user) in then.users() {
        let user = User { generation: revision, ..User::clone(user) };
        draft.push(Change::Account(AccountChange::User(name.clone(), Some(Arc::new(user)))));
    }
    for name in base.passwords.keys().filter(|name| !backup.passwords.contains_key(*name)) {
        draft.push(Change::Password(name.clone(), None));
    }
    for (name, hash) in &backup.passwords {
        draft.push(Change::Password(name.clone(), Some(hash.clone())));
    }
    let switch = Switch { enabled: then.enabled(), revision };
    draft.push(Change::Account(AccountChange::Switch(switch)));
}

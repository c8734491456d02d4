//! Takes over what `access` decides about tokens, and what becomes of them with a backup.

use std::sync::Arc;

use crate::access::{AclChange, AclCommand, AclDecided, AclSwitch, AclToken, When};
use crate::state::State;
use crate::state::change::Change;
use crate::state::command::{Outcome, Refusal};

use super::draft::Draft;

pub(super) fn change(draft: &mut Draft<'_>, command: &AclCommand) -> Result<Outcome, Refusal> {
    let when = When { index: draft.index(), stamp: draft.stamp() };
    let AclDecided { changes, secrets, row } = draft.state().acl.decide(command, when)?;
    changes.into_iter().for_each(|change| draft.push(Change::Acl(change)));
    secrets.into_iter().for_each(|(id, secret)| draft.push(Change::Secret(id, secret)));
    Ok(row.map_or(Outcome::Done, Outcome::Acl))
}

/// As they are in the backup: a token that was deleted since is back, and one that was made since
/// is gone. What ends has as much time left as it had then.
pub(super) fn restore(draft: &mut Draft<'_>, base: &State, backup: &State) {
    let (now, then) = (&base.acl, &backup.acl);
    if now.is_untouched() && then.is_untouched() {
        return;
    }
    let (index, stamp) = (draft.index(), draft.stamp());
    let anew = |token: &AclToken| {
        let ends = token.ends.map(|ends| stamp.plus(ends.since(backup.stamp)));
        Arc::new(AclToken { ends, ..token.clone() })
    };
    for policy in now.policies().filter(|policy| then.policy(policy.id).is_none()) {
        draft.push(Change::Acl(AclChange::Policy(policy.id, None)));
    }
    for role in now.roles().filter(|role| then.role(role.id).is_none()) {
        draft.push(Change::Acl(AclChange::Role(role.id, None)));
    }
    for token in now.tokens().filter(|token| then.token(token.accessor).is_none()) {
        draft.push(Change::Acl(AclChange::Token(token.accessor, None)));
    }
    for row in then.rows() {
        let row = match row {
            AclChange::Switch(switch) => AclChange::Switch(AclSwitch { index, ..switch }),
            AclChange::Token(id, Some(token)) => AclChange::Token(id, Some(anew(&token))),
            row => row,
        };
        draft.push(Change::Acl(row));
    }
    for id in base.secrets.keys().filter(|id| !backup.secrets.contains_key(*id)) {
        draft.push(Change::Secret(*id, None));
    }
    for (id, secret) in &backup.secrets {
        draft.push(Change::Secret(*id, Some(secret.clone())));
    }
}

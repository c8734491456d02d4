//! Decides about join tokens: made, retired, and whether one lets an agent in.

use crate::model::{Member, Role, TokenId, limits};
use crate::state::change::Change;
use crate::state::command::{Admission, Outcome, Refusal, TokenPut, Trust};
use crate::state::rows::TokenRow;

use super::change_identity;
use super::draft::Draft;

/// The token whose key founded the cluster, if any did.
pub(super) fn founding(trust: &Trust) -> Option<TokenId> {
    trust.offline.iter().find(|token| token.role == Role::Server).map(|token| token.id)
}

pub(super) fn found(draft: &mut Draft<'_>, trust: &Trust) {
    for def in &trust.offline {
        let row = TokenRow { def: def.clone(), ends: None, left: None, offline: true };
        draft.push(Change::Token(def.id, Some(row)));
    }
}

pub(super) fn put(draft: &mut Draft<'_>, put: &TokenPut) -> Result<Outcome, Refusal> {
    let tokens = &draft.state().tokens;
    let (id, known) = (put.def.id, tokens.len());
    if tokens.contains_key(&id) {
        return Err(Refusal::TokenExists(id));
    }
    if known >= limits::JOIN_TOKENS {
        return Err(Refusal::TooManyTokens(known));
    }
    let ends = put.ttl.map(|ttl| draft.stamp().plus(ttl));
    let row = TokenRow { def: put.def.clone(), ends, left: put.uses, offline: false };
    draft.push(Change::Token(id, Some(row)));
    Ok(Outcome::Done)
}

pub(super) fn retire(draft: &mut Draft<'_>, id: TokenId) -> Result<Outcome, Refusal> {
    let state = draft.state();
    if !state.tokens.contains_key(&id) {
        return Err(Refusal::NoToken(id));
    }
    if state.identity.founding != Some(id) {
        draft.push(Change::Token(id, None));
        return Ok(Outcome::Done);
    }
    // Without the founding key nobody who holds one of the others can know this cluster.
    let kin: Vec<TokenId> =
        state.tokens.values().filter(|row| row.offline).map(|row| row.def.id).collect();
    for id in kin {
        draft.push(Change::Token(id, None));
    }
    change_identity(draft, |identity| identity.founding = None)
}

/// Whether the agent may be let in with what it has shown; counts the use. `known`: the member
/// that bears its nonce already, and so is asking again.
pub(super) fn check(
    draft: &mut Draft<'_>,
    admission: &Admission,
    known: Option<&Member>,
) -> Result<(), Refusal> {
    let Some(id) = admission.token else {
        let needed = known.is_none() && draft.state().identity.root.is_some();
        return if needed { Err(Refusal::TokenNeeded) } else { Ok(()) };
    };
    let row = draft.state().tokens.get(&id).cloned().ok_or(Refusal::NoToken(id))?;
    if !lets_in(row.def.role, admission.role) {
        return Err(Refusal::TokenRole { token: row.def.role, asked: admission.role });
    }
    // An edge keeps nothing: one that comes back under its name is not a new one.
    let is_back = admission.role.follows()
        && row.def.role.follows()
        && draft.state().member_named(admission.name.as_str()).is_some();
    if known.is_some() || is_back {
        return Ok(());
    }
    if row.ends.is_some_and(|ends| ends <= draft.stamp()) {
        return Err(Refusal::TokenExpired(id));
    }
    match row.left {
        None => {}
        Some(0) => return Err(Refusal::TokenUsedUp(id)),
        Some(left) => {
            let row = TokenRow { left: Some(left - 1), ..row };
            draft.push(Change::Token(id, Some(row)));
        }
    }
    Ok(())
}

/// What a token is good for. With a server's an agent may become an edge instead (`role: auto`),
/// with a relay's as well; an edge's makes edges only.
fn lets_in(token: Role, asked: Role) -> bool {
    match token {
        Role::Server => asked != Role::Relay,
        Role::Edge => asked == Role::Edge,
        Role::Relay => asked != Role::Server,
    }
}

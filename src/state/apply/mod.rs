//! Decides what a command does to a state; changes nothing itself.

mod accounts;
mod acl;
mod autopilot;
mod catalog;
mod draft;
mod events;
mod keys;
mod kv;
mod leases;
mod members;
mod queries;
mod quota;
mod restore;
mod sequence;
mod sessions;
mod tokens;
mod txn;

use crate::access::Denied;
use crate::model::Applied;

use super::State;
use super::change::{Change, Changes};
use super::command::{Command, Outcome, Proposal, Refusal};
use super::rows::Identity;
use draft::Draft;

impl State {
    /// What the entry at `at` does to this state. Same state, same entry: same answer, everywhere.
    /// A refused command moves `applied` and, where it is because of the quota, raises an alarm: it
    /// has no other changes.
    pub fn apply(&self, at: Applied, proposal: &Proposal) -> (Outcome, Changes) {
        let stamp = self.stamp.max(proposal.stamp);
        let mut draft = Draft::new(self, at, stamp);
        let outcome = match admit(&mut draft, at, &proposal.command) {
            Ok(outcome) => outcome,
            Err(refusal) => {
                draft.discard();
                if refusal == Refusal::NoSpace {
                    quota::raise(&mut draft);
                }
                Outcome::Refused(refusal)
            }
        };
        quota::settle(&mut draft);
        (outcome, draft.finish())
    }

    /// The changes of an entry that is no command: a blank or a membership.
    pub fn blank(&self, at: Applied) -> Changes {
        Changes {
            applied: at,
            stamp: self.stamp,
            index: self.index,
            revision: self.revision,
            rows: Vec::new(),
        }
    }
}

fn admit(draft: &mut Draft<'_>, at: Applied, command: &Command) -> Result<Outcome, Refusal> {
    let (caller, command) = match command {
        Command::For(wish) => {
            draft.base().permits(&wish.caller, &wish.command)?;
            (Some(&wish.caller), &wish.command)
        }
        command => (None, command),
    };
    quota::allows(draft.base(), command)?;
    let outcome = match command {
        // Its operations are judged one by one.
        Command::Sequence(ops) => sequence::sequence(draft, caller, ops),
        command => decide(draft, at, command)?,
    };
    sessions::settle(draft);
    quota::fits(draft, command)?;
    Ok(outcome)
}

fn decide(draft: &mut Draft<'_>, at: Applied, command: &Command) -> Result<Outcome, Refusal> {
    if !draft.state().is_founded() && !matches!(command, Command::Found(_)) {
        return Err(Refusal::NotFounded);
    }
    if command.term().is_some_and(|term| term != at.term) {
        return Err(Refusal::StaleTerm);
    }
    match command {
        Command::Found(founding) => members::found(draft, founding),
        Command::Admit(admission) => members::admit(draft, admission),
        Command::Contact { id, peer_addr, client_urls, version, level } => {
            let reached = members::Reached { peer_addr: *peer_addr, client_urls, version };
            members::contact(draft, *id, &reached, *level)
        }
        Command::Retire(id) => members::retire(draft, *id),
        Command::Settings(settings) => change_identity(draft, |identity| {
            identity.settings = settings.clone();
        }),
        Command::Put(put) => keys::put(draft, put),
        Command::DeleteRange(delete) => keys::delete_range(draft, delete),
        Command::Kv(command) => kv::kv(draft, command),
        Command::Compact(revision) => keys::compact(draft, *revision),
        Command::LeaseGrant { id, ttl } => leases::grant(draft, *id, *ttl),
        Command::LeaseRevoke(id) => leases::revoke(draft, *id),
        Command::LeaseExpire { ids, .. } => leases::expire(draft, ids),
        Command::SessionCreate(def) => sessions::create(draft, def),
        Command::SessionDestroy(id) => sessions::expire(draft, &[*id]),
        Command::SessionExpire { ids, .. } => sessions::expire(draft, ids),
        Command::LockDelayEnd { delays, .. } => sessions::end_delays(draft, delays),
        Command::Catalog(ops) => catalog::operate(draft, ops),
        Command::Silent { nodes, .. } => catalog::silence(draft, nodes),
        Command::Reap { nodes, .. } => catalog::reap(draft, nodes),
        Command::Forget { tombstones, history } => {
            keys::forget(draft, *tombstones, *history);
            Ok(Outcome::Done)
        }
        Command::Raise(level) => members::raise(draft, *level),
        Command::TokenPut(put) => tokens::put(draft, put),
        Command::TokenRetire(id) => tokens::retire(draft, *id),
        Command::Stage { id, offset, bytes } => restore::stage(draft, *id, *offset, bytes),
        Command::Restore { id, lineage } => restore::restore(draft, *id, *lineage),
        Command::Unstage(id) => Ok(restore::unstage(draft, *id)),
        Command::Recover { survivor, lineage } => restore::recover(draft, *survivor, *lineage),
        Command::Txn(txn) => txn::txn(draft, txn),
        Command::Sequence(ops) => Ok(sequence::sequence(draft, None, ops)),
        Command::Account(command) => accounts::change(draft, command),
        Command::QueryPut { def, new } => queries::put(draft, def, *new),
        Command::QueryDelete(id) => queries::delete(draft, *id),
        Command::EventFire(event) => events::fire(draft, event),
        Command::Autopilot { settings, cas } => Ok(autopilot::set(draft, settings, *cas)),
        Command::Acl(command) => acl::change(draft, command),
        // Nobody speaks for somebody who speaks for somebody.
        Command::For(_) => Err(Denied::Permission.into()),
        Command::Checkpoint => {
            draft.push(Change::Checkpoint);
            Ok(Outcome::Done)
        }
        Command::Alarm { alarm, on } => quota::alarm(draft, *alarm, *on),
        Command::Relieve => {
            if let Some(revision) = draft.base().pressed_to() {
                draft.push(Change::Compacted(revision));
            }
            Ok(Outcome::Done)
        }
    }
}

fn change_identity(
    draft: &mut Draft<'_>,
    change: impl FnOnce(&mut Identity),
) -> Result<Outcome, Refusal> {
    let mut identity = draft.state().identity.clone();
    change(&mut identity);
    if identity != draft.state().identity {
        draft.push(Change::Identity(identity));
    }
    Ok(Outcome::Done)
}

//! What each command and each question takes of who asks, by the keys that it touches.

use crate::access::{AclCommand, Caller, Denied, Gate, Level, Need, Resource, Rights, Sight};
use crate::model::{KeyRange, LeaseId, SessionId};

use super::State;
use super::command::{Command, DeleteRange, KvCommand, Put};
use super::txn::{Txn, TxnOp};

/// What changes how the cluster is run.
const OPERATE: Need<'static> = Need::Rule(Resource::Operator, "", Level::Write);

impl State {
    fn gate(&self) -> Gate<'_> {
        Gate { accounts: &self.accounts, acl: &self.acl, now: self.stamp }
    }

    /// Whether anybody is asked who it is: by users, by tokens, or by both.
    pub fn is_guarded(&self) -> bool {
        !self.gate().is_open()
    }

    /// What somebody may do, as this state knows it; where users count, it has to be one of them
    /// or to show a token.
    pub fn rights<'a>(&'a self, caller: &'a Caller) -> Result<Rights<'a>, Denied> {
        self.gate().rights(caller)
    }

    /// The same of anybody: the catalog may be open. An error: what it shows is worth nothing.
    pub fn standing<'a>(&'a self, caller: &'a Caller) -> Result<Rights<'a>, Denied> {
        self.gate().standing(caller)
    }

    /// What somebody is shown of the catalog; none where `known` still says it.
    pub fn sight(&self, caller: &Caller, known: &Sight) -> Option<Sight> {
        self.gate().sight(caller, known)
    }

    /// Whether somebody may do one thing.
    pub fn judge(&self, caller: &Caller, need: Need<'_>) -> Result<(), Denied> {
        self.gate().judge(caller, need)
    }

    /// Whether somebody may have this command applied to this state.
    pub fn permits(&self, caller: &Caller, command: &Command) -> Result<(), Denied> {
        if !self.is_guarded() {
            return Ok(());
        }
        if is_open(command) {
            return self.permits_openly(&self.standing(caller)?, command);
        }
        let rights = &match (self.rights(caller), command) {
            // Its operations are judged one by one, and some of them may be open.
            (Ok(_) | Err(Denied::Nobody), Command::Sequence(_)) => return Ok(()),
            (rights, _) => rights?,
        };
        match command {
            Command::Put(put) => self.permits_put(rights, put),
            Command::DeleteRange(delete) => permits_deletion(rights, delete),
            Command::Txn(txn) => self.permits_txn(rights, txn),
            Command::Kv(
                KvCommand::Set { key, .. }
                | KvCommand::Delete { key, .. }
                | KvCommand::Acquire { key, .. }
                | KvCommand::Release { key, .. },
            ) => rights.may(Need::Write(&KeyRange::one(key.clone()))),
            Command::Kv(KvCommand::DeleteTree { prefix }) => {
                rights.may(Need::Write(&KeyRange::prefix(prefix)))
            }
            Command::LeaseGrant { .. } => rights.may(Need::User),
            Command::SessionCreate(def) => {
                rights.may(Need::Rule(Resource::Session, &def.node, Level::Write))
            }
            Command::SessionDestroy(id) => self.permits_session(rights, *id),
            Command::LeaseRevoke(id) => {
                rights.may(Need::User)?;
                self.permits_lease(rights, *id, KeyRight::Write)
            }
            // Nobody speaks for somebody who speaks for somebody.
            Command::For(_) => rights.may(Need::User).and(Err(Denied::Permission)),
            Command::Acl(command) => self.permits_acl(rights, command),
            Command::Autopilot { .. } => rights.may(OPERATE),
            // Users and roles, history, and what operators do.
            Command::Account(_)
            | Command::Catalog(_)
            | Command::Sequence(_)
            | Command::Compact(_)
            | Command::Settings(_)
            | Command::TokenPut(_)
            | Command::TokenRetire(_)
            | Command::Retire(_)
            | Command::Stage { .. }
            | Command::Restore { .. }
            | Command::Unstage(_)
            | Command::Found(_)
            | Command::Admit(_)
            | Command::Contact { .. }
            | Command::LeaseExpire { .. }
            | Command::SessionExpire { .. }
            | Command::LockDelayEnd { .. }
            | Command::QueryPut { .. }
            | Command::QueryDelete(_)
            | Command::EventFire(_)
            | Command::Silent { .. }
            | Command::Reap { .. }
            | Command::Forget { .. }
            | Command::Raise(_)
            | Command::Recover { .. }
            | Command::Alarm { .. }
            | Command::Relieve
            | Command::Checkpoint => rights.may(Need::Root),
        }
    }

    fn permits_acl(&self, rights: &Rights<'_>, command: &AclCommand) -> Result<(), Denied> {
        match command {
            // The first token is for who asks first, unless users close that too.
            AclCommand::Bootstrap(_) if !self.accounts.enabled() => Ok(()),
            AclCommand::Bootstrap(_)
            | AclCommand::Reset(_)
            | AclCommand::Enable { .. }
            | AclCommand::Disable => rights.may(Need::Root),
            _ => rights.may(Need::Rule(Resource::Acl, "", Level::Write)),
        }
    }

    /// What users and roles know nothing of: tokens may close it.
    fn permits_openly(&self, rights: &Rights<'_>, command: &Command) -> Result<(), Denied> {
        let known = |id| self.query(id).map(|row| row.def.name.as_str());
        let query = |name: &str| rights.may(Need::Rule(Resource::Query, name, Level::Write));
        match command {
            Command::Catalog(ops) => self.permits_catalog(rights, ops),
            Command::QueryPut { def, .. } => {
                query(&def.name)?;
                known(def.id).map_or(Ok(()), query)
            }
            Command::QueryDelete(id) => query(known(*id).unwrap_or_default()),
            Command::EventFire(event) => {
                rights.may(Need::Rule(Resource::Event, &event.name, Level::Write))
            }
            _ => rights.may(Need::Root),
        }
    }

    fn permits_put(&self, rights: &Rights<'_>, put: &Put) -> Result<(), Denied> {
        let key = KeyRange::one(put.key.clone());
        rights.may(Need::Write(&key))?;
        if put.prev_kv {
            rights.may(Need::Read(&key))?;
        }
        // Whoever puts a key on a lease can end the lease, and with it the other keys.
        if !put.lease.is_none() && !put.ignore_lease {
            self.permits_lease(rights, put.lease, KeyRight::Write)?;
        }
        Ok(())
    }

    /// Both branches, whichever is taken.
    fn permits_txn(&self, rights: &Rights<'_>, txn: &Txn) -> Result<(), Denied> {
        for compare in &txn.compare {
            rights.may(Need::Read(&compare.range))?;
        }
        txn.success.iter().chain(&txn.failure).try_for_each(|op| match op {
            TxnOp::Range(query) => rights.may(Need::Read(&query.range)),
            TxnOp::Put(put) => self.permits_put(rights, put),
            TxnOp::Delete(delete) => permits_deletion(rights, delete),
            TxnOp::Txn(inner) => self.permits_txn(rights, inner),
        })
    }

    /// Whether somebody may ask for this transaction, which writes nothing.
    pub fn permits_reading(&self, caller: &Caller, txn: &Txn) -> Result<(), Denied> {
        self.permits_txn(&self.rights(caller)?, txn)
    }

    /// Whether somebody may read, or write, every key on a lease.
    pub fn permits_lease(
        &self,
        rights: &Rights<'_>,
        id: LeaseId,
        right: KeyRight,
    ) -> Result<(), Denied> {
        self.lease_keys(id).try_for_each(|key| {
            let key = KeyRange::one(key.clone());
            rights.may(match right {
                KeyRight::Read => Need::Read(&key),
                KeyRight::Write => Need::Write(&key),
            })
        })
    }

    /// Whether somebody may end a session, or keep it: by the rules for the session's node, or as
    /// one who may write every key that hangs on it.
    pub fn permits_session(&self, rights: &Rights<'_>, id: SessionId) -> Result<(), Denied> {
        let session = self.session(id);
        let node = session.map_or("", |session| &session.def.node);
        rights.may(Need::Rule(Resource::Session, node, Level::Write))?;
        if rights.goes_by_rules() {
            return Ok(());
        }
        self.session_keys(id)
            .try_for_each(|key| rights.may(Need::Write(&KeyRange::one(key.clone()))))
    }
}

/// Of what users and roles know nothing.
fn is_open(command: &Command) -> bool {
    matches!(
        command,
        Command::Catalog(_)
            | Command::QueryPut { .. }
            | Command::QueryDelete(_)
            | Command::EventFire(_)
    )
}

/// What is done to the keys of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRight {
    Read,
    Write,
}

fn permits_deletion(rights: &Rights<'_>, delete: &DeleteRange) -> Result<(), Denied> {
    rights.may(Need::Write(&delete.range))?;
    if delete.prev_kv { rights.may(Need::Read(&delete.range)) } else { Ok(()) }
}

//! What each command and each question takes of who asks, by the keys that it touches.

use crate::access::{Caller, Denied, Need, Rights};
use crate::model::{KeyRange, LeaseId, SessionId};

use super::State;
use super::command::{Command, DeleteRange, KvCommand, Put};
use super::txn::{Txn, TxnOp};

impl State {
    /// What somebody may do, as this state knows it.
    pub fn rights<'a>(&'a self, caller: &'a Caller) -> Result<Rights<'a>, Denied> {
        self.accounts.rights(caller)
    }

    /// Whether somebody may do one thing.
    pub fn judge(&self, caller: &Caller, need: Need<'_>) -> Result<(), Denied> {
        self.accounts.judge(caller, need)
    }

    /// Whether somebody may have this command applied to this state.
    pub fn permits(&self, caller: &Caller, command: &Command) -> Result<(), Denied> {
        if !self.accounts.enabled() {
            return Ok(());
        }
        // What the catalog holds is open, whoever asks.
        if matches!(command, Command::Catalog(_)) {
            return Ok(());
        }
        let rights = match (self.rights(caller), command) {
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
            Command::LeaseGrant { .. } | Command::SessionCreate(_) => rights.may(Need::User),
            Command::SessionDestroy(id) => {
                rights.may(Need::User)?;
                self.permits_session(rights, *id)
            }
            Command::LeaseRevoke(id) => self.permits_lease(rights, *id, KeyRight::Write),
            // Nobody speaks for somebody who speaks for somebody.
            Command::For(_) => Err(Denied::Permission),
            // Users and roles, history, and what operators do.
            Command::Account(_)
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
            | Command::Catalog(_)
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

    fn permits_put(&self, rights: Rights<'_>, put: &Put) -> Result<(), Denied> {
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
    fn permits_txn(&self, rights: Rights<'_>, txn: &Txn) -> Result<(), Denied> {
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
        self.permits_txn(self.rights(caller)?, txn)
    }

    /// Whether somebody may read, or write, every key on a lease.
    pub fn permits_lease(
        &self,
        rights: Rights<'_>,
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

    /// Whether somebody may end a session, or keep it: it may write every key that hangs on it.
    pub fn permits_session(&self, rights: Rights<'_>, id: SessionId) -> Result<(), Denied> {
        self.session_keys(id)
            .try_for_each(|key| rights.may(Need::Write(&KeyRange::one(key.clone()))))
    }
}

/// What is done to the keys of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRight {
    Read,
    Write,
}

fn permits_deletion(rights: Rights<'_>, delete: &DeleteRange) -> Result<(), Denied> {
    rights.may(Need::Write(&delete.range))?;
    if delete.prev_kv { rights.may(Need::Read(&delete.range)) } else { Ok(()) }
}

//! The identity of a server that runs: its log and its duties write down what they learn.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use crate::identity::{DataDir, Identity, IdentityError};
use crate::lifecycle::chance;
use crate::raft::LogMark;

#[derive(Clone)]
pub(super) struct Ledger {
    files: DataDir,
    identity: Arc<Mutex<Identity>>,
}

impl Ledger {
    pub fn new(files: DataDir, identity: Identity) -> Ledger {
        Ledger { files, identity: Arc::new(Mutex::new(identity)) }
    }

    /// Changes the identity; durable when it returns. A change of nothing is not written.
    pub fn write(&self, change: impl FnOnce(&mut Identity)) -> Result<(), IdentityError> {
        let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = identity.clone();
        change(&mut changed);
        if changed != *identity {
            self.files.store_identity(&changed)?;
            *identity = changed;
        }
        Ok(())
    }

    /// Has the mark of a log that belongs to this admission written down. A server that was told to
    /// forget its admission has no log any more.
    pub fn mark(&self, mark: LogMark) -> io::Result<()> {
        let marked = self.write(|identity| {
            if identity.admitted.is_some() {
                identity.log = Some(mark);
            }
        });
        marked.map_err(io::Error::other)
    }

    /// The log is lost: forgets that this server was let in, first, and then its keys.
    pub fn forget(&self) -> Result<(), IdentityError> {
        self.write(|identity| identity.forget(chance::random()))?;
        self.files.forget_keys()
    }
}

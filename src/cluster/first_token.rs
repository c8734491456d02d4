//! The first token, and another one for who has lost it and has a server's machine.

use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::Path;
use std::sync::Arc;

use crate::access::{AclCommand, AclTokenPut, SecretId};
use crate::identity::{self, DataDir, IdentityError};
use crate::lifecycle::aside;
use crate::raft::RealDisk;
use crate::state::{Command, Outcome};

use super::badge::Badge;
use super::{Asker, Cluster, ClusterError, Door, ProposeError};

impl Cluster {
    /// Makes a token that may do everything: the first one for who asks first, and any other for
    /// who asks a server for the secret that lies in its data directory. Whoever can put it there
    /// could take the cluster's keys as well, so that neither users nor tokens are in its way.
    pub async fn bootstrap(
        &self,
        asker: &Asker,
        put: AclTokenPut,
    ) -> Result<Outcome, ProposeError> {
        if !self.is_left_here(&put).await {
            return self.propose_for(asker, Command::Acl(AclCommand::Bootstrap(put))).await;
        }
        let outcome = self.propose(Command::Acl(AclCommand::Reset(put))).await?;
        if let (Outcome::Acl(_), Some(dir)) = (&outcome, self.directory()) {
            tracing::warn!("a token for everything was made with a secret from the data directory");
            if let Ok(Err(error)) = aside(move || dir.forget_reset()).await {
                tracing::error!(%error, "the secret of that token stays in the data directory");
            }
        }
        Ok(outcome)
    }

    /// A server's data directory.
    fn directory(&self) -> Option<DataDir> {
        match self.threshold.door() {
            Some(Door::Server(_)) => self.badge.as_deref().and_then(Badge::dir).cloned(),
            _ => None,
        }
    }

    async fn is_left_here(&self, put: &AclTokenPut) -> bool {
        let (Some(dir), Some(SecretId::Open(shown))) = (self.directory(), &put.secret) else {
            return false;
        };
        match aside(move || dir.load_reset()).await {
            // By their digests: how long it takes says nothing of the secret.
            Ok(Ok(Some(left))) => {
                identity::digest_of_secret(&left) == identity::digest_of_secret(shown)
            }
            Ok(Ok(None)) | Err(_) => false,
            Ok(Err(error)) => {
                tracing::warn!(%error, "tokens cannot be reset");
                false
            }
        }
    }
}

/// The secret of a token to be, in a server's data directory until the server has made it.
pub struct Reset(DataDir);

impl Reset {
    /// Leaves it there, for the agent that the directory is of.
    pub fn leave(data_dir: &Path, secret: &str) -> Result<Reset, ClusterError> {
        let dir = DataDir::new(Arc::new(RealDisk), data_dir.to_owned());
        if dir.look_at_identity()?.is_none() || dir.load_authority()?.is_none() {
            let why = format!("{} is that of no server", data_dir.display());
            return Err(ClusterError::Config { key: "data_dir", why });
        }
        dir.store_reset(secret)?;
        let reset = Reset(dir);
        // Root may have done it for an agent that is another user's.
        let file = reset.0.reset();
        let owned = std::fs::metadata(data_dir)
            .and_then(|owner| lchown(&file, Some(owner.uid()), Some(owner.gid())));
        match owned {
            Ok(()) => Ok(reset),
            Err(source) => {
                reset.take_back()?;
                Err(IdentityError::File { path: file, source }.into())
            }
        }
    }

    /// Nobody is to use it any more.
    pub fn take_back(self) -> Result<(), ClusterError> {
        Ok(self.0.forget_reset()?)
    }
}

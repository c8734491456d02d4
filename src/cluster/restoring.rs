//! Restores a backup: its pieces are logged apart, then one command puts them in place.
//!
//! Until that command is applied nothing has changed, whatever breaks off. What was staged and
//! abandoned is cleared away: at once if that can be said, else by the leader after a while.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};

use crate::lifecycle::chance;
use crate::model::{Revision, limits};
use crate::state::{BackupError, BackupReader, Command, Outcome, Refusal};

use super::{Cluster, ProposeError, Unwrapping};

/// Why a backup was not restored. Only an outcome that is unknown may have changed anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// While pieces were staged: nothing was changed.
    #[error("nothing was restored: {0}")]
    Staging(ProposeError),
    #[error(transparent)]
    Cluster(#[from] ProposeError),
    #[error("an odd answer")]
    Odd,
}

/// What a restore came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The revision that everything is at now.
    pub revision: Revision,
    pub keys: u64,
}

/// A backup on its way in, in pieces of any length. It holds no more than one piece of the log.
struct Restoring {
    cluster: Cluster,
    id: u128,
    unwrapping: Unwrapping,
    gathered: BytesMut,
    offset: u64,
}

impl Cluster {
    /// Restores a backup that comes in pieces over everything, through a server only: all of it
    /// or, whatever goes wrong, nothing. The outer error is that of the pieces.
    pub async fn restore<E>(
        &self,
        pieces: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<Result<Restored, RestoreError>, E> {
        let mut restoring = self.begin_restore();
        let mut pieces = pin!(pieces);
        while let Some(piece) = pieces.next().await {
            let pushed = match piece {
                Ok(piece) => restoring.push(&piece).await,
                Err(error) => {
                    restoring.abandon().await;
                    return Err(error);
                }
            };
            if let Err(error) = pushed {
                restoring.abandon().await;
                return Ok(Err(error));
            }
        }
        Ok(restoring.finish().await)
    }

    /// Begins to restore a backup over everything; through a server only.
    fn begin_restore(&self) -> Restoring {
        let (unwrapping, gathered) = (Unwrapping::default(), BytesMut::new());
        Restoring { cluster: self.clone(), id: chance::random(), unwrapping, gathered, offset: 0 }
    }
}

impl Restoring {
    /// Takes the next bytes of the file: a backup, or one that etcd's client has saved.
    async fn push(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        let bytes = self.unwrapping.push(bytes);
        self.gather(&bytes).await
    }

    async fn gather(&mut self, mut bytes: &[u8]) -> Result<(), RestoreError> {
        while !bytes.is_empty() {
            let room = limits::BACKUP_PIECE - self.gathered.len();
            let (now, rest) = bytes.split_at(bytes.len().min(room));
            self.gathered.extend_from_slice(now);
            bytes = rest;
            if self.gathered.len() >= limits::BACKUP_PIECE {
                self.stage().await?;
            }
        }
        Ok(())
    }

    /// Puts it in the place of what there is. All of it or nothing.
    async fn finish(mut self) -> Result<Restored, RestoreError> {
        let done = self.commit().await;
        if matches!(done, Err(RestoreError::Refused(_) | RestoreError::Backup(_))) {
            self.abandon().await;
        }
        done
    }

    async fn commit(&mut self) -> Result<Restored, RestoreError> {
        let last = std::mem::take(&mut self.unwrapping).finish()?;
        self.gather(&last).await?;
        self.stage().await?;
        let command = Command::Restore { id: self.id, lineage: chance::random() };
        match self.cluster.propose(command).await? {
            Outcome::Restored { revision, keys } => {
                tracing::warn!(revision, keys, "a backup was restored over everything");
                Ok(Restored { revision, keys })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(RestoreError::Odd),
        }
    }

    /// Clears away what was staged, as far as that can be done now.
    async fn abandon(self) {
        if self.offset > 0
            && let Err(error) = self.cluster.propose(Command::Unstage(self.id)).await
        {
            tracing::debug!(%error, "what was staged of a backup is cleared away later");
        }
    }

    async fn stage(&mut self) -> Result<(), RestoreError> {
        let bytes: Bytes = self.gathered.split().freeze();
        if self.offset == 0 {
            // What is no backup at all is not brought into the log.
            BackupReader::default().push(&bytes)?;
            if bytes.is_empty() {
                return Err(BackupError::Short(0).into());
            }
        } else if bytes.is_empty() {
            return Ok(());
        }
        let (id, offset, len) = (self.id, self.offset, bytes.len() as u64);
        let command = Command::Stage { id, offset, bytes };
        match self.cluster.propose(command).await.map_err(RestoreError::Staging)? {
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => {
                self.offset += len;
                Ok(())
            }
        }
    }
}

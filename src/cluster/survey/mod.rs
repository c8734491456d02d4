//! What takes all of a state to answer: a checksum of the keys, a backup. A few at a time, apart
//! from what answers others; an agent that keeps no history has a server do it.

mod asking;
mod serving;

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::Caller;
use crate::lifecycle::aside;
use crate::model::{Revision, limits};
use crate::net::http::written;
use crate::state::{KeyHash, Refusal, State};

use super::{Asker, Cluster, Consistency, Door, ReadError};

pub(super) use serving::surveyor;

/// Why there is no checksum, or no backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SurveyError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It was begun, and has not come to its end.
    #[error("it broke off: {0}")]
    Broken(String),
}

impl From<io::Error> for SurveyError {
    fn from(error: io::Error) -> SurveyError {
        SurveyError::Broken(error.to_string())
    }
}

/// Everything that a cluster holds, as `remora snapshot save` has it.
pub struct Backup {
    /// Bytes of it all.
    pub len: u64,
    /// Of `limits::BACKUP_CHUNK` bytes, the last one shorter. They are made no faster than they are
    /// taken; where one is an error, or fewer bytes come, it has broken off.
    pub pieces: BoxStream<'static, Result<Bytes, SurveyError>>,
}

/// What an agent has a server do. Released variants are frozen; a change is a new variant.
#[derive(Serialize, Deserialize)]
enum Survey {
    KeyHash(Revision),
    Backup,
}

#[derive(Serialize, Deserialize)]
struct Request {
    survey: Survey,
    /// The place in the log that the one who asks has got to: it is not answered from before.
    seen: u64,
    /// For whom: nobody, or who bears a token that the server looks at.
    caller: Caller,
}

/// What comes back. Released variants are frozen; a change is a new variant.
#[derive(Serialize, Deserialize)]
enum Frame {
    KeyHash(KeyHash),
    /// A backup of so many bytes follows, in pieces.
    Backup(u64),
    Piece(Bytes),
    Refused(Refusal),
    /// It may go better soon.
    NotYet,
}

/// Leave to read all of a state; one for everybody whom this agent answers.
#[derive(Clone)]
pub(super) struct Surveys(Arc<Semaphore>);

impl Default for Surveys {
    fn default() -> Surveys {
        Surveys(Arc::new(Semaphore::new(limits::SCANS)))
    }
}

impl Surveys {
    async fn turn(&self) -> Result<OwnedSemaphorePermit, ReadError> {
        let turn = self.0.clone().acquire_owned().await;
        turn.map_err(|closed| ReadError::Stopped(closed.to_string()))
    }

    async fn over<T: Send + 'static>(
        &self,
        state: Arc<State>,
        work: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, SurveyError> {
        let _turn = self.turn().await?;
        Ok(aside(move || work(&state)).await?)
    }

    async fn key_hash(
        &self,
        state: Arc<State>,
        revision: Revision,
    ) -> Result<KeyHash, SurveyError> {
        let hash = self.over(state, move |state| state.key_hash(revision)).await?;
        Ok(hash.map_err(Refusal::from)?)
    }

    async fn back_up(&self, state: Arc<State>) -> Result<Backup, SurveyError> {
        let turn = self.turn().await?;
        // How long it is has to be said first: it is written twice, and the first time for nobody.
        let (len, state) = aside(move || (measure(&state), state)).await?;
        let pieces = written(limits::BACKUP_CHUNK, move |out| {
            let _turn = turn;
            state.back_up(out)
        });
        Ok(Backup { len, pieces: pieces.map(Ok).boxed() })
    }
}

fn measure(state: &State) -> u64 {
    struct Length(u64);
    impl Write for Length {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    // Counting cannot fail.
    let _ = state.back_up(&mut length);
    length.0
}

impl Cluster {
    /// Reads all of a state of this agent's.
    pub async fn survey<T: Send + 'static>(
        &self,
        state: Arc<State>,
        work: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, SurveyError> {
        self.surveys.over(state, work).await
    }

    /// A checksum of the keys as they were at `revision`, 0 for now: the same on all servers.
    pub async fn key_hash(
        &self,
        asker: &Asker,
        revision: Revision,
    ) -> Result<KeyHash, SurveyError> {
        let state = self.read(Consistency::Local).await?;
        match self.threshold.door() {
            Some(Door::Edge(edge)) => {
                let request = self.request(asker, Survey::KeyHash(revision));
                asking::key_hash(edge, &request).await
            }
            _ => self.surveys.key_hash(state, revision).await,
        }
    }

    /// Everything that was acknowledged before the call.
    pub async fn back_up(&self, asker: &Asker) -> Result<Backup, SurveyError> {
        self.back_up_at(Consistency::Linearizable, asker).await
    }

    /// The same, or what a server has, without asking others. An agent that keeps no history asks
    /// a server in any case.
    pub async fn back_up_at(
        &self,
        consistency: Consistency,
        asker: &Asker,
    ) -> Result<Backup, SurveyError> {
        if let Some(Door::Edge(edge)) = self.threshold.door() {
            return asking::back_up(edge, &self.request(asker, Survey::Backup)).await;
        }
        let state = self.read(consistency).await?;
        self.surveys.back_up(state).await
    }

    fn request(&self, asker: &Asker, survey: Survey) -> Request {
        let seen = self.snapshot().applied().index;
        Request { survey, seen, caller: asker.sent.clone() }
    }
}

//! Keeps a directory true to the keys below a prefix.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::command;
use super::config::PrefixSpec;
use super::directory::{Directory, Finished, Prepared};
use super::error::WriteError;
use super::job::{Acted, Job, Verdict};
use super::layout::{Refused, lay_out};
use super::owed::Owed;
use crate::model::limits;
use crate::replica::Topic;
use crate::state::State;

pub(super) struct PrefixJob {
    spec: PrefixSpec,
    /// The prefix with a slash at its end; empty: all keys.
    prefix: String,
    /// Marked before a file changes.
    owed: Option<Owed>,
    /// Opened by the first act, and again after one that was interrupted.
    directory: Option<Directory>,
}

impl PrefixJob {
    pub(super) fn new(spec: PrefixSpec, owed: Option<Owed>) -> PrefixJob {
        let prefix = match spec.prefix.as_str() {
            "" => String::new(),
            prefix if prefix.ends_with('/') => prefix.to_owned(),
            prefix => format!("{prefix}/"),
        };
        PrefixJob { spec, prefix, owed, directory: None }
    }

    async fn bring_up(&mut self, state: &Arc<State>) -> Result<(u64, Verdict), WriteError> {
        let (directory, mut prepared) = self.prepare(state).await?;
        let refused = std::mem::take(&mut prepared.refused);
        self.check(&mut prepared).await;
        let finished = self.finish(directory, prepared).await?;
        let touched = finished.written + finished.removed;
        if touched > 0 {
            let directory = self.spec.directory.display();
            let Finished { written, removed, .. } = finished;
            tracing::info!(%directory, written, removed, "brought up to date");
        }
        Ok((touched, verdict(&finished, &refused)))
    }

    async fn prepare(&mut self, state: &Arc<State>) -> Result<(Directory, Prepared), WriteError> {
        let (state, prefix) = (state.clone(), self.prefix.clone());
        let (root, mode): (PathBuf, _) = (self.spec.directory.clone(), self.spec.mode);
        let directory = self.directory.take();
        blocking(move || {
            let directory = match directory {
                Some(directory) => directory,
                None => Directory::open(&root, mode)?,
            };
            let rows = state
                .keys_with_prefix(prefix.as_bytes())
                .map(|(key, row)| (key.as_ref(), &row.value) as (&[u8], &Bytes));
            let prepared = directory.prepare(lay_out(&prefix, rows));
            Ok((directory, prepared))
        })
        .await
    }

    /// Drops what the check refuses.
    async fn check(&self, prepared: &mut Prepared) {
        let Some(check) = &self.spec.check else { return };
        for (file, staged) in std::mem::take(&mut prepared.staged) {
            match command::run(check, Some(staged.path()), limits::CHECK_TIMEOUT).await {
                Ok(_) => prepared.staged.push((file, staged)),
                Err(error) => {
                    prepared.problems.push(format!("the check refused {file:?}: {error}"));
                }
            }
        }
    }

    async fn finish(
        &mut self,
        mut directory: Directory,
        prepared: Prepared,
    ) -> Result<Finished, WriteError> {
        let owed = self.owed.clone();
        let (directory, finished) = blocking(move || {
            let finished = directory.finish(prepared, owed.as_ref());
            Ok((directory, finished))
        })
        .await?;
        self.directory = Some(directory);
        Ok(finished)
    }
}

impl Job for PrefixJob {
    async fn act(&mut self, state: &Arc<State>) -> Acted {
        let topics = BTreeSet::from([Topic::Prefix(self.prefix.clone().into())]);
        let (written, verdict) = match self.bring_up(state).await {
            Ok(done) => done,
            Err(error) => (0, Verdict::Failed(error.to_string())),
        };
        Acted { topics, verdict, written }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WriteError> + Send + 'static,
) -> Result<T, WriteError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(WriteError::Interrupted(error.to_string())))
}

fn verdict(finished: &Finished, refused: &BTreeMap<String, Refused>) -> Verdict {
    if let Some(first) = finished.problems.first() {
        return Verdict::Failed(and_more(first, finished.problems.len()));
    }
    if let Some((key, why)) = refused.first_key_value() {
        let first = format!("the key {key:?} is not written: {why}");
        return Verdict::Warned(and_more(&first, refused.len()));
    }
    if finished.in_place {
        return Verdict::Warned("a file was written in place, not renamed".to_owned());
    }
    Verdict::Done
}

fn and_more(first: &str, count: usize) -> String {
    match count.saturating_sub(1) {
        0 => first.to_owned(),
        more => format!("{first} (and {more} more)"),
    }
}

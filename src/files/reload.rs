//! Runs the reload commands: once for all files that changed in the same moment, again until it
//! has succeeded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::command;
use super::config::Argv;
use super::meters::Meters;
use super::owed::Owed;
use crate::lifecycle::{Backoff, Level, Life};
use crate::model::limits;

/// A reload that several files share waits for the others of the same moment: for this long, and
/// while any of them is about to be written.
const SETTLE: Duration = Duration::from_millis(100);
const SETTLE_MOST: Duration = Duration::from_secs(5);
const RETRY_LEAST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(30);

/// The reload commands of a configuration, each known once.
#[derive(Default)]
pub(super) struct Reloads {
    by_command: BTreeMap<Argv, Arc<Reload>>,
}

/// One command, and the files for which it must run.
pub(super) struct Reload {
    argv: Argv,
    /// Several files have this command.
    shared: AtomicBool,
    /// How many of them have seen a change and not acted on it yet.
    stirred: AtomicUsize,
    owed: Mutex<BTreeSet<Owed>>,
    requests: watch::Sender<u64>,
}

impl Reloads {
    /// What a file does after a change; to be asked for every file before `spawn`. None without a
    /// command.
    pub(super) fn afterwards(
        &mut self,
        argv: Option<&Argv>,
        owed: Option<&Owed>,
    ) -> Option<Afterwards> {
        let (argv, owed) = argv.zip(owed)?;
        let reload = match self.by_command.get(argv) {
            Some(reload) => {
                reload.shared.store(true, Ordering::Relaxed);
                reload.clone()
            }
            None => {
                let reload = Arc::new(Reload::new(argv));
                self.by_command.insert(argv.clone(), reload.clone());
                reload
            }
        };
        Some(Afterwards { reload, owed: owed.clone() })
    }

    pub(super) fn spawn(self, life: &Life, meters: &Meters) {
        for reload in self.by_command.into_values() {
            let (life, meters) = (life.clone(), meters.clone());
            life.tasks
                .clone()
                .spawn("files-reload", async move { reload.run(&life, &meters).await });
        }
    }
}

/// The command to run after a change of one file, and the mark that it is owed.
pub(super) struct Afterwards {
    pub(super) reload: Arc<Reload>,
    pub(super) owed: Owed,
}

impl Reload {
    fn new(argv: &Argv) -> Reload {
        Reload {
            argv: argv.clone(),
            shared: AtomicBool::new(false),
            stirred: AtomicUsize::new(0),
            owed: Mutex::default(),
            requests: watch::Sender::new(0),
        }
    }

    /// The file behind `owed` has changed: the command runs, and the mark is taken away after it
    /// has succeeded.
    pub(super) fn request(&self, owed: &Owed) {
        lock(&self.owed).insert(owed.clone());
        self.requests.send_modify(|count| *count += 1);
    }

    /// Until the return value is dropped a file of this reload is about to be written.
    pub(super) fn stir(self: &Arc<Self>) -> Stir {
        self.stirred.fetch_add(1, Ordering::Relaxed);
        Stir(self.clone())
    }

    async fn settled(&self) {
        if !self.shared.load(Ordering::Relaxed) {
            return;
        }
        let latest = Instant::now() + SETTLE_MOST;
        tokio::time::sleep(SETTLE).await;
        while self.stirred.load(Ordering::Relaxed) > 0 && Instant::now() < latest {
            tokio::time::sleep(SETTLE).await;
        }
    }

    async fn run(&self, life: &Life, meters: &Meters) {
        let mut requests = self.requests.subscribe();
        // A request may have come before this task was first polled.
        requests.mark_changed();
        let subject = format!("files/reload/{}", self.argv.join(" "));
        let mut backoff = Backoff::new(RETRY_LEAST, RETRY_MOST);
        loop {
            if !matches!(life.shutdown.or(requests.changed()).await, Some(Ok(()))) {
                return;
            }
            if lock(&self.owed).is_empty() {
                continue;
            }
            if life.shutdown.or(self.settled()).await.is_none() {
                return;
            }
            requests.mark_unchanged();
            // Taken before the run: what changes during it asks for another.
            let owed = std::mem::take(&mut *lock(&self.owed));
            match command::run(&self.argv, None, limits::RELOAD_TIMEOUT).await {
                Ok(output) => {
                    tracing::info!(command = self.argv.join(" "), output, "reloaded");
                    meters.reloads.inc();
                    backoff.reset();
                    self.settle(&owed).await;
                    life.board.set(&subject, Level::Ok, "the last reload succeeded");
                }
                Err(error) => {
                    meters.reload_failures.inc();
                    let delay = backoff.next_delay();
                    tracing::warn!(%error, retry_in = ?delay, "a reload failed");
                    life.board.set(&subject, Level::Failed, format!("reload failed: {error}"));
                    lock(&self.owed).extend(owed);
                    if life.shutdown.or(tokio::time::sleep(delay)).await.is_none() {
                        return;
                    }
                    requests.mark_changed();
                }
            }
        }
    }

    /// A file that changed during the run keeps its mark.
    async fn settle(&self, owed: &BTreeSet<Owed>) {
        let again = lock(&self.owed).clone();
        let settled: Vec<Owed> = owed.difference(&again).cloned().collect();
        // Removing an empty file: a failure is logged there, a panic by the runtime.
        let _ = tokio::task::spawn_blocking(move || settled.iter().for_each(Owed::settle)).await;
    }
}

pub(super) struct Stir(Arc<Reload>);

impl Drop for Stir {
    fn drop(&mut self) {
        self.0.stirred.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The life of one template or prefix: watch, act, report, wait; the same for both.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep_until};

use super::Wait;
use super::damper::Damper;
use super::meters::Meter;
use super::reload::{Afterwards, Stir};
use crate::cluster::{Cluster, Consistency};
use crate::lifecycle::{Backoff, Gate, Level, Life};
use crate::replica::{Topic, Watch};
use crate::state::State;

const RETRY_LEAST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(60);
/// How often an agent that has not synced yet is asked again.
const SYNC_POLL: Duration = Duration::from_millis(50);

/// Something that keeps files true.
pub(super) trait Job: Send + 'static {
    /// Brings what is on disk up to `state`.
    fn act(&mut self, state: &Arc<State>) -> impl Future<Output = Acted> + Send;
}

/// What came of it.
pub(super) struct Acted {
    /// While none of these is touched, acting again would do the same.
    pub(super) topics: BTreeSet<Topic>,
    pub(super) verdict: Verdict,
    /// Files changed on disk.
    pub(super) written: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What is on disk is true.
    Done,
    /// The same, but somebody should know.
    Warned(String),
    /// Nothing was touched: a key is missing.
    Waiting(String),
    /// What is on disk is what was there before; it is tried again, changed or not.
    Failed(String),
}

/// Opens `Gate::Rendered` once all have acted with success.
#[derive(Clone)]
pub(super) struct Remaining {
    count: Arc<AtomicUsize>,
    life: Life,
}

impl Remaining {
    pub(super) fn new(count: usize, life: &Life) -> Remaining {
        if count == 0 {
            life.gates.open(Gate::Rendered);
        }
        Remaining { count: Arc::new(AtomicUsize::new(count)), life: life.clone() }
    }

    fn one_less(&self) {
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.life.gates.open(Gate::Rendered);
        }
    }
}

/// Runs a job until the shutdown.
pub(super) struct Runner {
    /// On the board: `files/` and the path.
    pub(super) subject: String,
    pub(super) wait: Wait,
    pub(super) cluster: Cluster,
    pub(super) life: Life,
    pub(super) meter: Meter,
    pub(super) remaining: Remaining,
    pub(super) afterwards: Option<Afterwards>,
}

impl Runner {
    pub(super) async fn run(self, mut job: impl Job) {
        let shutdown = self.life.shutdown.clone();
        self.life.board.set(&self.subject, Level::Warning, "waiting for the first sync");
        if shutdown.or(self.synced()).await.is_none() {
            return;
        }
        let mut report = Report::default();
        let mut damper = Damper::new(self.wait);
        let mut backoff = Backoff::new(RETRY_LEAST, RETRY_MOST);
        let mut topics = BTreeSet::new();
        let mut watch = self.cluster.watch([]);
        // The reload of a change before a restart may still be due.
        let mut overdue = self.afterwards.as_ref().is_some_and(|after| after.owed.is_marked());
        let mut stir = self.afterwards.as_ref().map(|after| after.reload.stir());
        loop {
            let state = self.cluster.snapshot();
            let Some(acted) = shutdown.or(job.act(&state)).await else { return };
            self.report(&mut report, &acted);
            if let Some(Afterwards { reload, owed }) = &self.afterwards
                && (acted.written > 0 || overdue)
            {
                reload.request(owed);
                overdue = false;
            }
            drop(stir.take());
            damper.acted(Instant::now());
            if acted.topics != topics {
                topics = acted.topics;
                watch = self.cluster.watch(topics.iter().cloned());
                // What changed before the new watch began did not wake anyone.
                if !Arc::ptr_eq(&state, &self.cluster.snapshot()) {
                    continue;
                }
            }
            let retry = match acted.verdict {
                Verdict::Failed(_) => Some(Instant::now() + backoff.next_delay()),
                _ => {
                    backoff.reset();
                    None
                }
            };
            let next = self.next(&mut watch, &mut damper, retry, &mut stir);
            if shutdown.or(next).await.is_none() {
                return;
            }
        }
    }

    /// Returns when it is time to act again; `stir` is taken at the first change.
    async fn next(
        &self,
        watch: &mut Watch,
        damper: &mut Damper,
        retry: Option<Instant>,
        stir: &mut Option<Stir>,
    ) {
        loop {
            let due = [damper.due(), retry].into_iter().flatten().min();
            // The timer counts in milliseconds: what is due now must not wait for its next tick.
            if due.is_some_and(|due| due <= Instant::now()) {
                return;
            }
            let sleep = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = watch.changed() => {
                    damper.changed(Instant::now());
                    if let Some(after) = &self.afterwards {
                        stir.get_or_insert_with(|| after.reload.stir());
                    }
                }
                () = sleep => return,
            }
        }
    }

    /// A state that was never received must not be taken for an empty one.
    async fn synced(&self) {
        while self.cluster.read(Consistency::Local).await.is_err() {
            tokio::time::sleep(SYNC_POLL).await;
        }
    }

    fn report(&self, report: &mut Report, acted: &Acted) {
        let Report { last, first_done } = report;
        self.meter.renders.inc();
        self.meter.writes.inc_by(acted.written);
        let waits = matches!(acted.verdict, Verdict::Waiting(_));
        self.meter.waiting.set(i64::from(waits));
        let (level, text) = match &acted.verdict {
            Verdict::Done => (Level::Ok, "up to date"),
            Verdict::Warned(text) => (Level::Warning, text.as_str()),
            Verdict::Waiting(text) => (Level::Warning, text.as_str()),
            Verdict::Failed(text) => (Level::Failed, text.as_str()),
        };
        self.life.board.set(&self.subject, level, text);
        if last.as_ref() != Some(&acted.verdict) {
            match level {
                Level::Ok => tracing::debug!(subject = self.subject, "{text}"),
                Level::Warning | Level::Failed => {
                    tracing::warn!(subject = self.subject, "{text}");
                }
            }
            *last = Some(acted.verdict.clone());
        }
        match acted.verdict {
            Verdict::Done | Verdict::Warned(_) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.meter.rendered_at.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
                if !std::mem::replace(first_done, true) {
                    self.remaining.one_less();
                }
            }
            Verdict::Failed(_) => {
                self.meter.failures.inc();
            }
            Verdict::Waiting(_) => {}
        }
    }
}

/// What was reported last, so that nothing is logged twice.
#[derive(Default)]
struct Report {
    last: Option<Verdict>,
    first_done: bool,
}

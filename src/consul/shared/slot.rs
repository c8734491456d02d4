//! One question of one caller: what it came to last, and who waits for it to change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::access::Caller;
use crate::consul::error::Failure;
use crate::consul::guard::Seer;
use crate::model::Index;
use crate::replica::Topic;
use crate::state::State;

use super::{Content, Key, Mark, Question};

/// What a question came to, in one state.
#[derive(Debug)]
pub struct Evaluated {
    pub mark: Mark,
    pub content: Content,
    /// Some of it is not shown to who asks.
    pub hidden: bool,
    digest: u64,
    stamp: Stamp,
}

/// As long as this stands still, so does the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    lineage: u64,
    rows: [Index; 2],
    rights: Option<(Index, u64)>,
}

/// What those who wait are shown of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    pub mark: Mark,
    pub digest: u64,
    pub lineage: u64,
    /// Who asks may still ask.
    pub allowed: bool,
}

impl Sight {
    const NONE: Sight =
        Sight { mark: Mark { index: 0, found: false }, digest: 0, lineage: 0, allowed: true };

    /// Whether anybody who waits has to look: an index that moved alone is no news.
    fn is_news(&self, before: &Sight) -> bool {
        Sight { mark: Mark { index: before.mark.index, ..self.mark }, ..*self } != *before
    }
}

pub struct Slot {
    key: Arc<Key>,
    question: Box<dyn Question>,
    latest: Mutex<Latest>,
    /// Held while it is evaluated, so that this happens once however many ask.
    evaluating: Mutex<()>,
    sights: watch::Sender<Sight>,
    waiters: Mutex<Waiters>,
    /// Somebody has asked since it was looked at last.
    used: AtomicBool,
}

/// The answer itself is kept on the shelf's account, and found again as long as it is being sent.
#[derive(Debug, Default)]
struct Latest {
    kept: Option<Arc<Evaluated>>,
    sent: Weak<Evaluated>,
}

#[derive(Debug, Default)]
struct Waiters {
    count: usize,
    /// Evaluates for all of them.
    driver: Option<AbortHandle>,
}

/// One who waits.
pub struct Waiting {
    pub sights: watch::Receiver<Sight>,
    slot: Arc<Slot>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiters = lock(&self.slot.waiters);
        waiters.count -= 1;
        if waiters.count == 0
            && let Some(driver) = waiters.driver.take()
        {
            driver.abort();
        }
    }
}

impl Slot {
    pub(super) fn new(key: Arc<Key>, question: Box<dyn Question>) -> Slot {
        Slot {
            key,
            question,
            latest: Mutex::default(),
            evaluating: Mutex::new(()),
            sights: watch::Sender::new(Sight::NONE),
            waiters: Mutex::default(),
            used: AtomicBool::new(true),
        }
    }

    pub(super) fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// All that can lead to another answer.
    pub fn topics(&self) -> Vec<Topic> {
        self.question.topics()
    }

    /// Whether who asks may ask that, as this state knows it.
    pub fn admit(&self, state: &State) -> Result<(), Failure> {
        let hidden = AtomicBool::new(false);
        self.question.admit(&Seer::new(state, self.caller(), &hidden)?)
    }

    fn caller(&self) -> &Caller {
        self.key.caller()
    }

    /// What the state says, if that is known.
    pub(super) fn known(&self, state: &State) -> Result<Option<Arc<Evaluated>>, Failure> {
        self.used.store(true, Ordering::Relaxed);
        if state.is_guarded() {
            // A token ends by itself.
            state.standing(self.caller()).inspect_err(|_| self.deny(state))?;
        }
        let latest = lock(&self.latest).found();
        Ok(latest.filter(|latest| latest.stamp == self.stamp(state)))
    }

    fn stamp(&self, state: &State) -> Stamp {
        let rights = || (state.acl().switch().index, state.accounts().revision());
        Stamp {
            lineage: state.identity().lineage,
            rows: self.question.stamp(state),
            rights: state.is_guarded().then(rights),
        }
    }

    /// Only one at a time.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        lock(&self.evaluating)
    }

    /// Answers from a state, which is no older than the one before, and tells who waits.
    pub(super) fn evaluate(
        &self,
        state: &State,
        digest: impl Fn(&Content) -> u64,
    ) -> Result<Arc<Evaluated>, Failure> {
        let hidden = AtomicBool::new(false);
        let mark = self.question.mark(state);
        let content = Seer::new(state, self.caller(), &hidden)
            .and_then(|seer| {
                self.question.admit(&seer)?;
                self.question.answer(&seer)
            })
            .inspect_err(|_| self.deny(state))?;
        let digest = digest(&content);
        let (stamp, hidden) = (self.stamp(state), hidden.into_inner());
        let evaluated = Arc::new(Evaluated { mark, content, hidden, digest, stamp });
        lock(&self.latest).sent = Arc::downgrade(&evaluated);
        self.show(evaluated.sight());
        Ok(evaluated)
    }

    fn deny(&self, state: &State) {
        let (mark, lineage) = (self.question.mark(state), state.identity().lineage);
        self.show(Sight { mark, digest: 0, lineage, allowed: false });
    }

    fn show(&self, sight: Sight) {
        self.sights.send_if_modified(|shown| {
            let news = sight.is_news(shown);
            *shown = sight;
            news
        });
    }

    /// The answer stays until it is forgotten.
    pub(super) fn keep(&self, evaluated: Arc<Evaluated>) {
        lock(&self.latest).kept = Some(evaluated);
    }

    /// What it takes while it is kept.
    pub(super) fn size(&self) -> usize {
        let kept = lock(&self.latest).kept.as_ref().map_or(0, |kept| kept.content.size());
        size_of::<Slot>() + self.key.size() + kept
    }

    /// Lets the answer go once nobody is being sent it.
    pub(super) fn forget(&self) {
        lock(&self.latest).kept = None;
    }

    pub(super) fn was_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    pub(super) fn has_waiters(&self) -> bool {
        lock(&self.waiters).count > 0
    }

    /// One more waits. The first has `drive` start what evaluates for all of them.
    pub(super) fn join(self: &Arc<Self>, drive: impl FnOnce() -> AbortHandle) -> Waiting {
        let mut waiters = lock(&self.waiters);
        waiters.count += 1;
        waiters.driver.get_or_insert_with(drive);
        drop(waiters);
        Waiting { sights: self.sights.subscribe(), slot: self.clone() }
    }
}

impl Evaluated {
    pub(super) fn sight(&self) -> Sight {
        let (mark, digest, lineage) = (self.mark, self.digest, self.stamp.lineage);
        Sight { mark, digest, lineage, allowed: true }
    }

    pub fn digest(&self) -> u64 {
        self.digest
    }
}

impl Latest {
    fn found(&self) -> Option<Arc<Evaluated>> {
        self.kept.clone().or_else(|| self.sent.upgrade())
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

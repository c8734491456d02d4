//! What the leader does about time: ends what has gone silent, forgets what is old.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::access::AclCommand;
use crate::model::{Stamp, limits};
use crate::raft::{ProposeError, Raft};
use crate::replica::{Replica, Topic};
use crate::state::{Command, Proposal, State};
use crate::telemetry::{Counter, Metrics};

use super::asks::Pulse;
use super::compare::Book;
use super::deadlines::{Deadlines, Due, Moment, TICK, Verdict};
use super::server::LEADERLESS;

/// How often old deletions and history are looked for.
const FORGET: Duration = Duration::from_secs(60);
/// Steps of the past that make room in one turn: who has gone silent is looked for in between.
const STEPS: usize = 8;

pub(super) struct Duties {
    raft: Raft,
    replica: Replica,
    origin: Instant,
    /// The deadlines of the term in which this server leads, once it has applied that term's
    /// first entry.
    deadlines: Mutex<Option<Deadlines>>,
    /// What replicas said of themselves.
    pub book: Book,
    /// Messages of heartbeats and reads that others had this server confirm.
    pub batches: Counter,
}

impl Duties {
    pub fn new(raft: Raft, replica: Replica, metrics: &Metrics) -> Duties {
        let batches = metrics.register(
            "cluster_confirmations",
            "Messages of heartbeats and reads that others had this server confirm as the leader",
            Counter::default(),
        );
        let (origin, deadlines) = (Instant::now(), Mutex::default());
        Duties { raft, replica, origin, deadlines, book: Book::default(), batches }
    }

    fn now(&self) -> Moment {
        self.origin.elapsed()
    }

    fn deadlines(&self) -> MutexGuard<'_, Option<Deadlines>> {
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes heartbeats that a quorum stands behind; none if this server does not keep deadlines.
    pub fn renew(&self, pulses: &[Pulse]) -> Option<Vec<Verdict>> {
        let (mut deadlines, now) = (self.deadlines(), self.now());
        let deadlines = deadlines.as_mut()?;
        let state = self.replica.snapshot();
        pulses.iter().for_each(|pulse| deadlines.meet(*pulse, &state, now));
        let take = |deadlines: &mut Deadlines| -> Vec<Verdict> {
            pulses.iter().map(|pulse| deadlines.answer(*pulse, now)).collect()
        };
        let verdicts = take(deadlines);
        let gone = |(pulse, verdict): (&Pulse, &Verdict)| {
            matches!((pulse, verdict), (Pulse::Presence(_), Verdict::Gone))
        };
        if !pulses.iter().zip(&verdicts).any(gone) {
            return Some(verdicts);
        }
        // It may have come since the table was last looked through.
        deadlines.sync(&state, now);
        Some(take(deadlines))
    }

    /// The term in which this server leads and has applied the first entry. A leader that no quorum
    /// answers is none: nobody's heartbeat can be acknowledged then, so everything starts anew.
    fn leading(&self) -> Option<u64> {
        let status = self.raft.status();
        let status = status.borrow();
        let reached = self.replica.snapshot().applied().term == status.term;
        let answered = status.quorum_silence(Instant::now()) < LEADERLESS;
        (status.leads() && reached && answered).then_some(status.term)
    }

    pub async fn run(&self) {
        let (mut status, mut applied) = (self.raft.status(), self.replica.applied());
        loop {
            if let Some(number) = self.leading() {
                let deadlines = Deadlines::begin(&self.replica.snapshot(), self.now());
                *self.deadlines() = Some(deadlines);
                self.lead(number).await;
                *self.deadlines() = None;
            }
            let changed = tokio::select! {
                changed = status.changed() => changed.is_ok(),
                changed = applied.changed() => changed.is_ok(),
            };
            if !changed {
                return;
            }
        }
    }

    fn lineage(&self) -> u64 {
        self.replica.snapshot().identity().lineage
    }

    async fn lead(&self, number: u64) {
        let topics = [Topic::Leases, Topic::Sessions, Topic::Presences, Topic::Members];
        let mut watch = self.replica.watch(topics);
        let mut changed = false;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut forgotten = Instant::now();
        let lineage = self.lineage();
        // After a restore every deadline begins anew, as after a change of leader.
        while self.leading() == Some(number) && self.lineage() == lineage {
            tokio::select! {
                () = watch.changed(), if !changed => changed = true,
                _ = tick.tick() => {
                    let due = self.look(std::mem::take(&mut changed));
                    self.end(number, due).await;
                    self.relieve().await;
                    self.expire().await;
                    if forgotten.elapsed() >= FORGET {
                        forgotten = Instant::now();
                        self.forget().await;
                    }
                }
            }
        }
    }

    fn look(&self, changed: bool) -> Due {
        let (mut deadlines, now) = (self.deadlines(), self.now());
        let Some(deadlines) = deadlines.as_mut() else { return Due::default() };
        if changed {
            deadlines.sync(&self.replica.snapshot(), now);
        }
        deadlines.tick(now)
    }

    /// Proposed by this leader in this term or not at all: each command carries the term.
    async fn end(&self, term: u64, due: Due) {
        for command in due.commands(term) {
            self.decide(term, command).await;
        }
        if due != Due::default()
            && let Some(deadlines) = self.deadlines().as_mut()
        {
            let Due { silent, expired, sessions, delays, lost } = &due;
            let (leases, ended, delays) = (expired.len(), sessions.len(), delays.len());
            tracing::info!(?silent, leases, sessions = ended, delays, ?lost, "ended");
            tracing::debug!(?expired, ?sessions, "leases and sessions ended");
            deadlines.settle(&due, &self.replica.snapshot(), self.now());
        }
    }

    /// Returns once it is known what became of a command, or this server leads no more. One that
    /// may lie in the log still ends what it names when a quorum takes it at last: a heartbeat that
    /// was acknowledged meanwhile would have been in vain. The same one, proposed again, comes
    /// after it in the log.
    async fn decide(&self, term: u64, command: Command) {
        let mut logged = false;
        loop {
            let Err(error) = self.raft.propose(command.clone()).await else { return };
            tracing::debug!(%error, "the end of something silent is not decided");
            logged |= matches!(error, ProposeError::Unknown(_));
            let leads = {
                let status = self.raft.status();
                let status = status.borrow();
                status.leads() && status.term == term
            };
            if !logged || !leads {
                return;
            }
            sleep(TICK).await;
        }
    }

    /// Long before a write would be refused.
    async fn relieve(&self) {
        for _ in 0..STEPS {
            if !self.replica.snapshot().is_pressed() {
                return;
            }
            if let Err(error) = self.raft.propose(Command::Relieve).await {
                tracing::debug!(%error, "the past does not make room");
                return;
            }
        }
    }

    /// Tokens whose time is up are worth nothing from then on, whatever else happens.
    async fn expire(&self) {
        let first = self.replica.snapshot().acl().first_end();
        if first.is_some_and(|ends| ends <= self.raft.now())
            && let Err(error) = self.raft.propose(Command::Acl(AclCommand::Expire)).await
        {
            tracing::debug!(%error, "no token was ended");
        }
    }

    async fn forget(&self) {
        let state = self.replica.snapshot();
        let now = self.raft.now();
        let abandoned =
            state.staging().filter(|staging| now.since(staging.at) >= limits::STAGING_IDLE);
        let abandoned = abandoned.map(|staging| Command::Unstage(staging.id));
        let Some(command) = abandoned.or_else(|| forget(&state, now)) else { return };
        if let Err(error) = self.raft.propose(command).await {
            tracing::debug!(%error, "nothing was forgotten");
        }
    }
}

/// The command that forgets what is old at `now`; none if it would change nothing. The state's own
/// time will not do: it stands still while nothing is written, and nothing would ever grow old.
pub(super) fn forget(state: &State, now: Stamp) -> Option<Command> {
    let before = |age: Duration| Stamp(now.0.saturating_sub(Stamp::default().plus(age).0));
    let command = Command::Forget {
        tombstones: before(limits::TOMBSTONE_AGE),
        history: before(state.identity().settings.history),
    };
    let proposal = Proposal { stamp: now, command };
    let (_, changes) = state.apply(state.applied(), &proposal);
    (!changes.rows.is_empty()).then_some(proposal.command)
}

//! When what lives by heartbeats ends: agents' presence, leases, sessions, the grace of silent
//! nodes; and when a key that a session lost may be taken again. Pure.
//!
//! The leader holds these in memory; nothing here is logged. A TTL is a lower bound: whatever is
//! unclear (a new leader, a pause of the leader, a changed TTL) starts anew or moves later.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Index, LeaseId, NodeId, SessionId};
use crate::state::{Command, Key, LeaseRow, SessionRow, State};

use super::asks::Pulse;

/// Monotonic time since some moment of this process.
pub(super) type Moment = Duration;

/// How often `tick` is meant to be called.
pub(super) const TICK: Duration = Duration::from_millis(100);
/// A tick this much later than meant was held up: by a pause of the process, not by load.
const PAUSE: Duration = Duration::from_millis(500);
/// Ends decided in one tick, so that one entry of the log stays small.
const MOST: usize = 1024;

/// What ends when nobody speaks for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// An agent whose node counts as alive.
    Presence(NodeId),
    Lease(LeaseId),
    /// A session that has a TTL.
    Session(SessionId),
    /// Nobody may take this key; it is not kept alive, and only ends.
    Delay(Key),
    /// A silent agent's node, or an edge without a node: out of the tables when this ends.
    Grace(NodeId),
}

/// What the leader says to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Verdict {
    For(Duration),
    Gone,
    /// Its end has been proposed: ask again when that is decided.
    Undecided,
}

/// For how long something lives after each heartbeat, and which life of it this is: a lease that
/// was revoked and granted again under its old id is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    ttl: Duration,
    since: Index,
}

#[derive(Debug, Clone, Copy)]
struct Deadline {
    life: Life,
    at: Moment,
    /// Its end has been proposed.
    ending: bool,
}

/// What is over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Due {
    pub silent: Vec<NodeId>,
    pub expired: Vec<LeaseId>,
    pub sessions: Vec<SessionId>,
    /// Keys that may be taken again, each with the index that began its delay.
    pub delays: Vec<(Key, Index)>,
    pub lost: Vec<NodeId>,
}

impl Due {
    fn push(&mut self, subject: Subject, life: Life) {
        match subject {
            Subject::Presence(id) => self.silent.push(id),
            Subject::Lease(id) => self.expired.push(id),
            Subject::Session(id) => self.sessions.push(id),
            Subject::Delay(key) => self.delays.push((key, life.since)),
            Subject::Grace(id) => self.lost.push(id),
        }
    }

    fn subjects(&self) -> impl Iterator<Item = Subject> + '_ {
        let silent = self.silent.iter().map(|id| Subject::Presence(*id));
        let expired = self.expired.iter().map(|id| Subject::Lease(*id));
        let sessions = self.sessions.iter().map(|id| Subject::Session(*id));
        let delays = self.delays.iter().map(|(key, _)| Subject::Delay(key.clone()));
        let lost = self.lost.iter().map(|id| Subject::Grace(*id));
        silent.chain(expired).chain(sessions).chain(delays).chain(lost)
    }

    /// The commands that end it all, by the leader of that term.
    pub fn commands(&self, term: u64) -> Vec<Command> {
        let Due { silent, expired, sessions, delays, lost } = self.clone();
        let mut commands = Vec::new();
        if !silent.is_empty() {
            commands.push(Command::Silent { nodes: silent, term });
        }
        if !expired.is_empty() {
            commands.push(Command::LeaseExpire { ids: expired, term });
        }
        if !sessions.is_empty() {
            commands.push(Command::SessionExpire { ids: sessions, term });
        }
        if !delays.is_empty() {
            commands.push(Command::LockDelayEnd { delays, term });
        }
        if !lost.is_empty() {
            commands.push(Command::Reap { nodes: lost, term });
        }
        commands
    }
}

#[derive(Debug)]
pub(super) struct Deadlines {
    table: BTreeMap<Subject, Deadline>,
    ticked: Moment,
}

impl Deadlines {
    /// What a new leader begins with: everything has its full TTL.
    pub fn begin(state: &State, now: Moment) -> Deadlines {
        let mut deadlines = Deadlines { table: BTreeMap::new(), ticked: now };
        deadlines.sync(state, now);
        deadlines
    }

    /// Takes over what has appeared, changed or gone. What is new has its full TTL from now on.
    pub fn sync(&mut self, state: &State, now: Moment) {
        let living = living(state);
        self.table.retain(|subject, deadline| living.get(subject) == Some(&deadline.life));
        for (subject, life) in living {
            let at = now + life.ttl;
            self.table.entry(subject).or_insert(Deadline { life, at, ending: false });
        }
    }

    /// The same for what one heartbeat is about, before the next tick looks through everything: a
    /// lease that was revoked is not renewed any more.
    pub fn meet(&mut self, pulse: Pulse, state: &State, now: Moment) {
        let (subject, life) = match pulse {
            Pulse::Lease(id) | Pulse::LeaseLeft(id) => {
                (Subject::Lease(id), state.lease(id).map(life_of_lease))
            }
            Pulse::Session(id) => {
                let session = state.session(id);
                (Subject::Session(id), session.and_then(|session| life_of_session(state, session)))
            }
            Pulse::Presence(_) => return,
        };
        let Some(life) = life else {
            self.table.remove(&subject);
            return;
        };
        if self.table.get(&subject).is_none_or(|deadline| deadline.life != life) {
            let at = now + life.ttl;
            self.table.insert(subject, Deadline { life, at, ending: false });
        }
    }

    /// Marks what is over as ending and names it. After a pause everything moves by the gap: those
    /// who live had no chance to say so.
    pub fn tick(&mut self, now: Moment) -> Due {
        let late = now.saturating_sub(self.ticked).saturating_sub(TICK);
        self.ticked = now;
        if late > PAUSE {
            self.table.values_mut().for_each(|deadline| deadline.at += late);
        }
        let mut due = Due::default();
        let over = self.table.iter_mut().filter(|(_, d)| !d.ending && d.at <= now);
        for (subject, deadline) in over.take(MOST) {
            deadline.ending = true;
            due.push(subject.clone(), deadline.life);
        }
        due
    }

    /// What a heartbeat does, or a question about one, that a quorum stands behind.
    pub fn answer(&mut self, pulse: Pulse, now: Moment) -> Verdict {
        match pulse {
            Pulse::Presence(id) => self.renew(Subject::Presence(id), now),
            Pulse::Lease(id) => self.renew(Subject::Lease(id), now),
            Pulse::Session(id) => self.renew(Subject::Session(id), now),
            Pulse::LeaseLeft(id) => match self.table.get(&Subject::Lease(id)) {
                Some(deadline) if deadline.ending => Verdict::Undecided,
                Some(deadline) => Verdict::For(deadline.at.saturating_sub(now)),
                None => Verdict::Gone,
            },
        }
    }

    /// A heartbeat that a quorum stands behind.
    pub fn renew(&mut self, subject: Subject, now: Moment) -> Verdict {
        match self.table.get_mut(&subject) {
            Some(deadline) if deadline.ending => Verdict::Undecided,
            Some(deadline) => {
                deadline.at = now + deadline.life.ttl;
                Verdict::For(deadline.life.ttl)
            }
            None => {
                // An agent that speaks is not lost, though its node has yet to be set back.
                if let Subject::Presence(id) = subject {
                    self.renew(Subject::Grace(id), now);
                }
                Verdict::Gone
            }
        }
    }

    /// The ends that were proposed have been decided. What is still there starts anew.
    pub fn settle(&mut self, due: &Due, state: &State, now: Moment) {
        self.sync(state, now);
        for subject in due.subjects() {
            if let Some(deadline) = self.table.get_mut(&subject)
                && deadline.ending
            {
                deadline.at = now + deadline.life.ttl;
                deadline.ending = false;
            }
        }
    }
}

fn life_of_lease(lease: &LeaseRow) -> Life {
    Life { ttl: lease.ttl, since: lease.index }
}

/// None: it lives without being renewed.
fn life_of_session(state: &State, session: &SessionRow) -> Option<Life> {
    let factor = state.identity().settings.session_factor;
    let ttl = session.def.ttl?.saturating_mul(factor);
    Some(Life { ttl, since: session.index })
}

/// Everything that lives by heartbeats, or ends by itself.
fn living(state: &State) -> BTreeMap<Subject, Life> {
    let grace = state.identity().settings.node_grace;
    let leases = state.leases().map(|lease| (Subject::Lease(lease.id), life_of_lease(lease)));
    let mut living: BTreeMap<Subject, Life> = leases.collect();
    living.extend(state.sessions().filter_map(|session| {
        Some((Subject::Session(session.def.id), life_of_session(state, session)?))
    }));
    living.extend(state.lock_delays().map(|(key, delay)| {
        (Subject::Delay(key.clone()), Life { ttl: delay.lasts, since: delay.index })
    }));
    for presence in state.presences() {
        let (subject, ttl) = if presence.silent {
            (Subject::Grace(presence.agent), grace)
        } else {
            (Subject::Presence(presence.agent), presence.ttl)
        };
        living.insert(subject, Life { ttl, since: 0 });
    }
    living
}

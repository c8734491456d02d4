//! When what lives by heartbeats ends: agents' presence, leases, the grace of silent nodes. Pure.
//!
//! The leader holds these in memory; nothing here is logged. A TTL is a lower bound: whatever is
//! unclear (a new leader, a pause of the leader, a changed TTL) starts anew or moves later.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Index, LeaseId, NodeId};
use crate::state::State;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// An agent whose node counts as alive.
    Presence(NodeId),
    Lease(LeaseId),
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
    pub lost: Vec<NodeId>,
}

impl Due {
    fn push(&mut self, subject: Subject) {
        match subject {
            Subject::Presence(id) => self.silent.push(id),
            Subject::Lease(id) => self.expired.push(id),
            Subject::Grace(id) => self.lost.push(id),
        }
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
        let (Pulse::Lease(id) | Pulse::LeaseLeft(id)) = pulse else { return };
        let subject = Subject::Lease(id);
        let Some(lease) = state.lease(id) else {
            self.table.remove(&subject);
            return;
        };
        let life = Life { ttl: lease.ttl, since: lease.index };
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
            due.push(*subject);
        }
        due
    }

    /// What a heartbeat does, or a question about one, that a quorum stands behind.
    pub fn answer(&mut self, pulse: Pulse, now: Moment) -> Verdict {
        match pulse {
            Pulse::Presence(id) => self.renew(Subject::Presence(id), now),
            Pulse::Lease(id) => self.renew(Subject::Lease(id), now),
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
        let subjects = due
            .silent
            .iter()
            .map(|id| Subject::Presence(*id))
            .chain(due.expired.iter().map(|id| Subject::Lease(*id)))
            .chain(due.lost.iter().map(|id| Subject::Grace(*id)));
        for subject in subjects {
            if let Some(deadline) = self.table.get_mut(&subject)
                && deadline.ending
            {
                deadline.at = now + deadline.life.ttl;
                deadline.ending = false;
            }
        }
    }
}

/// Everything that lives by heartbeats.
fn living(state: &State) -> BTreeMap<Subject, Life> {
    let grace = state.identity().settings.node_grace;
    let leases = state
        .leases()
        .map(|lease| (Subject::Lease(lease.id), Life { ttl: lease.ttl, since: lease.index }));
    let mut living: BTreeMap<Subject, Life> = leases.collect();
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

//! The questions that were asked lately, with their answers, within a bound of bytes.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cluster::Cluster;
use crate::consul::error::Failure;
use crate::model::limits;
use crate::replica::Watch;
use crate::state::State;
use crate::telemetry::{Counter, Gauge, Metrics};

use super::slot::Waiting;
use super::{Evaluated, Key, Question, Slot};

/// Bytes of one board.
const ROOM: usize = limits::ANSWERS / limits::ANSWER_SHELVES;

/// Clones are the same.
#[derive(Clone)]
pub struct Shelf(Arc<Inner>);

struct Inner {
    cluster: Cluster,
    /// A question stands on the board that its hash says, so that askers seldom meet at a lock.
    boards: Vec<Mutex<Board>>,
    keyed: RandomState,
    evaluated: Counter,
    found: Counter,
    bytes: Gauge,
}

#[derive(Default)]
struct Board {
    slots: HashMap<Arc<Key>, Stand>,
    /// In the order in which they are looked at when there is no room.
    line: VecDeque<Arc<Key>>,
    bytes: usize,
}

struct Stand {
    slot: Arc<Slot>,
    /// What it counts for in `bytes`.
    size: usize,
}

impl Shelf {
    pub fn new(cluster: Cluster, metrics: &Metrics) -> Shelf {
        let boards = (0..limits::ANSWER_SHELVES).map(|_| Mutex::default()).collect();
        let count = |name, help| metrics.register(name, help, Counter::default());
        Shelf(Arc::new(Inner {
            cluster,
            boards,
            keyed: RandomState::new(),
            evaluated: count("consul_answers_made", "Answers of Consul's API made of the state"),
            found: count(
                "consul_answers_shared",
                "Answers of Consul's API that had been made already for an equal question",
            ),
            bytes: metrics.register(
                "consul_answers_bytes",
                "Bytes of answers that are kept for equal questions",
                Gauge::default(),
            ),
        }))
    }

    /// The slot of a question, as it was asked before or made now.
    pub fn slot(
        &self,
        key: Key,
        make: impl FnOnce() -> Result<Box<dyn Question>, Failure>,
    ) -> Result<Arc<Slot>, Failure> {
        if let Some(stand) = self.board(&key).slots.get(&key) {
            return Ok(stand.slot.clone());
        }
        let question = make()?;
        let key = Arc::new(key);
        let slot = Arc::new(Slot::new(key.clone(), question));
        let mut board = self.board(&key);
        let size = slot.size();
        let stand = board.slots.entry(key.clone()).or_insert(Stand { slot: slot.clone(), size });
        if !Arc::ptr_eq(&stand.slot, &slot) {
            // Somebody else was faster.
            return Ok(stand.slot.clone());
        }
        board.line.push_back(key);
        board.bytes += size;
        self.0.bytes.inc_by(signed(size));
        Ok(slot)
    }

    /// What a question comes to in this state, or a newer one.
    pub fn current(&self, slot: &Slot, state: &State) -> Result<Arc<Evaluated>, Failure> {
        if let Some(known) = slot.known(state)? {
            self.0.found.inc();
            return Ok(known);
        }
        let _turn = slot.turn();
        // Whoever had the turn before may have answered it, of a newer state than ours.
        let state = self.0.cluster.snapshot();
        if let Some(known) = slot.known(&state)? {
            self.0.found.inc();
            return Ok(known);
        }
        self.0.evaluated.inc();
        let evaluated = slot.evaluate(&state, |content| content.digest(&self.0.keyed))?;
        self.keep(slot, &evaluated);
        Ok(evaluated)
    }

    pub fn newest(&self, slot: &Slot) -> Result<Arc<Evaluated>, Failure> {
        let state = self.0.cluster.snapshot();
        self.current(slot, &state)
    }

    /// One more waits for another answer.
    pub fn join(&self, slot: &Arc<Slot>) -> Waiting {
        slot.join(|| {
            let watch = self.0.cluster.watch(slot.topics());
            tokio::spawn(drive(self.clone(), slot.clone(), watch)).abort_handle()
        })
    }

    fn keep(&self, slot: &Slot, evaluated: &Arc<Evaluated>) {
        let mut board = self.board(slot.key());
        let Some(stand) = board.slots.get_mut(slot.key()) else { return };
        if !std::ptr::eq(&*stand.slot, slot) {
            return;
        }
        slot.keep(evaluated.clone());
        let (was, is) = (stand.size, slot.size());
        stand.size = is;
        board.bytes = board.bytes + is - was;
        let freed = board.make_room(slot.key());
        self.0.bytes.inc_by(signed(is) - signed(was) - signed(freed));
    }

    fn board(&self, key: &Key) -> MutexGuard<'_, Board> {
        let boards = &self.0.boards;
        let at = usize::try_from(self.0.keyed.hash_one(key)).unwrap_or_default() % boards.len();
        let Some(board) = boards.get(at) else { unreachable!("a remainder is smaller") };
        board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// Lets go what nobody has asked for lately, but for the newest. Says how many bytes that were.
    fn make_room(&mut self, newest: &Arc<Key>) -> usize {
        let before = self.bytes;
        // Twice around: the first time takes from each that it was used.
        for _ in 0..2 * self.line.len() {
            if self.bytes <= ROOM {
                break;
            }
            let Some(key) = self.line.pop_front() else { break };
            let Some(stand) = self.slots.get_mut(&key) else { continue };
            if key == *newest || stand.slot.was_used() {
                self.line.push_back(key);
                continue;
            }
            stand.slot.forget();
            let (was, is) = (stand.size, stand.slot.size());
            stand.size = is;
            self.bytes -= was - is;
            // Whoever asks the same finds those who wait.
            if stand.slot.has_waiters() {
                self.line.push_back(key);
            } else {
                self.slots.remove(&key);
                self.bytes -= is;
            }
        }
        before - self.bytes
    }
}

/// Evaluates for all who wait, whenever something was touched that the answer depends on.
async fn drive(shelf: Shelf, slot: Arc<Slot>, mut watch: Watch) {
    loop {
        watch.changed().await;
        // Whoever may no longer ask is told so when it looks.
        let _ = shelf.newest(&slot);
    }
}

fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

//! Gathers what asks for the leader's word: one message is under way, the rest goes with the next.
//!
//! What can wait a moment (heartbeats, and whatever followers ask for) makes at most one message in
//! `MERGE`; a read of this agent's own clients goes at once and takes the others along.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

use crate::lifecycle::Life;
use crate::model::limits;

use super::asks::{Confirmed, Pulse, Unconfirmed};

/// The least time between two messages that nobody is in a hurry for.
pub(super) const MERGE: Duration = Duration::from_millis(20);

/// How often others are let in before a message goes, at most.
const TURNS: u8 = 16;
/// So many turns in a row without anybody new, and it goes.
const QUIET: u8 = 2;

/// Whether an ask may wait for others to go along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    Now,
    Merged,
}

type Answer = Result<Confirmed, Unconfirmed>;

struct Waiting {
    pulses: Vec<Pulse>,
    haste: Haste,
    reply: oneshot::Sender<Answer>,
}

/// Reads and heartbeats of one agent on their way to the leader.
#[derive(Clone)]
pub(super) struct Confirms {
    queue: mpsc::Sender<Waiting>,
}

/// One try to have the leader confirm. May be repeated freely.
pub(super) type Route = Arc<dyn Fn(Vec<Pulse>) -> BoxFuture<'static, Answer> + Send + Sync>;

impl Confirms {
    pub fn start(life: &Life, route: Route) -> Confirms {
        let (queue, waiting) = mpsc::channel(limits::CONFIRMS);
        let shutdown = life.shutdown.clone();
        life.tasks.spawn("confirms", async move {
            shutdown.or(gather(waiting, route)).await;
        });
        Confirms { queue }
    }

    /// A confirmation that began after this call did.
    pub fn ask(&self, pulses: Vec<Pulse>, haste: Haste) -> impl Future<Output = Answer> + use<> {
        let queue = self.queue.clone();
        async move {
            let (reply, answer) = oneshot::channel();
            let waiting = Waiting { pulses, haste, reply };
            queue.send(waiting).await.map_err(|_| Unconfirmed::NotYet)?;
            answer.await.unwrap_or(Err(Unconfirmed::NotYet))
        }
    }
}

async fn gather(mut queue: mpsc::Receiver<Waiting>, route: Route) {
    let mut batch = Vec::new();
    let mut next = Instant::now();
    while queue.recv_many(&mut batch, limits::CONFIRMS).await > 0 {
        fill(&mut queue, &mut batch, next).await;
        collect(&mut queue, &mut batch).await;
        next = Instant::now() + MERGE;
        let pulses: Vec<Pulse> = batch.iter().flat_map(|w| w.pulses.iter().copied()).collect();
        let wanted = pulses.len();
        let confirmed = route(pulses).await;
        let confirmed = confirmed.and_then(|confirmed| {
            let complete = confirmed.verdicts.len() == wanted;
            if complete { Ok(confirmed) } else { Err(Unconfirmed::NotYet) }
        });
        let mut verdicts = confirmed.iter().flat_map(|c| c.verdicts.iter().copied());
        for waiting in batch.drain(..) {
            let verdicts = verdicts.by_ref().take(waiting.pulses.len()).collect();
            let answer = match &confirmed {
                Ok(confirmed) => Ok(Confirmed { index: confirmed.index, verdicts }),
                Err(unconfirmed) => Err(*unconfirmed),
            };
            // Who asked may have gone.
            let _ = waiting.reply.send(answer);
        }
    }
}

/// Lets whoever was answered last, and whoever is about to ask, come along: a turn of everybody who
/// can run costs a quiet agent nothing, and spares a busy one most of its messages.
async fn collect(queue: &mut mpsc::Receiver<Waiting>, batch: &mut Vec<Waiting>) {
    let mut quiet = 0;
    for _ in 0..TURNS {
        let before = batch.len();
        yield_now().await;
        while batch.len() < limits::CONFIRMS
            && let Ok(waiting) = queue.try_recv()
        {
            batch.push(waiting);
        }
        quiet = if batch.len() == before { quiet + 1 } else { 0 };
        if quiet == QUIET {
            return;
        }
    }
}

/// Waits for more until `ready`, while nobody is in a hurry and there is room.
async fn fill(queue: &mut mpsc::Receiver<Waiting>, batch: &mut Vec<Waiting>, ready: Instant) {
    while batch.len() < limits::CONFIRMS && batch.iter().all(|w| w.haste == Haste::Merged) {
        let room = limits::CONFIRMS - batch.len();
        match timeout_at(ready, queue.recv_many(batch, room)).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

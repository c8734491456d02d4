//! Gathers what asks for the leader's word: one message is under way, the rest goes with the next.

use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use crate::lifecycle::Life;
use crate::model::limits;

use super::asks::{Confirmed, Pulse};

struct Waiting {
    pulses: Vec<Pulse>,
    reply: oneshot::Sender<Option<Confirmed>>,
}

/// Reads and heartbeats of one agent on their way to the leader.
#[derive(Clone)]
pub(super) struct Confirms {
    queue: mpsc::Sender<Waiting>,
}

/// One try to have the leader confirm; none if that failed. May be repeated freely.
pub(super) type Route =
    Arc<dyn Fn(Vec<Pulse>) -> BoxFuture<'static, Option<Confirmed>> + Send + Sync>;

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
    pub fn ask(&self, pulses: Vec<Pulse>) -> impl Future<Output = Option<Confirmed>> + use<> {
        let queue = self.queue.clone();
        async move {
            let (reply, answer) = oneshot::channel();
            queue.send(Waiting { pulses, reply }).await.ok()?;
            answer.await.ok()?
        }
    }
}

async fn gather(mut queue: mpsc::Receiver<Waiting>, route: Route) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, limits::CONFIRMS).await > 0 {
        let pulses: Vec<Pulse> = batch.iter().flat_map(|w| w.pulses.iter().copied()).collect();
        let wanted = pulses.len();
        let confirmed = route(pulses).await.filter(|c| c.verdicts.len() == wanted);
        let mut verdicts = confirmed.iter().flat_map(|c| c.verdicts.iter().copied());
        for waiting in batch.drain(..) {
            let verdicts = verdicts.by_ref().take(waiting.pulses.len()).collect();
            let answer = confirmed.as_ref().map(|c| Confirmed { index: c.index, verdicts });
            // Who asked may have gone.
            let _ = waiting.reply.send(answer);
        }
    }
}

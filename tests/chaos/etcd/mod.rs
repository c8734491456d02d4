//! Clients of etcd's own protocol: what they ask of the agent that each of them is with.

pub mod board;
/// The generated messages name it by this path.
#[path = "../../against/etcd/event.rs"]
pub mod event;
mod follower;
mod keeping;
pub mod keys;
pub mod leases;
pub mod locks;
pub mod watches;

use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc;
use prost::Message;
use serde::Serialize;
use serde_json::Value;

use super::clients::was_never_done;
use super::history::End;
use super::load::Visitor;
use super::wire::{Answers, Call, Server, Way};

/// How long a client waits for an answer, unless it waits for its turn.
const PATIENCE: Duration = Duration::from_millis(2500);
/// Of every lease, in seconds, and in the history's microseconds. It is the shortest that is granted.
const TTL: i64 = 2;
const TTL_MICROS: u64 = 2_000_000;
/// How often a lease is kept alive.
const BEAT: Duration = Duration::from_millis(650);
/// What nobody keeps has to be gone by then, whoever had to be elected meanwhile.
const GONE: Duration = Duration::from_secs(30);

/// A visitor, with a connection to the agent that it asks now.
#[derive(Clone)]
pub struct Caller {
    pub visitor: Visitor,
    server: Option<(String, Server)>,
}

impl Caller {
    pub fn new(visitor: Visitor) -> Caller {
        Caller { visitor, server: None }
    }

    fn server(&mut self) -> Server {
        let agent = self.visitor.agent();
        match &self.server {
            Some((at, server)) if *at == agent => server.clone(),
            _ => self.server.insert((agent.clone(), Server::at(&agent))).1.clone(),
        }
    }

    /// Asks, and goes to another agent where there is no good answer.
    async fn ask<Q, A>(&mut self, call: Call, ask: Q) -> Result<Value, End>
    where
        Q: Message + Serialize + 'static,
        A: Message + Serialize + Default + 'static,
    {
        let answer = ask_of::<Q, A>(&self.server(), call, ask, PATIENCE).await;
        if answer.is_err() {
            self.visitor.move_on();
        }
        answer
    }

    /// A call with a stream on either side, to whatever agent it is with.
    async fn talk<Q, A>(&mut self, call: Call) -> Talk<Q>
    where
        Q: Message + Serialize + 'static,
        A: Message + Serialize + Default + 'static,
    {
        let (asks, asked) = mpsc::unbounded();
        let answers = self.server().talk::<Q, A>(Way::Grpc, call, asked.boxed()).await;
        Talk { asks, answers }
    }
}

struct Talk<Q> {
    asks: mpsc::UnboundedSender<Q>,
    answers: Answers,
}

/// One question; without a good answer, how it ended.
async fn ask_of<Q, A>(server: &Server, call: Call, ask: Q, patience: Duration) -> Result<Value, End>
where
    Q: Message + Serialize + 'static,
    A: Message + Serialize + Default + 'static,
{
    let answer = server.ask::<Q, A>(Way::Grpc, call, ask);
    match tokio::time::timeout(patience, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(refused)) if is_sure(&refused) => Err(End::Failed),
        Ok(Err(_)) | Err(_) => Err(End::Unknown),
    }
}

/// A refusal that says that nothing was done, or a connection that was never made.
fn is_sure(refused: &Value) -> bool {
    let text = refused["message"].as_str().unwrap_or_default();
    text.contains("(Connect)") || was_never_done(text)
}

//! Plays a script on one server and writes down what it answers.

mod queues;
mod watches;

use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::normal::{Normal, number};
use crate::proto::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, LeaderKey,
    LeaderResponse, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, ProclaimResponse, PutRequest, PutResponse,
    RangeResponse, ResignResponse, TxnResponse, UnlockResponse,
};
use crate::script::{ANSWERED, Anchor, ORIGIN, Script, Step};
use crate::wire::{self, Answer, Server, Way};

use queues::Queues;
use watches::Watches;

/// How long anything that has to come may take.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);

/// One answer for each step, and one for each watch.
pub type Transcript = Vec<Value>;

pub async fn play(server: &Server, script: &Script) -> Transcript {
    let base = match begin(server).await {
        Ok(base) => base,
        Err(broken) => return vec![broken],
    };
    let mut play = Play {
        server: server.clone(),
        way: script.way,
        anchor: Anchor { base, drawn: Vec::new() },
        compacted: base,
        watches: Watches::default(),
        queues: Queues::default(),
    };
    let mut transcript = Vec::new();
    for step in &script.steps {
        transcript.push(play.step(step).await);
    }
    transcript.push(play.settle().await);
    transcript.extend(play.watches.told());
    let mut normal = Normal { base, drawn: Vec::new() };
    transcript.iter_mut().for_each(|answer| normal.answer(answer));
    transcript
}

/// An empty store but for one key, no leases, no past. Its revision.
async fn begin(server: &Server) -> Answer<i64> {
    let ask = LeaseLeasesRequest {};
    let leases = server.ask::<_, LeaseLeasesResponse>(Way::Grpc, wire::LEASES, ask).await?;
    for lease in leases["leases"].as_array().into_iter().flatten() {
        let revoke = LeaseRevokeRequest { id: number(&lease["ID"]).unwrap() };
        // One that ends by itself meanwhile is gone as well.
        let _ = server.ask::<_, LeaseRevokeResponse>(Way::Grpc, wire::REVOKE, revoke).await;
    }
    let (key, range_end) = ("\0".into(), "\0".into());
    let delete = DeleteRangeRequest { key, range_end, ..Default::default() };
    server.ask::<_, DeleteRangeResponse>(Way::Grpc, wire::DELETE, delete).await?;
    let put = PutRequest { key: "!".into(), value: "begun".into(), ..Default::default() };
    let mut revision = 0;
    // On a new server, too, there are revisions before.
    while revision <= ORIGIN {
        let begun = server.ask::<_, PutResponse>(Way::Grpc, wire::PUT, put.clone()).await?;
        revision = number(&begun["header"]["revision"]).unwrap();
    }
    let compact = CompactionRequest { revision, physical: true };
    server.ask::<_, CompactionResponse>(Way::Grpc, wire::COMPACT, compact).await?;
    Ok(revision)
}

struct Play {
    server: Server,
    way: Way,
    anchor: Anchor,
    /// The server's revision up to which its history is gone.
    compacted: i64,
    watches: Watches,
    queues: Queues,
}

fn shown(answer: Answer) -> Value {
    match answer {
        Ok(answer) => json!({ "ok": answer }),
        Err(refused) => json!({ "refused": refused }),
    }
}

macro_rules! ask {
    ($play:expr, $call:expr, $ask:expr, $answer:ty) => {
        shown($play.server.ask::<_, $answer>($play.way, $call, $ask).await)
    };
}

impl Play {
    async fn step(&mut self, step: &Step) -> Value {
        match step.clone() {
            Step::Range(range) => ask!(self, wire::RANGE, self.anchor.range(range), RangeResponse),
            Step::Put(put) => ask!(self, wire::PUT, self.anchor.put(put), PutResponse),
            Step::Delete(delete) => ask!(self, wire::DELETE, delete, DeleteRangeResponse),
            Step::Txn(txn) => ask!(self, wire::TXN, self.anchor.txn(txn), TxnResponse),
            Step::Compact(compact) => {
                let revision = self.anchor.revision(compact.revision);
                let compact = CompactionRequest { revision, ..compact };
                let answer = ask!(self, wire::COMPACT, compact, CompactionResponse);
                if answer.get("ok").is_some() {
                    self.compacted = self.compacted.max(revision);
                }
                answer
            }
            Step::Grant(grant) => {
                let answer = ask!(self, wire::GRANT, grant, LeaseGrantResponse);
                if let Some(id) = number(&answer["ok"]["ID"]).filter(|_| grant.id == 0) {
                    self.anchor.drawn.push(id);
                }
                answer
            }
            Step::Revoke(revoke) => {
                let revoke = LeaseRevokeRequest { id: self.anchor.lease(revoke.id) };
                ask!(self, wire::REVOKE, revoke, LeaseRevokeResponse)
            }
            Step::Left(left) => {
                let left = LeaseTimeToLiveRequest { id: self.anchor.lease(left.id), ..left };
                ask!(self, wire::LEFT, left, LeaseTimeToLiveResponse)
            }
            Step::Leases => ask!(self, wire::LEASES, LeaseLeasesRequest {}, LeaseLeasesResponse),
            Step::KeepAlive(ids) => self.keep_alive(&ids).await,
            Step::Watch(asks) => self.watch(asks).await,
            Step::Ask(ask) => self.ask_more(ask).await,
            Step::Settle => self.settle().await,
            Step::Queue { slot, place, waits } => {
                self.queues.queue(&self.server, self.way, slot, place, waits).await
            }
            Step::Turn { slot, .. } => self.queues.turn(slot).await,
            Step::Abandon(slot) => self.queues.abandon(&self.server, slot).await,
            Step::Unlock(unlock) => ask!(self, wire::UNLOCK, unlock, UnlockResponse),
            Step::Proclaim(mut proclaim) => {
                proclaim.leader = proclaim.leader.map(|leader| self.leader(leader));
                ask!(self, wire::PROCLAIM, proclaim, ProclaimResponse)
            }
            Step::Resign(mut resign) => {
                resign.leader = resign.leader.map(|leader| self.leader(leader));
                ask!(self, wire::RESIGN, resign, ResignResponse)
            }
            Step::Leader(leader) => ask!(self, wire::LEADER, leader, LeaderResponse),
            Step::Observe(leader) => self.queues.observe(&self.server, self.way, leader).await,
            Step::Observed => self.queues.observed().await,
        }
    }

    fn leader(&self, leader: LeaderKey) -> LeaderKey {
        let rev = match leader.rev {
            ANSWERED => self.queues.won(&leader.key).unwrap_or(ANSWERED),
            rev => self.anchor.revision(rev),
        };
        LeaderKey { rev, ..leader }
    }

    async fn keep_alive(&self, ids: &[i64]) -> Value {
        let asks: Vec<LeaseKeepAliveRequest> =
            ids.iter().map(|id| LeaseKeepAliveRequest { id: self.anchor.lease(*id) }).collect();
        let asks = futures::stream::iter(asks).boxed();
        let talk = self.server.talk::<_, LeaseKeepAliveResponse>(self.way, wire::KEEP_ALIVE, asks);
        let mut answers = talk.await;
        let mut told = Vec::new();
        loop {
            match answers.next(DEADLINE).await {
                Ok(answer) => told.push(shown(answer)),
                Err(end) => {
                    told.push(json!(end));
                    return told.into();
                }
            }
        }
    }
}

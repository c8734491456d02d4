//! Callers that wait for their turn, and those who look on.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::normal::number;
use crate::proto::{
    CampaignResponse, LeaderRequest, LeaderResponse, LockResponse, RangeRequest, RangeResponse,
};
use crate::script::Place;
use crate::wire::{self, Answer, Answers, Server, Way};

use super::{DEADLINE, shown};

/// Between two looks at whether a place is taken.
const LOOK: Duration = Duration::from_millis(2);

#[derive(Default)]
pub struct Queues {
    waiting: BTreeMap<usize, (Bytes, JoinHandle<Answer>)>,
    observer: Option<Answers>,
    /// The revisions with which campaigns were answered, by key.
    won: BTreeMap<String, i64>,
}

impl Queues {
    pub async fn queue(
        &mut self,
        server: &Server,
        way: Way,
        slot: usize,
        place: Place,
        waits: bool,
    ) -> Value {
        let (key, asked) = (place.key(), server.clone());
        let call = tokio::spawn(async move {
            match place {
                Place::Lock(lock) => asked.ask::<_, LockResponse>(way, wire::LOCK, lock).await,
                Place::Campaign(campaign) => {
                    asked.ask::<_, CampaignResponse>(way, wire::CAMPAIGN, campaign).await
                }
            }
        });
        if !waits {
            return self.answer(call).await;
        }
        let until = tokio::time::Instant::now() + DEADLINE;
        while !call.is_finished() {
            if holds(server, &key).await {
                self.waiting.insert(slot, (key, call));
                return json!("it waits");
            }
            if tokio::time::Instant::now() > until {
                call.abort();
                return json!("it takes no place");
            }
            tokio::time::sleep(LOOK).await;
        }
        self.answer(call).await
    }

    pub async fn turn(&mut self, slot: usize) -> Value {
        match self.waiting.remove(&slot) {
            Some((_, call)) => self.answer(call).await,
            None => json!("nobody waits"),
        }
    }

    async fn answer(&mut self, mut call: JoinHandle<Answer>) -> Value {
        let Ok(answer) = tokio::time::timeout(DEADLINE, &mut call).await else {
            call.abort();
            return json!("its turn does not come");
        };
        let answer = answer.unwrap();
        if let Ok(answer) = &answer
            && let (Some(key), Some(rev)) =
                (answer["leader"]["key"].as_str(), number(&answer["leader"]["rev"]))
        {
            self.won.insert(key.to_owned(), rev);
        }
        shown(answer)
    }

    /// The revision with which the last campaign of this key was answered.
    pub fn won(&self, key: &[u8]) -> Option<i64> {
        self.won.get(&STANDARD.encode(key)).copied()
    }

    pub async fn abandon(&mut self, server: &Server, slot: usize) -> Value {
        let Some((key, call)) = self.waiting.remove(&slot) else { return json!("nobody waits") };
        call.abort();
        let _ = call.await;
        let until = tokio::time::Instant::now() + DEADLINE;
        while holds(server, &key).await {
            if tokio::time::Instant::now() > until {
                return json!("it keeps its place");
            }
            tokio::time::sleep(LOOK).await;
        }
        json!("it leaves")
    }

    pub async fn observe(&mut self, server: &Server, way: Way, leader: LeaderRequest) -> Value {
        let asks = futures::stream::iter([leader]).boxed();
        // One is asked, many are answered; on the wire it is the same as a stream of one.
        let answers = server.talk::<_, LeaderResponse>(way, wire::OBSERVE, asks).await;
        self.observer = Some(answers);
        self.observed().await
    }

    pub async fn observed(&mut self) -> Value {
        let Some(observer) = &mut self.observer else { return json!("nobody observes") };
        match observer.next(DEADLINE).await {
            Ok(answer) => shown(answer),
            Err(why) => json!(why),
        }
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        self.waiting.values().for_each(|(_, call)| call.abort());
    }
}

async fn holds(server: &Server, key: &Bytes) -> bool {
    let ask = RangeRequest { key: key.clone(), count_only: true, ..Default::default() };
    let answer = server.ask::<_, RangeResponse>(Way::Grpc, wire::RANGE, ask).await;
    answer.is_ok_and(|answer| number(&answer["count"]) == Some(1))
}

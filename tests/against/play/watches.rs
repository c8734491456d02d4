//! Watches of a script: what each was told, whatever pieces it came in.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::channel::mpsc;
use serde_json::{Value, json};

use crate::normal::number;
use crate::proto::request_op::Request;
use crate::proto::watch_request::RequestUnion;
use crate::proto::{
    DeleteRangeRequest, PutRequest, PutResponse, RequestOp, TxnRequest, TxnResponse,
    WatchCreateRequest, WatchRequest, WatchResponse,
};
use crate::wire::{self, Answer, Answers, Way};

use super::{DEADLINE, Play};

/// For what should not come.
const SILENCE: Duration = Duration::from_millis(400);
const NOPUT: i32 = 0;
const NODELETE: i32 = 1;

#[derive(Default)]
pub struct Watches {
    streams: Vec<Stream>,
}

struct Stream {
    asks: Option<mpsc::UnboundedSender<WatchRequest>>,
    answers: Answers,
    /// What was asked for and whose answer has not come.
    creating: Vec<WatchCreateRequest>,
    compacted: i64,
    watchers: Vec<Watcher>,
    /// That the stream ended, and how.
    ended: Option<Value>,
}

struct Watcher {
    id: i64,
    asked: WatchCreateRequest,
    events: Vec<Value>,
    /// Of the last event.
    revision: i64,
    fragment: bool,
    /// It begins too early: the first that it is told is that it is over.
    doomed: bool,
    /// It gets no more events.
    over: bool,
}

impl Watches {
    /// What each watch was told, in the order of their creation.
    pub fn told(self) -> impl Iterator<Item = Value> {
        self.streams.into_iter().map(|stream| {
            let watchers = stream.watchers.into_iter();
            let watchers: Vec<Value> = watchers
                .map(|watcher| json!({ "watch": watcher.id, "events": watcher.events }))
                .collect();
            json!({ "watches": watchers, "ended": stream.ended })
        })
    }
}

fn creates(ask: &WatchRequest) -> Option<WatchCreateRequest> {
    match &ask.request_union {
        Some(RequestUnion::CreateRequest(create)) => Some(create.clone()),
        _ => None,
    }
}

impl Play {
    pub async fn watch(&mut self, asks: Vec<WatchRequest>) -> Value {
        let asks: Vec<WatchRequest> = asks.into_iter().map(|ask| self.anchor.watch(ask)).collect();
        let creating: Vec<_> = asks.iter().filter_map(creates).collect();
        let count = creating.len();
        let (sender, more) = mpsc::unbounded();
        let first = futures::stream::iter(asks);
        // Through the gateway nothing can follow what is asked for first.
        let (sender, asks) = match self.way {
            Way::Grpc => (Some(sender), first.chain(more).boxed()),
            Way::Json => (None, first.boxed()),
        };
        let answers = self.server.talk::<_, WatchResponse>(self.way, wire::WATCH, asks).await;
        let (watchers, ended) = (Vec::new(), None);
        let (asks, compacted) = (sender, self.compacted);
        let stream = Stream { asks, answers, creating, compacted, watchers, ended };
        self.watches.streams.push(stream);
        let stream = self.watches.streams.last_mut().unwrap();
        let mut told = Vec::new();
        for _ in 0..count {
            told.push(stream.control(DEADLINE).await);
        }
        told.into()
    }

    pub async fn ask_more(&mut self, ask: WatchRequest) -> Value {
        let ask = self.anchor.watch(ask);
        let Some(stream) = self.watches.streams.last_mut() else { return json!("no stream") };
        stream.compacted = self.compacted;
        let Some(asks) = &stream.asks else { return json!("the gateway takes no more") };
        let create = creates(&ask);
        let answered = match &ask.request_union {
            Some(RequestUnion::CancelRequest(cancel)) => stream.is_live(cancel.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => stream.watchers.iter().any(|one| !one.over),
            Some(RequestUnion::CreateRequest(_)) => true,
            None => false,
        };
        let live = stream.watchers.iter().filter(|one| !one.over).count();
        let progress = matches!(ask.request_union, Some(RequestUnion::ProgressRequest(_)));
        // With one among them that a compaction ended, etcd tells of no progress any more.
        if progress && stream.watchers.iter().any(|one| one.doomed) {
            return json!("not asked");
        }
        stream.creating.extend(create);
        let _ = asks.unbounded_send(ask);
        let told = stream.control(if answered { DEADLINE } else { SILENCE }).await;
        if progress { json!({ "live": live, "progress": told }) } else { told }
    }

    /// Has every watch see something new, and waits until it has.
    pub async fn settle(&mut self) -> Value {
        self.settled().await.err().unwrap_or_default()
    }

    async fn settled(&mut self) -> Answer<()> {
        // Of those that are over, too: when they end is not the same everywhere.
        let all = || self.watches.streams.iter().flat_map(|stream| &stream.watchers);
        let keys: BTreeSet<Bytes> = all().map(Watcher::key).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let start = all().map(|watcher| watcher.asked.start_revision).max().unwrap_or(0);
        let filler = PutRequest { key: "~".into(), ..Default::default() };
        let mut revision = 0;
        while revision + 1 < start {
            let put = self.server.ask::<_, PutResponse>(Way::Grpc, wire::PUT, filler.clone());
            revision = number(&put.await?["header"]["revision"]).unwrap();
        }
        let puts = keys
            .iter()
            .map(|key| Request::RequestPut(PutRequest { key: key.clone(), ..Default::default() }));
        let put = self.all(puts.collect()).await?;
        let deletes = keys.iter().map(|key| {
            Request::RequestDeleteRange(DeleteRangeRequest {
                key: key.clone(),
                ..Default::default()
            })
        });
        let deleted = self.all(deletes.collect()).await?;
        for stream in &mut self.watches.streams {
            stream.settle(put, deleted).await;
        }
        Ok(())
    }

    async fn all(&self, ops: Vec<Request>) -> Answer<i64> {
        let success = ops.into_iter().map(|op| RequestOp { request: Some(op) }).collect();
        let txn = TxnRequest { success, ..Default::default() };
        let done = self.server.ask::<_, TxnResponse>(Way::Grpc, wire::TXN, txn).await?;
        Ok(number(&done["header"]["revision"]).unwrap())
    }
}

impl Watcher {
    /// One that it sees.
    fn key(&self) -> Bytes {
        let key = &self.asked.key;
        if key.is_empty() { Bytes::from_static(b"\0") } else { key.clone() }
    }

    /// The last of a put and a deletion that it is told of.
    fn last(&self, put: i64, deleted: i64) -> i64 {
        let (no_put, no_delete) =
            (self.asked.filters.contains(&NOPUT), self.asked.filters.contains(&NODELETE));
        match (no_put, no_delete) {
            (true, true) => 0,
            (false, true) => put,
            _ => deleted,
        }
    }

    fn take(&mut self, answer: &Value) {
        let header = number(&answer["header"]["revision"]).unwrap_or(0);
        let events = answer["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (nth, event) in events.iter().enumerate() {
            let revision = number(&event["kv"]["mod_revision"]).unwrap_or(0);
            let split = nth == 0 && revision == self.revision && !self.fragment;
            if split || revision < self.revision || revision > header {
                self.events.push(json!({ "out of order": revision, "last": self.revision }));
            }
            self.revision = revision;
            self.events.push(event.clone());
        }
        self.fragment = answer["fragment"] == true;
    }
}

impl Stream {
    fn is_live(&self, id: i64) -> bool {
        self.watchers.iter().any(|watcher| watcher.id == id && !watcher.over)
    }

    /// The next answer that is not events; events are kept.
    async fn control(&mut self, deadline: Duration) -> Value {
        loop {
            match self.next(deadline).await {
                Some(control) if control.get("over").is_none() => return control,
                _ => {}
            }
        }
    }

    /// Takes one answer; what is not events is given back.
    async fn next(&mut self, deadline: Duration) -> Option<Value> {
        let answer = match self.answers.next(deadline).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(refused)) => {
                self.ended = Some(refused.clone());
                return Some(refused);
            }
            Err(why) => return Some(json!(why)),
        };
        let id = answer.get("watch_id").and_then(number).unwrap_or(0);
        if answer["created"] == true {
            let asked = if self.creating.is_empty() {
                return Some(json!({ "unasked": answer }));
            } else {
                self.creating.remove(0)
            };
            if answer["canceled"] != true {
                let doomed = asked.start_revision > 0 && asked.start_revision < self.compacted;
                let (events, revision, fragment, over) = (Vec::new(), 0, false, false);
                let watcher = Watcher { id, asked, events, revision, fragment, doomed, over };
                self.watchers.push(watcher);
            }
            return Some(answer);
        }
        let watcher = self.watchers.iter_mut().find(|watcher| watcher.id == id && !watcher.over);
        match watcher {
            Some(watcher) if answer["canceled"] == true => {
                watcher.over = true;
                if answer.get("compact_revision").is_none() {
                    return Some(answer);
                }
                // Comes by itself, in the middle of others.
                watcher.events.push(answer);
                Some(json!({ "over": id }))
            }
            Some(watcher) if answer.get("events").is_some() => {
                watcher.take(&answer);
                None
            }
            _ => Some(answer),
        }
    }

    async fn settle(&mut self, put: i64, deleted: i64) {
        let due = |stream: &Stream| {
            let mut live = stream.watchers.iter().filter(|watcher| !watcher.over);
            live.any(|watcher| watcher.doomed || watcher.revision < watcher.last(put, deleted))
        };
        while self.ended.is_none() && due(self) {
            if let Some(Value::String(why)) = self.next(DEADLINE).await {
                self.ended = Some(json!({ "missing events": why }));
            }
        }
    }
}

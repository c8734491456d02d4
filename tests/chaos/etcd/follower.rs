//! One watch of a prefix over as many streams as it takes: each goes on where the last one broke.

use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc;
use serde_json::Value;
use tokio::time::Instant;

use crate::ask::{decode, number};
use crate::history::{Event, Revision};
use crate::proto::watch_request::RequestUnion;
use crate::proto::{WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse};
use crate::wire::{self, Answers, Way};

use super::Caller;

/// How often it asks how far it is.
const PULSE: Duration = Duration::from_secs(1);
/// An agent that says nothing for so long is left.
const SILENCE: Duration = Duration::from_secs(3);
/// All have to have seen everything so long after the last write.
const CATCH_UP: Duration = Duration::from_secs(30);

/// What a watch is told.
pub enum Told {
    Events(Vec<Event>),
    /// It has everything up to this revision.
    Upto(Revision),
    /// It asked again, from this revision on.
    Resumed(Revision),
}

pub struct Follower {
    caller: Caller,
    way: Way,
    prefix: String,
    /// The first revision that it has not been told everything of.
    next: Revision,
    messages: u64,
    line: Option<Line>,
    began: bool,
    /// When it learned of the goal.
    hurried: Option<Instant>,
}

struct Line {
    /// Through the gateway nothing can follow what is asked for first.
    asks: Option<mpsc::UnboundedSender<WatchRequest>>,
    answers: Answers,
    /// When it last asked how far it is, and when it was told anything.
    asked: Instant,
    heard: Instant,
}

impl Follower {
    pub fn new(caller: Caller, way: Way, prefix: &str, from: Revision) -> Follower {
        let (prefix, hurried) = (prefix.to_owned(), None);
        Follower { caller, way, prefix, next: from, messages: 0, line: None, began: false, hurried }
    }

    /// What it is told next; none once it has seen everything up to the load's goal.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            if self.is_done() {
                return None;
            }
            let Some(line) = &mut self.line else {
                if let Some(told) = self.open().await {
                    return Some(told);
                }
                continue;
            };
            line.pulse();
            match line.answers.next(PULSE / 4).await {
                Ok(Ok(answer)) => {
                    if let Some(told) = self.take(&answer) {
                        return Some(told);
                    }
                }
                Err("silence") if line.heard.elapsed() < SILENCE => {}
                Ok(Err(_)) | Err(_) => self.leave().await,
            }
        }
    }

    fn is_done(&mut self) -> bool {
        let field = &self.caller.visitor.field;
        let Some(goal) = field.goal() else { return false };
        let since = self.hurried.get_or_insert_with(Instant::now);
        let late = since.elapsed() > CATCH_UP;
        if late {
            let Follower { next, prefix, .. } = self;
            field.complain(format!("a watch of {prefix} came to {next}, not to {goal}"));
        }
        late || self.next > goal
    }

    async fn open(&mut self) -> Option<Told> {
        let create = WatchCreateRequest {
            key: self.prefix.clone().into(),
            range_end: end_of(&self.prefix).into(),
            start_revision: i64::try_from(self.next).unwrap(),
            ..Default::default()
        };
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let first = futures::stream::iter([create]);
        let (asks, more) = mpsc::unbounded();
        let (asks, asked) = match self.way {
            Way::Grpc => (Some(asks), first.chain(more).boxed()),
            Way::Json => (None, first.boxed()),
        };
        let server = self.caller.server();
        let answers = server.talk::<_, WatchResponse>(self.way, wire::WATCH, asked).await;
        let now = Instant::now();
        self.line = Some(Line { asks, answers, asked: now, heard: now });
        // The first time it goes on from nowhere.
        let resumed = std::mem::replace(&mut self.began, true);
        resumed.then_some(Told::Resumed(self.next))
    }

    /// The stream broke: it goes to another agent, or tries the same one again.
    async fn leave(&mut self) {
        self.line = None;
        self.caller.visitor.pause().await;
        if rand::random_bool(0.5) {
            self.caller.visitor.move_on();
        }
    }

    fn take(&mut self, answer: &Value) -> Option<Told> {
        if let Some(line) = &mut self.line {
            line.heard = Instant::now();
        }
        if answer["canceled"] == true {
            let field = &self.caller.visitor.field;
            field.complain(format!("a watch of {} was ended: {answer}", self.prefix));
            self.line = None;
            return None;
        }
        if answer["created"] == true {
            return None;
        }
        let Some(events) = answer["events"].as_array().filter(|events| !events.is_empty()) else {
            let upto = number(&answer["header"]["revision"]);
            self.next = self.next.max(upto + 1);
            return Some(Told::Upto(upto));
        };
        let events: Vec<Event> = events.iter().map(|event| read(event, self.messages)).collect();
        self.messages += 1;
        self.next = events.iter().map(|event| event.revision + 1).max().max(Some(self.next))?;
        Some(Told::Events(events))
    }
}

impl Line {
    fn pulse(&mut self) {
        if let Some(asks) = self.asks.as_ref().filter(|_| self.asked.elapsed() >= PULSE) {
            let progress = RequestUnion::ProgressRequest(WatchProgressRequest {});
            // Where it has ended, that is what is heard next.
            let _ = asks.unbounded_send(WatchRequest { request_union: Some(progress) });
            self.asked = Instant::now();
        }
    }
}

/// The first key behind all that begin so.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("a prefix has a letter") += 1;
    end
}

fn read(event: &Value, message: u64) -> Event {
    let row = &event["kv"];
    let value = (event["type"] != "DELETE").then(|| decode(&row["value"]).unwrap_or_default());
    let key = decode(&row["key"]).unwrap_or_default();
    Event { revision: number(&row["mod_revision"]), key, value, message }
}

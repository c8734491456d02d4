//! `/v1/watch`: what it tells, how it goes on where it broke, who is told nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures::StreamExt as _;
use http::Request;
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use crate::access::AccountCommand;
use crate::model::limits;

use super::Api;
use super::access::change;
use super::acl::{SECRETS, enable, token};
use super::snapshots::save;

#[derive(Debug, Clone, PartialEq)]
struct Event {
    kind: String,
    id: String,
    data: Value,
}

struct Stream {
    body: BodyDataStream,
    text: String,
    ahead: VecDeque<Event>,
    beats: usize,
}

impl Stream {
    async fn open(api: &Api, query: &str, headers: &[(&str, &str)]) -> Stream {
        let mut request = Request::builder().uri(format!("/v1/watch?{query}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = api.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body = response.into_body().into_data_stream();
        Stream { body, text: String::new(), ahead: VecDeque::new(), beats: 0 }
    }

    async fn resume(api: &Api, query: &str, id: &str) -> Stream {
        Stream::open(api, query, &[("last-event-id", id)]).await
    }

    /// The next event; none: the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ahead.pop_front() {
                return Some(event);
            }
            let piece = self.body.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                self.ahead.extend(event(block));
                self.beats += usize::from(block.starts_with(':'));
                self.text = rest.to_owned();
            }
        }
    }

    /// The next event if there is one at this time.
    async fn now(&mut self) -> Option<Event> {
        timeout(Duration::from_millis(5), self.next()).await.ok().flatten()
    }

    async fn expect(&mut self) -> Event {
        self.now().await.expect("an event")
    }
}

fn event(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.map(str::to_owned)
    };
    let data = serde_json::from_str(&field("data")?).unwrap();
    Some(Event { kind: field("event")?, id: field("id").unwrap_or_default(), data })
}

async fn put(api: &Api, service: &str, status: &str) {
    let body = format!(
        r#"{{"Node":"a","Address":"10.0.0.1","Service":{{"Service":"{service}","Port":80}},
        "Check":{{"CheckID":"{service}","ServiceID":"{service}","Status":"{status}"}}}}"#
    );
    assert_eq!(api.put("/v1/catalog/register", body).await.status, 200);
}

fn status(event: &Event) -> &str {
    event.data["Rows"][0]["Checks"][0]["Status"].as_str().unwrap_or("none")
}

const ALL: &str = "service=web&key=a&prefix=conf/";

#[tokio::test(start_paused = true)]
async fn it_tells_what_there_is_then_each_change_of_what_was_asked() {
    let api = Api::new();
    put(&api, "web", "passing").await;
    api.put("/v1/kv/conf/1", "x").await;
    let mut stream = Stream::open(&api, ALL, &[]).await;
    let (web, key, prefix) = (stream.expect().await, stream.expect().await, stream.expect().await);
    assert_eq!((web.kind.as_str(), &web.data["Name"]), ("service", &"web".into()));
    assert_eq!(status(&web), "passing");
    assert_eq!((key.kind.as_str(), &key.data["Rows"]), ("key", &Value::Array(Vec::new())));
    assert_eq!(prefix.kind, "prefix");
    // The same rows as in the answer to who asks once.
    let asked = api.get("/v1/kv/conf/?recurse").await;
    assert_eq!(
        (&prefix.data["Rows"], &prefix.data["Index"]),
        (&asked.json(), &asked.index().into())
    );
    let asked = api.get("/v1/health/service/web").await;
    assert_eq!((&web.data["Rows"], &web.data["Index"]), (&asked.json(), &asked.index().into()));
    assert_eq!(stream.now().await, None);

    put(&api, "db", "passing").await;
    api.put("/v1/kv/other", "x").await;
    assert_eq!(stream.now().await, None, "nothing of what was asked has changed");
    put(&api, "web", "critical").await;
    assert_eq!(status(&stream.expect().await), "critical");
    api.put("/v1/kv/a", "1").await;
    assert_eq!(stream.expect().await.data["Rows"][0]["Value"], "MQ==");
    api.delete("/v1/kv/a").await;
    assert_eq!(stream.expect().await.data["Rows"], Value::Array(Vec::new()));
    api.delete("/v1/kv/conf/?recurse").await;
    assert_eq!(stream.expect().await.kind, "prefix");
    assert_eq!(stream.now().await, None);
}

#[tokio::test(start_paused = true)]
async fn who_reads_slowly_is_told_of_the_newest_state() {
    let api = Api::new();
    let mut stream = Stream::open(&api, ALL, &[]).await;
    for _ in 0..3 {
        stream.expect().await;
    }
    assert_eq!(stream.now().await, None);
    for nth in 0..200 {
        api.put("/v1/kv/a", nth.to_string()).await;
        put(&api, "web", if nth % 2 == 0 { "critical" } else { "passing" }).await;
    }
    let mut told = Vec::new();
    while let Some(event) = stream.now().await {
        told.push(event);
    }
    // One round may have begun before all was there.
    assert!(told.len() <= 4, "{} events", told.len());
    let last = |kind| told.iter().rfind(|event| event.kind == kind).unwrap();
    assert_eq!(last("key").data["Rows"][0]["Value"], "MTk5");
    assert_eq!(status(last("service")), "passing");
}

#[tokio::test(start_paused = true)]
async fn from_any_id_it_goes_on_without_a_loss() {
    let api = Api::new();
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    let mut id = String::new();
    let read = async |known: &mut BTreeMap<String, Value>, id: &mut String, most: usize| {
        let mut stream = Stream::resume(&api, ALL, id).await;
        let mut told = 0;
        while told < most
            && let Some(event) = stream.now().await
        {
            known.insert(event.kind.clone(), event.data["Rows"].clone());
            *id = event.id;
            told += 1;
        }
        told
    };
    for nth in 0..60_usize {
        match nth % 5 {
            0 => put(&api, "web", if nth % 2 == 0 { "critical" } else { "passing" }).await,
            1 => drop(api.put("/v1/kv/a", nth.to_string()).await),
            2 => drop(api.put(&format!("/v1/kv/conf/{}", nth % 3), nth.to_string()).await),
            3 => drop(api.delete("/v1/kv/a").await),
            _ => drop(api.put("/v1/catalog/deregister", r#"{"Node":"a"}"#).await),
        }
        // The connection breaks after so many events.
        read(&mut known, &mut id, nth % 4).await;
    }
    read(&mut known, &mut id, usize::MAX).await;
    let rows = async |path: &str| {
        let answered = api.get(path).await;
        if answered.status == 404 { Value::Array(Vec::new()) } else { answered.json() }
    };
    assert_eq!(known["service"], rows("/v1/health/service/web").await);
    assert_eq!(known["key"], rows("/v1/kv/a").await);
    assert_eq!(known["prefix"], rows("/v1/kv/conf/?recurse").await);
    // Who has heard all of it hears nothing again, in whichever way it says so.
    let stream = &mut Stream::resume(&api, "key=a&prefix=conf/", &id).await;
    assert_eq!(stream.now().await, None);
    let query = format!("prefix=conf/&index={id}");
    assert_eq!(Stream::open(&api, &query, &[]).await.now().await, None);
    api.put("/v1/kv/conf/1", "new").await;
    assert_eq!(stream.expect().await.kind, "prefix");
}

#[tokio::test(start_paused = true)]
async fn an_index_of_the_catalog_will_do_for_services() {
    let api = Api::new();
    put(&api, "web", "passing").await;
    let index = api.get("/v1/health/service/web").await.index();
    let query = format!("service=web&index={index}");
    let mut stream = Stream::open(&api, &query, &[]).await;
    assert_eq!(stream.now().await, None);
    put(&api, "web", "warning").await;
    assert_eq!(status(&stream.expect().await), "warning");
    let query = format!("service=web&index={}", index - 1);
    assert_eq!(status(&Stream::open(&api, &query, &[]).await.expect().await), "warning");
    // An id of another lineage says nothing about this one.
    let mut stream = Stream::resume(&api, "service=web", "999999-999999-fffff").await;
    assert_eq!(status(&stream.expect().await), "warning");
}

#[tokio::test]
async fn a_restore_is_told_and_what_was_before_is_no_place_to_go_on_from() {
    let soon = Duration::from_secs(10);
    let api = Api::new();
    put(&api, "web", "passing").await;
    api.put("/v1/kv/conf/1", "old").await;
    let saved = save(&api, "/v1/snapshot").await;
    put(&api, "web", "critical").await;
    api.put("/v1/kv/a", "x").await;
    api.delete("/v1/kv/conf/1").await;
    let mut stream = Stream::open(&api, ALL, &[]).await;
    let mut before = Vec::new();
    for _ in 0..3 {
        before.push(timeout(soon, stream.next()).await.expect("in time").expect("an event"));
    }
    assert_eq!(api.put("/v1/snapshot", saved).await.status, 200);
    let mut resumed = Stream::resume(&api, ALL, &before[2].id).await;
    for (whose, stream) in [("open", &mut stream), ("resumed", &mut resumed)] {
        let mut told = BTreeMap::new();
        for _ in 0..3 {
            let event = timeout(soon, stream.next()).await.expect(whose).expect("an event");
            told.insert(event.kind.clone(), event);
        }
        assert_eq!(status(&told["service"]), "passing", "{whose}");
        assert_eq!(told["key"].data["Rows"], Value::Array(Vec::new()), "{whose}");
        assert_eq!(told["prefix"].data["Rows"][0]["Key"], "conf/1", "{whose}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_says_that_it_is_alive_and_ends_when_it_was_to() {
    let api = Api::new();
    let mut stream = Stream::open(&api, "service=web&wait=40s", &[]).await;
    stream.expect().await;
    assert_eq!(stream.beats, 1);
    assert_eq!(api.metrics.encode().matches("remora_consul_streams 1\n").count(), 1);
    assert_eq!(stream.next().await, None);
    assert_eq!(stream.beats, 3);
    drop(stream);
    assert_eq!(api.metrics.encode().matches("remora_consul_streams 0\n").count(), 1);
    let mut stream = Stream::open(&api, "service=web", &[]).await;
    stream.expect().await;
    api.shutdown.begin();
    assert_eq!(stream.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_is_refused() {
    let api = Api::new();
    let many: String = (0..=limits::STREAM_SUBJECTS).map(|nth| format!("key={nth}&")).collect();
    for (query, says) in [
        ("", "Missing what to watch"),
        ("service=", "Missing service name"),
        ("key=", "Missing key name"),
        ("service=web&index=x", "Invalid index"),
        ("service=web&wait=x", "Invalid wait"),
        (many.as_str(), "at most"),
    ] {
        let answered = api.get(&format!("/v1/watch?{query}")).await;
        assert_eq!(answered.status, 400, "{query}: {answered:?}");
        assert!(answered.body.contains(says), "{query}: {answered:?}");
    }
    // What is named twice is one.
    let twice: String = (0..=limits::STREAM_SUBJECTS).map(|_| "key=a&").collect();
    let mut stream = Stream::open(&api, &twice, &[]).await;
    stream.expect().await;
    assert_eq!(stream.now().await, None);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_read_it_is_not_told() {
    let api = Api::with_presence().await;
    put(&api, "web", "passing").await;
    put(&api, "secret", "passing").await;
    api.put("/v1/kv/app/1", "1").await;
    api.put("/v1/kv/secret", "1").await;
    enable(&api).await;
    let rules = "key_prefix \"app/\" { policy = \"read\" } service \"web\" { policy = \"read\" } \
                 node_prefix \"\" { policy = \"read\" }";
    token(&api, SECRETS.weak, rules).await;
    let weak = [("x-consul-token", SECRETS.weak)];
    for query in ["key=secret", "service=web&key=secret", "key=app/1&key=secret"] {
        let answered = api.send_with("GET", &format!("/v1/watch?{query}"), &weak, "").await;
        assert_eq!(answered.status, 403, "{query}: {answered:?}");
    }
    let query = "service=web&service=secret&key=app/1&prefix=";
    let mut stream = Stream::open(&api, query, &weak).await;
    let mut rows = Vec::new();
    for _ in 0..4 {
        rows.push(stream.expect().await.data["Rows"].as_array().map(Vec::len).unwrap());
    }
    assert_eq!(rows, [1, 0, 1, 1], "of all keys those that it may read");
    // Nobody else's answer is its own.
    let master = [("x-consul-token", SECRETS.management)];
    let mut all = Stream::open(&api, query, &master).await;
    for expected in [1, 1, 1, 2] {
        let rows = all.expect().await.data["Rows"].as_array().map(Vec::len);
        assert_eq!(rows, Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn rights_that_are_withdrawn_end_it() {
    let api = Api::new();
    api.put("/v1/kv/a", "1").await;
    let mut stream = Stream::open(&api, "key=a", &[]).await;
    let mut quiet = Stream::open(&api, "key=a", &[]).await;
    stream.expect().await;
    quiet.expect().await;
    super::access::user(&api, "root", "root").await;
    change(&api, AccountCommand::Enable).await;
    let root = super::access::login(&api, "root").await;
    let root = [("x-consul-token", root.as_str())];
    assert_eq!(api.send_with("PUT", "/v1/kv/a", &root, "2").await.status, 200);
    let told = stream.expect().await;
    assert_eq!((told.kind.as_str(), &told.data["Status"]), ("refused", &403.into()));
    assert_eq!((told.id.as_str(), stream.next().await), ("", None));
    sleep(limits::STREAM_HEARTBEAT).await;
    assert_eq!(quiet.expect().await.kind, "refused");
    assert_eq!(quiet.next().await, None);
}

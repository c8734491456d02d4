//! Watches against a cluster of one: what each is told, and when.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::StreamExt as _;
use futures::{FutureExt as _, stream};
use tokio::sync::mpsc;

use crate::cluster::Asker;
use crate::cluster::Cluster;
use crate::etcd::counts::Counts;
use crate::etcd::error::{Code, Failure};
use crate::etcd::event::{Event, Events};
use crate::etcd::gate::Visit;
use crate::etcd::proto::watch_request::RequestUnion;
use crate::etcd::proto::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use crate::etcd::{Config, Front};
use crate::lifecycle::{Life, Shutdown};
use crate::model::{LeaseId, NodeName};
use crate::net::http::Requests;
use crate::state::{Command, DeleteRange, KeyEvent, KeyRange, KeyRow, PastEvent, Put, Txn, TxnOp};
use crate::telemetry::Metrics;

use super::{Answers, answers, cut};

struct Client {
    cluster: Cluster,
    counts: Counts,
    shutdown: Shutdown,
    asks: Option<mpsc::UnboundedSender<WatchRequest>>,
    answers: Answers,
}

impl Client {
    fn connect() -> Client {
        Client::of(Cluster::solo(NodeName::new("n1").unwrap()))
    }

    fn of(cluster: Cluster) -> Client {
        let (config, requests) = (Config::default(), Requests::new(&Metrics::default()));
        let (counts, life) = (Counts::default(), Life::default());
        let shutdown = life.shutdown.clone();
        let front = Front::new(config, cluster.clone(), requests, counts.clone(), life);
        let (asks, asked) = mpsc::unbounded_channel();
        let asked = stream::unfold(asked, |mut asked| async {
            asked.recv().await.map(|request| (Ok::<_, Failure>(request), asked))
        });
        let answers = answers(Visit { front, asker: Asker::nobody() }, asked.boxed());
        Client { cluster, counts, shutdown, asks: Some(asks), answers }
    }

    fn ask(&self, request: RequestUnion) {
        let request = WatchRequest { request_union: Some(request) };
        self.asks.as_ref().unwrap().send(request).unwrap();
    }

    fn create(&self, key: &'static str, request: WatchCreateRequest) {
        let key = Bytes::from(key);
        self.ask(RequestUnion::CreateRequest(WatchCreateRequest { key, ..request }));
    }

    async fn put(&self, key: &'static str, value: &'static str) {
        self.cluster.propose(Command::Put(put(key, value))).await.unwrap();
    }

    async fn delete(&self, key: &'static str) {
        let delete = DeleteRange { range: KeyRange::one(key.into()), prev_kv: false };
        self.cluster.propose(Command::DeleteRange(delete)).await.unwrap();
    }

    async fn next(&mut self) -> WatchResponse {
        self.answers.next().await.unwrap().unwrap()
    }

    /// The created answer of a watch.
    async fn created(&mut self, id: i64) {
        let created = self.next().await;
        assert_eq!((created.created, created.canceled, created.watch_id), (true, false, id));
    }

    /// What comes without anything else being done.
    fn quiet(&mut self) {
        assert!(self.answers.next().now_or_never().is_none());
    }
}

fn put(key: &'static str, value: &'static str) -> Put {
    Put {
        key: key.into(),
        value: value.into(),
        lease: LeaseId::NONE,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    }
}

fn from(start_revision: i64) -> WatchCreateRequest {
    WatchCreateRequest { start_revision, ..WatchCreateRequest::default() }
}

/// Key, revision and value of each event; of a deletion no value.
fn told(answer: &WatchResponse) -> Vec<(String, i64, Option<String>)> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let event = |event: &Event| {
        let kv = event.kv();
        (text(&kv.key), kv.mod_revision, event.is_put().then(|| text(&kv.value)))
    };
    answer.events.iter().map(event).collect()
}

fn of(key: &str, revision: i64, value: &str) -> (String, i64, Option<String>) {
    (key.to_owned(), revision, Some(value.to_owned()))
}

#[tokio::test]
async fn what_happens_is_told_once_in_order_and_whole() {
    let mut client = Client::connect();
    client.create("a", WatchCreateRequest { range_end: "b".into(), ..from(0) });
    client.created(0).await;
    client.put("a1", "x").await;
    client.put("c", "elsewhere").await;
    let both = vec![TxnOp::Put(put("a2", "y")), TxnOp::Put(put("a1", "z"))];
    client.cluster.propose(Command::Txn(Txn { success: both, ..Txn::default() })).await.unwrap();
    client.delete("a1").await;
    let first = client.next().await;
    assert_eq!((told(&first), first.header.unwrap().revision), (vec![of("a1", 2, "x")], 2));
    let txn = client.next().await;
    assert_eq!(told(&txn), [of("a2", 4, "y"), of("a1", 4, "z")]);
    assert_eq!(told(&client.next().await), [("a1".to_owned(), 5, None)]);
    client.quiet();
}

/// It would begin before the cluster's state comes, and take that for the end of its past.
#[tokio::test]
async fn no_watch_begins_with_an_agent_that_has_yet_to_be_let_in() {
    let mut client = Client::of(Cluster::outside(NodeName::new("n1").unwrap()));
    client.create("a", from(7));
    let refused = client.answers.next().await.unwrap().unwrap_err();
    assert_eq!(refused, Failure::new(Code::Unavailable, "etcdserver: no leader"));
    assert!(client.answers.next().await.is_none());
}

#[tokio::test]
async fn the_past_is_told_in_one_answer_and_what_comes_after_it() {
    let mut client = Client::connect();
    client.put("a", "1").await;
    client.put("b", "2").await;
    client.delete("a").await;
    let all = WatchCreateRequest { range_end: "\0".into(), prev_kv: true, ..from(2) };
    client.create("", all);
    client.created(0).await;
    let past = client.next().await;
    assert_eq!(told(&past), [of("a", 2, "1"), of("b", 3, "2"), ("a".to_owned(), 4, None)]);
    assert_eq!(past.header.unwrap().revision, 4);
    let before = |answer: &WatchResponse, nth: usize| {
        answer.events[nth].prev_kv().map(|row| (row.value.clone(), row.mod_revision))
    };
    assert_eq!((before(&past, 0), before(&past, 2)), (None, Some(("1".into(), 2))));
    client.put("b", "3").await;
    let now = client.next().await;
    assert_eq!((told(&now), before(&now, 0)), (vec![of("b", 5, "3")], Some(("2".into(), 3))));
}

#[tokio::test]
async fn a_future_revision_is_waited_for() {
    let mut client = Client::connect();
    client.create("a", from(4));
    client.created(0).await;
    for value in ["1", "2", "3"] {
        client.put("a", value).await;
    }
    assert_eq!(told(&client.next().await), [of("a", 4, "3")]);
}

#[tokio::test]
async fn filtered_events_are_not_told_and_neither_is_an_empty_answer() {
    let mut client = Client::connect();
    client.create("a", WatchCreateRequest { filters: vec![0], ..from(0) });
    client.create("a", WatchCreateRequest { filters: vec![1], ..from(0) });
    client.created(0).await;
    client.created(1).await;
    client.put("a", "1").await;
    let put = client.next().await;
    assert_eq!((put.watch_id, told(&put)), (1, vec![of("a", 2, "1")]));
    client.delete("a").await;
    let deleted = client.next().await;
    assert_eq!((deleted.watch_id, told(&deleted)), (0, vec![("a".to_owned(), 3, None)]));
    client.quiet();
}

#[tokio::test]
async fn ids_are_given_kept_apart_and_free_again() {
    let mut client = Client::connect();
    let wanting = |watch_id| WatchCreateRequest { watch_id, ..from(0) };
    client.create("a", wanting(1));
    client.created(1).await;
    client.create("a", wanting(0));
    client.created(0).await;
    client.create("a", wanting(0));
    client.created(2).await;
    client.create("a", wanting(1));
    let twice = client.next().await;
    assert_eq!((twice.created, twice.canceled, twice.watch_id), (true, true, -1));
    assert_eq!(twice.cancel_reason, "mvcc: duplicate watch ID provided on the WatchStream");
    client.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 1 }));
    let canceled = client.next().await;
    assert_eq!((canceled.canceled, canceled.watch_id, canceled.created), (true, 1, false));
    client.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 9 }));
    client.create("b", wanting(1));
    client.created(1).await;
    client.put("a", "1").await;
    let ids = [client.next().await.watch_id, client.next().await.watch_id];
    assert!(ids == [0, 2] || ids == [2, 0], "{ids:?}");
    client.quiet();
}

#[tokio::test]
async fn a_watch_that_cannot_be_is_canceled_as_it_is_created() {
    let mut client = Client::connect();
    client.create("b", WatchCreateRequest { range_end: "a".into(), ..from(0) });
    let empty = client.next().await;
    assert_eq!((empty.created, empty.canceled, empty.watch_id), (true, true, -1));
    assert_eq!(empty.cancel_reason, "mvcc: watcher range is empty");
    client.create("a", from(-1));
    let negative = client.next().await;
    let reason = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!((&*negative.cancel_reason, negative.compact_revision), (reason, 0));
}

#[tokio::test]
async fn only_a_compaction_past_its_place_ends_a_watch() {
    let mut client = Client::connect();
    for value in ["1", "2", "3"] {
        client.put("a", value).await;
    }
    client.delete("a").await;
    client.cluster.propose(Command::Compact(5)).await.unwrap();
    client.create("a", from(5));
    client.created(0).await;
    assert_eq!(told(&client.next().await), [("a".to_owned(), 5, None)], "a deletion, too");
    client.create("a", from(4));
    client.created(1).await;
    let ended = client.next().await;
    assert_eq!((ended.canceled, ended.watch_id, ended.compact_revision), (true, 1, 5));
    assert_eq!(ended.header.unwrap().revision, 0);
    client.put("a", "4").await;
    assert_eq!(client.next().await.watch_id, 0, "the other goes on");
    client.quiet();
}

#[tokio::test]
async fn progress_is_told_behind_everything_before_it() {
    let mut client = Client::connect();
    client.ask(RequestUnion::ProgressRequest(WatchProgressRequest {}));
    client.create("a", from(0));
    client.created(0).await;
    client.put("a", "1").await;
    client.put("b", "2").await;
    client.ask(RequestUnion::ProgressRequest(WatchProgressRequest {}));
    let mut seen = Vec::new();
    let progress = loop {
        let answer = client.next().await;
        if answer.watch_id == -1 {
            break answer;
        }
        seen.extend(told(&answer));
    };
    assert_eq!((seen, progress.header.unwrap().revision), (vec![of("a", 2, "1")], 3));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_that_asked_for_it_is_told_how_far_the_store_is() {
    let mut client = Client::connect();
    client.create("a", WatchCreateRequest { progress_notify: true, ..from(0) });
    client.created(0).await;
    client.put("b", "1").await;
    let quiet = client.next().await;
    assert_eq!((quiet.watch_id, quiet.events.len()), (0, 0));
    assert_eq!(quiet.header.unwrap().revision, 2);
}

#[tokio::test]
async fn a_client_that_asks_for_no_more_is_told_until_the_agent_stops() {
    let mut client = Client::connect();
    client.create("a", from(0));
    client.created(0).await;
    client.asks = None;
    client.put("a", "1").await;
    assert_eq!(told(&client.next().await), [of("a", 2, "1")]);
    client.shutdown.begin();
    let stopped = client.answers.next().await.unwrap().unwrap_err();
    assert_eq!(stopped.message, "etcdserver: server stopped");
    assert!(client.answers.next().await.is_none());
}

#[tokio::test]
async fn who_does_not_listen_holds_nothing_up_and_misses_nothing() {
    let mut client = Client::connect();
    client.create("a", from(0));
    client.created(0).await;
    for _ in 0..3000 {
        client.put("a", "x").await;
    }
    let mut next = 2;
    while next < 3002 {
        for (_, revision, _) in told(&client.next().await) {
            assert_eq!(revision, next);
            next += 1;
        }
    }
    client.quiet();
}

#[test]
fn a_long_answer_is_cut_between_events() {
    let event = |len: usize| {
        let value = Bytes::from(vec![0; len]);
        let (lease, flags) = (LeaseId::NONE, 0);
        let row = KeyRow { value, create: 2, modified: 2, version: 1, lease, flags, lock: None };
        let event = KeyEvent { key: "a".into(), row: Some(Arc::new(row)) };
        Events::default().of(&PastEvent { revision: 2, event, prev: None })
    };
    let lens = |pieces: Vec<Vec<Event>>| pieces.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lens(cut(vec![event(10), event(10), event(10)], 1000)), [3]);
    assert_eq!(lens(cut(vec![event(600), event(600), event(5)], 1000)), [1, 2]);
    assert_eq!(lens(cut(vec![event(2000), event(2000)], 1000)), [1, 1]);
}

/// Nothing waits for a client that does not read but each watch's place in the history: whatever
/// was written meanwhile comes in few answers, once, in order and whole.
#[tokio::test]
async fn many_watches_that_were_not_read_catch_up_in_few_answers() {
    const WATCHES: i64 = 1000;
    const WRITES: i64 = 300;
    let mut client = Client::connect();
    for id in 0..WATCHES {
        client.create("a", WatchCreateRequest { range_end: "b".into(), ..from(0) });
        client.created(id).await;
    }
    for _ in 0..WRITES {
        client.put("a1", "x").await;
    }
    let mut heard: Vec<Vec<i64>> = vec![Vec::new(); WATCHES as usize];
    let mut answers = 0;
    while heard.iter().any(|heard| heard.len() < WRITES as usize) {
        let answer = client.next().await;
        let watch = usize::try_from(answer.watch_id).unwrap();
        heard[watch].extend(answer.events.iter().map(|event| event.kv().mod_revision));
        answers += 1;
    }
    let all: Vec<i64> = (2..2 + WRITES).collect();
    assert!(heard.iter().all(|heard| *heard == all));
    assert!(answers <= 2 * WATCHES, "{answers} answers to {WATCHES} watches");
    client.quiet();
}

/// What the metrics say: streams, watches, and those whose client does not take its answers.
#[tokio::test]
async fn watches_are_counted_while_there_are_any() {
    let mut client = Client::connect();
    let counts = client.counts.clone();
    let now = || (counts.streams.get(), counts.watchers.get(), counts.slow.get());
    assert_eq!(now(), (0, 0, 0));
    for (id, key) in ["a", "b"].into_iter().enumerate() {
        client.create(key, WatchCreateRequest::default());
        client.created(id.try_into().unwrap()).await;
    }
    client.quiet();
    assert_eq!(now(), (1, 2, 0));
    // One answer is asked for, and more come than wait for the next.
    for _ in 0..10 {
        client.put("a", "v").await;
    }
    client.next().await;
    assert_eq!(now(), (1, 2, 2));
    for _ in 1..10 {
        client.next().await;
    }
    client.ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: 1 }));
    assert!(client.next().await.canceled);
    client.quiet();
    assert_eq!(now(), (1, 1, 0));
    drop(client);
    assert_eq!(now(), (0, 0, 0));
}

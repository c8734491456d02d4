//! What random scripts do not reach: long keys and values, full transactions, wide ranges, many
//! watches on one stream, clients that stop asking, calls that are not there.

use bytes::Bytes;
use futures::StreamExt as _;
use futures::channel::mpsc;
use remora::model::limits;
use serde_json::{Value, json};

use crate::etcd::Etcd;
use crate::house::{Agent, AgentSpec};
use crate::normal::{Normal, number};
use crate::proto::request_op::Request;
use crate::proto::watch_request::RequestUnion;
use crate::proto::{
    DeleteRangeRequest, DeleteRangeResponse, LeaseGrantRequest, LeaseGrantResponse,
    LeaseKeepAliveRequest, LeaseKeepAliveResponse, PutRequest, PutResponse, RangeRequest,
    RangeResponse, RequestOp, TxnRequest, TxnResponse, WatchCreateRequest, WatchRequest,
    WatchResponse,
};
use crate::wire::{self, Answer, Call, Server, Way};

const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

fn shown(answer: Answer) -> Value {
    answer.unwrap_or_else(|refused| json!({ "refused": refused }))
}

fn put(key: impl Into<Bytes>, len: usize) -> PutRequest {
    PutRequest { key: key.into(), value: vec![b'v'; len].into(), ..PutRequest::default() }
}

/// Around every limit of a request: etcd's of one, which moves by a few bytes with the server's id,
/// and gRPC's of a message. A key has its own limit with Remora.
async fn sizes(server: &Server) -> Vec<Value> {
    let mut told = Vec::new();
    for way in [Way::Grpc, Way::Json] {
        for len in [1_572_830, 1_572_850, 2_097_140, 2_097_152, 2_200_000, 3_000_000] {
            told.push(shown(server.ask::<_, PutResponse>(way, wire::PUT, put("k", len)).await));
        }
        for len in [1, 1 << 10, limits::KEY] {
            let key = vec![0xfe; len];
            let stored = server.ask::<_, PutResponse>(way, wire::PUT, put(key.clone(), 1)).await;
            told.push(shown(stored));
            let range = RangeRequest { key: key.into(), keys_only: true, ..Default::default() };
            let found = server.ask::<_, RangeResponse>(way, wire::RANGE, range).await;
            let found = found.map(|found| {
                json!({ "count": found["count"], "key": found["kvs"][0]["key"].as_str().map(str::len) })
            });
            told.push(shown(found));
        }
    }
    let (key, range_end) = (Bytes::from_static(b"\xfe"), Bytes::from_static(b"\0"));
    let all = DeleteRangeRequest { key, range_end, ..Default::default() };
    told.push(shown(server.ask::<_, DeleteRangeResponse>(Way::Grpc, wire::DELETE, all).await));
    told
}

/// As much as one transaction takes, and what a range of many keys looks like.
async fn many(server: &Server) -> Vec<Value> {
    let mut told = Vec::new();
    for round in 0..24 {
        let put = |nth| Request::RequestPut(put(format!("many/{round:03}/{nth:03}"), 100));
        let success = (0..128).map(|nth| RequestOp { request: Some(put(nth)) }).collect();
        let txn = TxnRequest { success, ..Default::default() };
        let done = server.ask::<_, TxnResponse>(Way::Grpc, wire::TXN, txn).await;
        told.push(shown(done));
    }
    let (key, range_end) = ("many/".into(), "many0".into());
    let all = RangeRequest { key, range_end, ..RangeRequest::default() };
    let sorted = RangeRequest { sort_target: 2, sort_order: 2, limit: 3, ..all.clone() };
    let page = RangeRequest { limit: 1000, keys_only: true, ..all.clone() };
    for way in [Way::Grpc, Way::Json] {
        for range in [&all, &page] {
            told.push(shown(server.ask::<_, RangeResponse>(way, wire::RANGE, range.clone()).await));
        }
        let few = server.ask::<_, RangeResponse>(way, wire::RANGE, sorted.clone()).await;
        // Which of those that are equal come first is not fixed.
        told.push(json!({ "more": shown(few)["more"] }));
    }
    told
}

fn create(key: String) -> WatchRequest {
    let create = WatchCreateRequest { key: key.into(), ..WatchCreateRequest::default() };
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
}

/// Three hundred watches on one stream, whose client then asks for nothing more.
async fn watches(server: &Server) -> Vec<Value> {
    const WATCHES: usize = 300;
    let (asks, asked) = mpsc::unbounded();
    let mut answers = server.talk::<_, WatchResponse>(Way::Grpc, wire::WATCH, asked.boxed()).await;
    for nth in 0..WATCHES {
        asks.unbounded_send(create(format!("watched/{}", nth % 3))).unwrap();
    }
    let mut told = Vec::new();
    for _ in 0..WATCHES {
        told.push(shown(answers.next(DEADLINE).await.unwrap()));
    }
    drop(asks);
    for nth in 0..3 {
        let put = put(format!("watched/{nth}"), 1);
        server.ask::<_, PutResponse>(Way::Json, wire::PUT, put).await.unwrap();
        let mut events = Vec::new();
        for _ in 0..WATCHES / 3 {
            events.push(shown(answers.next(DEADLINE).await.unwrap()));
        }
        // Between watches there is no order.
        events.sort_by_key(|event| event.get("watch_id").and_then(number));
        told.extend(events);
    }
    told
}

/// A stream that renews one lease again and again, and ends when its client asks no more.
async fn renewals(server: &Server) -> Vec<Value> {
    let grant = LeaseGrantRequest { ttl: 600, id: 5 };
    let granted = server.ask::<_, LeaseGrantResponse>(Way::Grpc, wire::GRANT, grant).await;
    let (asks, asked) = mpsc::unbounded();
    let talk = server.talk::<_, LeaseKeepAliveResponse>(Way::Grpc, wire::KEEP_ALIVE, asked.boxed());
    let mut answers = talk.await;
    let mut told = vec![shown(granted)];
    for nth in 0..50 {
        asks.unbounded_send(LeaseKeepAliveRequest { id: 5 + nth % 2 }).unwrap();
        told.push(shown(answers.next(DEADLINE).await.unwrap()));
    }
    drop(asks);
    told.push(json!(answers.next(DEADLINE).await.map(shown)));
    told
}

/// A call that no server has.
async fn unknown(server: &Server) -> Vec<Value> {
    let call = Call("/etcdserverpb.KV/Nothing", "");
    vec![shown(server.ask::<_, RangeResponse>(Way::Grpc, call, RangeRequest::default()).await)]
}

async fn all(server: &Server) -> Vec<Value> {
    let mut told = Vec::new();
    told.extend(sizes(server).await);
    told.extend(many(server).await);
    told.extend(watches(server).await);
    told.extend(renewals(server).await);
    told.extend(unknown(server).await);
    // Both servers are new, so that their revisions are the same.
    let mut normal = Normal { base: crate::script::ORIGIN, drawn: Vec::new() };
    told.iter_mut().for_each(|answer| normal.answer(answer));
    told
}

#[tokio::test]
async fn what_is_large_or_many_is_answered_alike() {
    let etcd = Etcd::start();
    let agent = Agent::start(AgentSpec::server("server"));
    let etcd = Server::at(&etcd.authority());
    let remora = Server::at(&agent.spec.place.http());
    let (theirs, ours) = tokio::join!(all(&etcd), all(&remora));
    assert_eq!(theirs.len(), ours.len());
    let short = |value: &Value| value.to_string().chars().take(400).collect::<String>();
    let pairs = theirs.iter().zip(&ours).enumerate().filter(|(_, (etcd, ours))| etcd != ours);
    let differ: Vec<String> = pairs
        .map(|(nth, (etcd, ours))| {
            format!("{nth}\n  etcd    {}\n  Remora  {}", short(etcd), short(ours))
        })
        .collect();
    assert!(differ.is_empty(), "\n{}", differ.join("\n"));
}

//! A server as its clients see it: etcd's own messages over gRPC or through the JSON gateway.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::channel::mpsc;
use futures::stream::BoxStream;
use http::Uri;
use http::uri::PathAndQuery;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::AbortHandle;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

/// What a client of etcd allows for an answer.
const MESSAGE: usize = 256 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Grpc,
    Json,
}

/// Where a call is found, either way.
#[derive(Debug, Clone, Copy)]
pub struct Call(pub &'static str, pub &'static str);

pub const RANGE: Call = Call("/etcdserverpb.KV/Range", "/v3/kv/range");
pub const PUT: Call = Call("/etcdserverpb.KV/Put", "/v3/kv/put");
pub const DELETE: Call = Call("/etcdserverpb.KV/DeleteRange", "/v3/kv/deleterange");
pub const TXN: Call = Call("/etcdserverpb.KV/Txn", "/v3/kv/txn");
pub const COMPACT: Call = Call("/etcdserverpb.KV/Compact", "/v3/kv/compaction");
pub const GRANT: Call = Call("/etcdserverpb.Lease/LeaseGrant", "/v3/lease/grant");
pub const REVOKE: Call = Call("/etcdserverpb.Lease/LeaseRevoke", "/v3/lease/revoke");
pub const LEFT: Call = Call("/etcdserverpb.Lease/LeaseTimeToLive", "/v3/lease/timetolive");
pub const LEASES: Call = Call("/etcdserverpb.Lease/LeaseLeases", "/v3/lease/leases");
pub const KEEP_ALIVE: Call = Call("/etcdserverpb.Lease/LeaseKeepAlive", "/v3/lease/keepalive");
pub const WATCH: Call = Call("/etcdserverpb.Watch/Watch", "/v3/watch");
pub const LOCK: Call = Call("/v3lockpb.Lock/Lock", "/v3/lock/lock");
pub const UNLOCK: Call = Call("/v3lockpb.Lock/Unlock", "/v3/lock/unlock");
pub const CAMPAIGN: Call = Call("/v3electionpb.Election/Campaign", "/v3/election/campaign");
pub const PROCLAIM: Call = Call("/v3electionpb.Election/Proclaim", "/v3/election/proclaim");
pub const LEADER: Call = Call("/v3electionpb.Election/Leader", "/v3/election/leader");
pub const OBSERVE: Call = Call("/v3electionpb.Election/Observe", "/v3/election/observe");
pub const RESIGN: Call = Call("/v3electionpb.Election/Resign", "/v3/election/resign");

/// A message, or `{"code", "message"}` and with JSON the HTTP status.
pub type Answer<A = Value> = Result<A, Value>;

#[derive(Clone)]
pub struct Server {
    pub origin: Uri,
    grpc: Client<HttpConnector, tonic::body::Body>,
    json: Client<HttpConnector, Full<Bytes>>,
}

/// What a server says on a stream; the call ends with it.
pub struct Answers {
    answers: mpsc::UnboundedReceiver<Answer>,
    call: AbortHandle,
}

impl Answers {
    /// The next one; `silence` if there is none in time, `end` after the last.
    pub async fn next(&mut self, deadline: Duration) -> Result<Answer, &'static str> {
        match tokio::time::timeout(deadline, self.answers.next()).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err("end"),
            Err(_) => Err("silence"),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.call.abort();
    }
}

impl Server {
    pub fn at(authority: &str) -> Server {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = || Client::builder(TokioExecutor::new());
        Server {
            origin: format!("http://{authority}").parse().unwrap(),
            grpc: client().http2_only(true).build(connector.clone()),
            json: client().build(connector),
        }
    }

    fn grpc(&self) -> Grpc<Client<HttpConnector, tonic::body::Body>> {
        let grpc = Grpc::with_origin(self.grpc.clone(), self.origin.clone());
        grpc.max_decoding_message_size(MESSAGE)
    }

    pub async fn ask<Q, A>(&self, way: Way, call: Call, ask: Q) -> Answer
    where
        Q: Message + Serialize + 'static,
        A: Message + Serialize + Default + 'static,
    {
        match way {
            Way::Grpc => {
                let mut grpc = self.grpc();
                grpc.ready().await.unwrap();
                let path = PathAndQuery::from_static(call.0);
                let codec = ProstCodec::<Q, A>::default();
                let answer = grpc.unary(tonic::Request::new(ask), path, codec).await;
                answer.map(|answer| value(answer.get_ref())).map_err(|status| refused(&status))
            }
            Way::Json => {
                let body = Bytes::from(serde_json::to_vec(&ask).unwrap());
                self.post(call, body).await
            }
        }
    }

    async fn send(&self, call: Call, body: Bytes) -> Result<http::Response<Incoming>, Value> {
        let request = http::Request::post(format!("{}{}", self.origin, &call.1[1..]));
        let request = request.header("content-type", "application/json").body(Full::new(body));
        self.json.request(request.unwrap()).await.map_err(broken)
    }

    /// One call through the gateway, whatever its body is.
    pub async fn post(&self, call: Call, body: Bytes) -> Answer {
        let answer = self.send(call, body).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.map_err(broken)?.to_bytes();
        told(status, &body)
    }

    /// A call with a stream on either side. Through the gateway all that is asked has to be there
    /// before the call begins.
    pub async fn talk<Q, A>(&self, way: Way, call: Call, mut asks: BoxStream<'static, Q>) -> Answers
    where
        Q: Message + Serialize + 'static,
        A: Message + Serialize + Default + 'static,
    {
        let (out, answers) = mpsc::unbounded();
        let server = self.clone();
        let work = match way {
            Way::Grpc => tokio::spawn(async move { server.stream::<Q, A>(call, asks, out).await }),
            Way::Json => {
                let mut body = Vec::new();
                while let Some(ask) = asks.next().await {
                    body.extend(serde_json::to_vec(&ask).unwrap());
                }
                tokio::spawn(async move { server.lines(call, body.into(), out).await })
            }
        };
        Answers { answers, call: work.abort_handle() }
    }

    async fn stream<Q, A>(
        self,
        call: Call,
        asks: BoxStream<'static, Q>,
        out: mpsc::UnboundedSender<Answer>,
    ) where
        Q: Message + 'static,
        A: Message + Serialize + Default + 'static,
    {
        let mut grpc = self.grpc();
        grpc.ready().await.unwrap();
        let path = PathAndQuery::from_static(call.0);
        let codec = ProstCodec::<Q, A>::default();
        let begun = grpc.streaming(tonic::Request::new(asks), path, codec).await;
        let mut answers = match begun {
            Ok(answers) => answers.into_inner(),
            Err(status) => return drop(out.unbounded_send(Err(refused(&status)))),
        };
        while let Some(answer) = answers.next().await {
            let answer = answer.map(|answer| value(&answer)).map_err(|status| refused(&status));
            if out.unbounded_send(answer).is_err() {
                return;
            }
        }
    }

    async fn lines(self, call: Call, body: Bytes, out: mpsc::UnboundedSender<Answer>) {
        let answer = match self.send(call, body).await {
            Ok(answer) => answer,
            Err(broken) => return drop(out.unbounded_send(Err(broken))),
        };
        let status = answer.status().as_u16();
        let mut body = answer.into_body();
        let mut rest = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            rest.extend(frame.into_data().unwrap_or_default());
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                let _ = out.unbounded_send(told(status, &line));
            }
        }
        if !rest.is_empty() {
            let _ = out.unbounded_send(told(status, &rest));
        }
    }
}

/// A message in the gateway's form, which leaves out what has its default.
fn value(message: &impl Serialize) -> Value {
    serde_json::to_value(message).unwrap()
}

/// No answer at all.
fn broken(error: impl std::error::Error) -> Value {
    json!({ "broken": format!("{error:?}") })
}

fn refused(status: &tonic::Status) -> Value {
    json!({ "code": status.code() as i32, "message": status.message() })
}

/// What the gateway said: a message, a line of a stream, or an error of either.
fn told(status: u16, body: &[u8]) -> Answer {
    let Ok(mut said) = serde_json::from_slice::<Value>(body) else {
        let text = String::from_utf8_lossy(body);
        return Err(json!({ "http": status, "text": text }));
    };
    if let Some(result) = said.get_mut("result") {
        return Ok(result.take());
    }
    let error = match said.get("error") {
        Some(error) if error.is_object() => error.clone(),
        _ if status != 200 => said,
        _ => return Ok(said),
    };
    let code = error.get("code").or_else(|| error.get("grpc_code"));
    Err(json!({ "http": status, "code": code, "message": error.get("message") }))
}

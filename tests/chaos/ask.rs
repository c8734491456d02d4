//! Requests to agents, and whether one that failed may have been carried out.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// How long clients wait for an answer, in milliseconds: some give up before an agent does that
/// has no leader, some hear what it has to say.
const PATIENCE: std::ops::Range<u64> = 200..3000;

pub struct Asker {
    client: Client<HttpConnector, Full<Bytes>>,
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    /// `X-Consul-Index`.
    pub index: Option<u64>,
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Trouble {
    #[error("nothing was sent: {0}")]
    NotSent(String),
    /// It was sent, or may have been.
    #[error("no answer: {0}")]
    Unknown(String),
}

impl Asker {
    pub fn new() -> Asker {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_millis(500)));
        let mut builder = Client::builder(TokioExecutor::new());
        // What is sent again in secret would be written twice.
        builder.retry_canceled_requests(false);
        Asker { client: builder.build(connector) }
    }

    pub async fn get(&self, authority: &str, path: &str) -> Result<Answer, Trouble> {
        self.send(Method::GET, authority, path, Bytes::new(), patience()).await
    }

    pub async fn put(
        &self,
        authority: &str,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Answer, Trouble> {
        self.send(Method::PUT, authority, path, body.into(), patience()).await
    }

    pub async fn post(&self, authority: &str, path: &str, body: &Value) -> Result<Answer, Trouble> {
        let body = body.to_string().into();
        self.send(Method::POST, authority, path, body, patience()).await
    }

    /// Asks, and waits as long as is said.
    pub async fn wait(
        &self,
        method: Method,
        authority: &str,
        path: &str,
        body: impl Into<Bytes>,
        patience: Duration,
    ) -> Result<Answer, Trouble> {
        self.send(method, authority, path, body.into(), patience).await
    }

    async fn send(
        &self,
        method: Method,
        authority: &str,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Answer, Trouble> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{authority}{path}"))
            .body(Full::new(body))
            .unwrap();
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| {
                let text = format!("{error:?}");
                if error.is_connect() { Trouble::NotSent(text) } else { Trouble::Unknown(text) }
            })?;
            let index = response.headers().get("X-Consul-Index");
            let index = index.and_then(|value| value.to_str().ok()?.parse().ok());
            let status = response.status();
            let body = response.into_body().collect().await;
            let body = body.map_err(|error| Trouble::Unknown(format!("{error:?}")))?.to_bytes();
            Ok(Answer { status, index, body })
        };
        match tokio::time::timeout(patience, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Trouble::Unknown(format!("{authority}{path}: {patience:?} passed"))),
        }
    }
}

fn patience() -> Duration {
    Duration::from_millis(rand::random_range(PATIENCE))
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The body, if the answer is a good one.
    pub fn good(&self) -> Result<Value, String> {
        if self.status == StatusCode::OK {
            Ok(self.json())
        } else {
            Err(format!("{}: {}", self.status, self.text()))
        }
    }
}

pub fn encode(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

pub fn decode(value: &Value) -> Option<String> {
    String::from_utf8(BASE64_STANDARD.decode(value.as_str()?).ok()?).ok()
}

/// etcd's 64-bit numbers are strings, and 0 is left out.
pub fn number(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.parse().unwrap_or_default(),
        other => other.as_u64().unwrap_or_default(),
    }
}

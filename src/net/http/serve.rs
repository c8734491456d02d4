//! The accept loop of an HTTP listener, from the first connection to the last one's end.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, ready};
use futures::{FutureExt as _, TryFutureExt as _};
use http::header::{CONNECTION, CONTENT_TYPE, EXPECT, HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::{Service, ServiceExt};

use crate::lifecycle::Life;
use crate::model::limits;
use crate::net::Connection;

use super::authority::stands_in;
use super::door::{Door, Visitor};
use super::hosts::{Asked, HostRules, Verdict as Origin};
use super::lent::{Lent, give, lend, take_in};
use super::names::ClientName;
use super::pulse::{Lasting, Patience, Pulse, Verdict, Watched};
use super::spoken::{Spoken, Told, tell};

/// How long to wait after a failed `accept`: the process is out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections; more wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take to send a request's headers; enforced within twice this time.
    pub header_timeout: Duration,
    /// How long a connection is kept without a request.
    pub idle_timeout: Duration,
    /// Bytes of a request's line and headers.
    pub header_bytes: usize,
    /// How long requests under way may take once the agent stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: limits::CONNECTIONS,
            header_timeout: limits::HTTP_HEADER_TIMEOUT,
            idle_timeout: limits::HTTP_IDLE,
            header_bytes: limits::HTTP_HEADERS,
            drain: limits::HTTP_DRAIN,
        }
    }
}

/// Serves until the agent stops, then lets requests under way end and returns. `service` is
/// anything that answers a request, an axum router for example; it is cloned for each.
pub async fn serve<S, B>(door: Door, service: S, rules: HostRules, limits: Limits, life: Life)
where
    S: Service<Request<Lent<Incoming>>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body + From<&'static str> + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (http1, http2) = (http1(&limits), http2(&limits));
    let house = Arc::new(House { http1, http2, rules, limits, life });
    let (life, limits) = (&house.life, &house.limits);
    let mut connections: JoinSet<()> = JoinSet::new();
    loop {
        let has_room = connections.len() < limits.connections;
        let visitor = tokio::select! {
            biased;
            () = life.shutdown.begun() => break,
            Some(ended) = connections.join_next() => {
                note_panic(ended);
                continue;
            }
            accepted = door.accept(), if has_room => match accepted {
                Ok(visitor) => visitor,
                Err(error) => {
                    survive(&error).await;
                    continue;
                }
            },
        };
        connections.spawn(receive(visitor, service.clone(), house.clone()));
    }
    drop(door);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, all).await.is_err() {
        tracing::warn!(left = connections.len(), "HTTP requests still under way were cut off");
    }
    connections.shutdown().await;
}

/// What all connections of a listener share.
struct House {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    rules: HostRules,
    limits: Limits,
    life: Life,
}

impl House {
    fn patience(&self) -> Patience {
        Patience { head: self.limits.header_timeout, idle: self.limits.idle_timeout }
    }
}

/// Agrees with the client on what is spoken, then speaks it.
async fn receive<S, B>(visitor: Visitor, service: S, house: Arc<House>)
where
    S: Service<Request<Lent<Incoming>>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body + From<&'static str> + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // On the heap by itself, so that its room is given back before the connection's long life.
    match house.life.shutdown.or(visitor.greet().boxed()).await {
        Some(Ok((stream, name))) => converse(stream, name, service, house).await,
        Some(Err(error)) => tracing::debug!(%error, "an HTTP client was not let in"),
        None => {}
    }
}

/// Serves one connection to its end.
async fn converse<S, B>(stream: Connection, name: Option<ClientName>, service: S, house: Arc<House>)
where
    S: Service<Request<Lent<Incoming>>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body + From<&'static str> + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let pulse = Pulse::new(Instant::now());
    let stream = Watched::new(stream, pulse.clone());
    let Some((spoken, stream)) = begin(stream, &pulse, &house).await else { return };
    let answer = {
        let (pulse, house) = (pulse.clone(), house.clone());
        service_fn(move |mut request: Request<Incoming>| {
            let turn = pulse.request();
            if let Some(name) = &name {
                request.extensions_mut().insert(name.clone());
            }
            let lasting = |body| Lasting { body, _turn: turn };
            answer(service.clone(), &house, request).map_ok(|answered| answered.map(lasting))
        })
    };
    let stream = TokioIo::new(stream);
    let ended = match spoken {
        Spoken::Http1 => {
            let connection = house.http1.serve_connection(stream, answer);
            attend(pin!(connection), &pulse, &house).await
        }
        // On the heap: it takes twice the room of the other.
        Spoken::Http2 => {
            pulse.multiplex();
            let mut connection = Box::pin(house.http2.serve_connection(stream, answer));
            attend(connection.as_mut(), &pulse, &house).await
        }
    };
    // How a connection ends is the client's affair: reset, timeout, garbage.
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}

/// Which version is spoken; none where the client says nothing in time, or the agent stops.
async fn begin(stream: Watched, pulse: &Pulse, house: &House) -> Option<(Spoken, Told<Watched>)> {
    let overdue = async {
        while let Verdict::Wait(until) = pulse.judge(Instant::now(), house.patience()) {
            tokio::time::sleep_until(until).await;
        }
    };
    tokio::select! {
        told = tell(stream) => {
            told.inspect_err(|error| tracing::debug!(%error, "an HTTP connection broke")).ok()
        }
        () = house.life.shutdown.begun() => None,
        () = overdue => None,
    }
}

/// Lets a connection go on until it ends, nobody has used it for long, or the agent stops.
async fn attend<C>(mut connection: Pin<&mut C>, pulse: &Pulse, house: &House) -> hyper::Result<()>
where
    C: GracefulConnection<Error = hyper::Error>,
{
    let patience = house.patience();
    let mut look = Instant::now();
    loop {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = house.life.shutdown.begun() => {
                connection.as_mut().graceful_shutdown();
                return connection.await;
            }
            () = tokio::time::sleep_until(look) => {}
        }
        match pulse.judge(Instant::now(), patience) {
            Verdict::Wait(until) => look = until,
            Verdict::HalfSent => return Ok(()),
            Verdict::Idle => {
                connection.as_mut().graceful_shutdown();
                // What the client does not close in this time is cut off.
                let closed = tokio::time::timeout(patience.head, connection).await;
                return closed.unwrap_or(Ok(()));
            }
        }
    }
}

fn http1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Hyper's clock for a head runs while nothing is asked, too; `pulse` tells the two apart.
        .header_read_timeout(None)
        .max_buf_size(limits.header_bytes)
        // Some clients look for `X-Consul-Index` as Consul spells it.
        .title_case_headers(true);
    builder
}

fn http2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_frame_size(limits::HTTP2_FRAME as u32)
        .max_concurrent_streams(1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(30));
    builder
}

/// The peer's fault is nobody's loss; the machine's fault is waited out.
async fn survive(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        return;
    }
    tracing::warn!(%error, "cannot accept an HTTP connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "an HTTP request has panicked");
    }
}

/// Answers a request once it has all come, even where nobody reads it; who asks first whether to
/// send it is told at once. No `async fn`: that would keep the request beside what answers it.
fn answer<S, B>(
    service: S,
    house: &House,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<B>, Infallible>> + use<S, B>
where
    S: Service<Request<Lent<Incoming>>, Response = Response<B>, Error = Infallible>,
    B: From<&'static str> + Send + 'static,
{
    let verdict = origin(&house.rules, &request);
    let (head, body) = request.into_parts();
    let asks_first = head.headers.contains_key(EXPECT);
    let (body, rest) = if asks_first { give(body) } else { lend(body) };
    let answering = match refusal(verdict) {
        None => Either::Left(service.oneshot(Request::from_parts(head, body))),
        Some(refused) => {
            drop(body);
            Either::Right(ready(Ok(refused)))
        }
    };
    answering.then(|answered| match rest.back() {
        None => Either::Left(ready(answered)),
        // Seldom, so it takes its room only then.
        Some(left) => Either::Right(take_in(left).map(|()| answered).boxed()),
    })
}

/// None: it is let in.
fn refusal<B: From<&'static str>>(verdict: Origin) -> Option<Response<B>> {
    let (status, text) = match verdict {
        Origin::Allowed => return None,
        Origin::NoHost => return Some(hostless()),
        Origin::Misdirected => (
            StatusCode::MISDIRECTED_REQUEST,
            "this listener answers to IP addresses, localhost and the names in http.hosts only",
        ),
        Origin::ForeignOrigin => (
            StatusCode::FORBIDDEN,
            "writes from pages of another origin are refused; http.cors lists those allowed",
        ),
    };
    let mut response = Response::new(B::from(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    Some(response)
}

/// As Go's servers put it, after which they hang up.
fn hostless<B: From<&'static str>>() -> Response<B> {
    let text = "400 Bad Request: missing required Host header";
    let mut response = Response::new(B::from(text));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let reason = ReasonPhrase::from_static(b"Bad Request: missing required Host header");
    response.extensions_mut().insert(reason);
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, plain);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn origin(rules: &HostRules, request: &Request<Incoming>) -> Origin {
    let header = |name| text(request.headers(), name);
    let authority = request.uri().authority().map(|authority| authority.as_str());
    // What no page can have sent is none to be afraid of.
    let authority = authority.filter(|authority| !stands_in(authority));
    rules.verdict(Asked {
        host: authority.or_else(|| header(HOST)),
        origin: header(ORIGIN),
        host_needed: request.version() == Version::HTTP_11,
        writes: !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS),
    })
}

/// The header's text; what is no text matches no rule.
fn text(headers: &HeaderMap, name: http::HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

//! The accept loop of an HTTP listener, from the first connection to the last one's end.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::{Service, ServiceExt};

use crate::lifecycle::Life;
use crate::model::limits;

use super::hosts::{Asked, HostRules, Verdict};

/// How long to wait after a failed `accept`: the process is out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections; more wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take to send a request's headers, and stay idle between two.
    pub header_timeout: Duration,
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
            header_bytes: limits::HTTP_HEADERS,
            drain: limits::HTTP_DRAIN,
        }
    }
}

/// Serves until the agent stops, then lets requests under way end and returns. `service` is
/// anything that answers a request, an axum router for example; it is cloned for each.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    rules: HostRules,
    limits: Limits,
    life: Life,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body + From<&'static str> + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let builder = Arc::new(builder(&limits));
    let rules = Arc::new(rules);
    let graceful = GracefulShutdown::new();
    let mut connections: JoinSet<()> = JoinSet::new();
    loop {
        let has_room = connections.len() < limits.connections;
        let stream = tokio::select! {
            biased;
            () = life.shutdown.begun() => break,
            Some(ended) = connections.join_next() => {
                note_panic(ended);
                continue;
            }
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    survive(&error).await;
                    continue;
                }
            },
        };
        ready(&stream);
        let (service, rules) = (service.clone(), rules.clone());
        let answer = service_fn(move |request| answer(service.clone(), rules.clone(), request));
        let builder = builder.clone();
        let watcher = graceful.watcher();
        connections.spawn(async move {
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), answer);
            // How a connection ends is the client's affair: reset, timeout, garbage.
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                tracing::debug!(%error, "an HTTP connection ended early");
            }
        });
    }
    drop(listener);
    let drained = tokio::time::timeout(limits.drain, graceful.shutdown()).await;
    if drained.is_err() {
        tracing::warn!(left = connections.len(), "HTTP requests still under way were cut off");
    }
    connections.shutdown().await;
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_bytes)
        // Some clients look for `X-Consul-Index` as Consul spells it.
        .title_case_headers(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(30));
    builder
}

fn ready(stream: &TcpStream) {
    // Answers are small and complete. Where it fails the peer is gone, which the first read says.
    let _ = stream.set_nodelay(true);
    let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(60));
    let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive);
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

async fn answer<S, B>(
    service: S,
    rules: Arc<HostRules>,
    request: Request<Incoming>,
) -> Result<Response<B>, Infallible>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: From<&'static str>,
{
    let refusal = match verdict(&rules, &request) {
        Verdict::Allowed => return service.oneshot(request).await,
        Verdict::NoHost => (StatusCode::BAD_REQUEST, "missing Host header"),
        Verdict::Misdirected => (
            StatusCode::MISDIRECTED_REQUEST,
            "this listener answers to IP addresses, localhost and the names in http.hosts only",
        ),
        Verdict::ForeignOrigin => (
            StatusCode::FORBIDDEN,
            "writes from pages of another origin are refused; http.cors lists those allowed",
        ),
    };
    let mut response = Response::new(B::from(refusal.1));
    *response.status_mut() = refusal.0;
    let text = http::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, text);
    Ok(response)
}

fn verdict(rules: &HostRules, request: &Request<Incoming>) -> Verdict {
    let header = |name| text(request.headers(), name);
    let authority = request.uri().authority().map(|authority| authority.as_str());
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

//! An HTTP upstream's connection: requests are forwarded in turn, each to an instance of its own.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Instant;

use http::{HeaderValue, Request, Response, StatusCode, header, request};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::lifecycle::Shutdown;
use crate::model::limits;

use super::activity::{Activity, Watched, drained};
use super::connect::Tried;
use super::failure::{Attempt, Failure};
use super::headers;
use super::lane::{Broken, Lane, Upload};
use super::relay::Download;
use super::retry::{self, Case, Stage};
use super::tunnel::Tunnel;
use super::upstream::{Picked, Upstream};

/// One client's connection.
struct Client {
    upstream: Arc<Upstream>,
    ip: IpAddr,
    activity: Arc<Activity>,
    /// Set by the request that changed the protocol, which is the last one.
    tunnel: Mutex<Option<Tunnel>>,
}

/// Serves one client until it goes, is idle for too long, or the agent stops.
pub(super) async fn serve(
    upstream: &Arc<Upstream>,
    stream: TcpStream,
    ip: IpAddr,
    shutdown: &Shutdown,
) {
    let activity = Activity::new();
    let client = Arc::new(Client {
        upstream: upstream.clone(),
        ip,
        activity: activity.clone(),
        tunnel: Mutex::new(None),
    });
    let serving = async {
        converse(client.clone(), stream, shutdown).await;
        let tunnel = client.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tunnel) = tunnel {
            tunnel.run().await;
        }
    };
    tokio::select! {
        () = serving => {}
        () = activity.expired(&upstream.config.timeouts) => {}
        () = drained(shutdown, upstream.config.timeouts.drain) => {}
    }
}

/// Requests and responses, one after the other.
async fn converse(client: Arc<Client>, stream: TcpStream, shutdown: &Shutdown) {
    let io = TokioIo::new(Watched::new(stream, client.activity.clone()));
    let service = service_fn(move |request| answer(client.clone(), request));
    let serving = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(limits::HTTP_HEADERS)
        .serve_connection(io, service)
        .with_upgrades();
    let mut serving = pin!(serving);
    tokio::select! {
        // What went wrong was between hyper and the client, which has seen it.
        _ = serving.as_mut() => return,
        () = shutdown.begun() => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = serving.await;
}

async fn answer(
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Result<Response<Download>, Infallible> {
    let upstream = &client.upstream;
    let response = match forward(&client, request).await {
        Ok(response) => response,
        Err(failure) => {
            tracing::debug!(service = %upstream.label, %failure, "a request was not forwarded");
            refusal(&failure, &upstream.label)
        }
    };
    upstream.meter.request(response.status());
    Ok(response)
}

fn refusal(failure: &Failure, service: &str) -> Response<Download> {
    let mut response = Response::new(Download::text(failure.text(service)));
    *response.status_mut() = failure.status();
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    if failure.is_the_clients() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn forward(
    client: &Arc<Client>,
    mut request: Request<Incoming>,
) -> Result<Response<Download>, Failure> {
    let serving = client.activity.serve();
    let changes = headers::upgrade(request.headers()).is_some();
    let upgrade = changes.then(|| hyper::upgrade::on(&mut request));
    let (mut head, body) = request.into_parts();
    headers::request(&mut head, client.ip, &client.upstream.config.service)?;
    let body = if body.is_end_stream() { Upload::Empty } else { Upload::Client(body) };

    let upstream = &client.upstream;
    let (response, lane, picked) = exchange(client, head, body).await?;
    let (mut head, body) = response.into_parts();
    headers::response(&mut head);
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let Some(upgrade) = upgrade else {
            let reason = "it changed the protocol unasked".to_owned();
            return Err(Failure::BrokeOff(Attempt { address: picked.target.address(), reason }));
        };
        let tunnel = Tunnel { client: upgrade, lane, picked, serving };
        *client.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
        return Ok(Response::from_parts(head, Download::Text(None)));
    }
    let mut body = Download::instance(body, lane, picked, upstream.clone(), serving);
    poll_fn(|cx| {
        body.settle(cx);
        Poll::Ready(())
    })
    .await;
    Ok(Response::from_parts(head, body))
}

/// Finds an instance and has the request answered: over a connection that waits, or a new one.
async fn exchange(
    client: &Client,
    head: request::Parts,
    body: Upload,
) -> Result<(Response<Incoming>, Lane, Picked), Failure> {
    let upstream = &client.upstream;
    let repeatable = retry::repeatable(&head.method, matches!(body, Upload::Empty));
    let mut tried = Tried::default();
    let mut again = false;
    let mut request = Request::from_parts(head, body);
    loop {
        let (lane, picked) = lane(upstream, &mut tried, again).await?;
        let reused = lane.reused;
        let copy = (reused && repeatable && !again).then(|| copy(&request));
        let begun = Instant::now();
        let given_up = client.activity.quiet(upstream.config.timeouts.response);
        let mut broken = match lane.send(request, given_up).await {
            Ok((response, lane)) => {
                picked.target.load.observe(upstream.now(), begun.elapsed());
                return Ok((response, lane, picked));
            }
            Err(broken) => broken,
        };
        let case = Case { stage: broken.stage, again, repeatable, reused };
        let next = if retry::once_more(case) { broken.unsent.take().or(copy) } else { None };
        let Some(next) = next else { return Err(give_up(upstream, &picked, broken)) };
        // What waited there for longer is no better.
        picked.target.pool.clear();
        request = next;
        again = true;
    }
}

/// A connection to an instance: a waiting one unless a new one is asked for.
async fn lane(
    upstream: &Upstream,
    tried: &mut Tried,
    fresh: bool,
) -> Result<(Lane, Picked), Failure> {
    loop {
        let picked = tried.next(upstream)?;
        let pool = &picked.target.pool;
        if !fresh && let Some(lane) = poll_fn(|cx| Poll::Ready(pool.take(cx))).await {
            return Ok((lane, picked));
        }
        if let Some(stream) = tried.connect(upstream, &picked).await {
            let lane = Lane::open(stream).await.map_err(|error| {
                let reason = error.to_string();
                Failure::BrokeOff(Attempt { address: picked.target.address(), reason })
            })?;
            return Ok((lane, picked));
        }
    }
}

/// A request without a body, once more.
fn copy(request: &Request<Upload>) -> Request<Upload> {
    let mut copy = Request::new(Upload::Empty);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy
}

fn give_up(upstream: &Upstream, picked: &Picked, broken: Broken) -> Failure {
    picked.target.load.observe_failure(upstream.now());
    let address = picked.target.address();
    match broken.stage {
        Stage::Slow => Failure::Slow { address, after: upstream.config.timeouts.response },
        Stage::Unsent | Stage::Sent { .. } => {
            Failure::BrokeOff(Attempt { address, reason: broken.reason })
        }
    }
}

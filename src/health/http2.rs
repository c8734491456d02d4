//! Probes over HTTP/2: a PING, and the health service of gRPC.

use std::future::Future;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::{self, Connection, SendRequest};
use h2::{Ping, RecvStream};
use http::{HeaderMap, Request, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::model::{Health, TlsTarget};

use super::connect::{self, Tls};

const ALPN: &[&[u8]] = &[b"h2"];
/// An answer of `grpc.health.v1` has a few bytes.
const ANSWER: usize = 1024;
/// `SERVING` of its `ServingStatus`.
const SERVING: u64 = 1;
/// The names of gRPC's codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Io = Box<dyn Stream>;

async fn open(tls: &Tls, address: &str, with: Option<&TlsTarget>) -> Result<Io, String> {
    Ok(match with {
        None => Box::new(connect::tcp(address).await?) as Box<TcpStream>,
        Some(with) => return Ok(Box::new(tls.connect(address, with, ALPN).await?)),
    })
}

async fn greet(io: Io) -> Result<(SendRequest<Bytes>, Connection<Io>), String> {
    client::handshake(io).await.map_err(|error| format!("http2: {error}"))
}

/// Drives the connection for as long as something is exchanged over it.
async fn over<T>(connection: Connection<Io>, exchange: impl Future<Output = T>) -> T {
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        done = &mut exchange => done,
        // The exchange learns of its end, too, and says it better.
        _ = connection => exchange.await,
    }
}

pub(super) async fn ping(tls: &Tls, address: &str, with: Option<&TlsTarget>) -> Result<(), String> {
    let (_client, mut connection) = greet(open(tls, address, with).await?).await?;
    let mut pinger = connection.ping_pong().ok_or("http2: the connection takes no ping")?;
    let pong = over(connection, pinger.ping(Ping::opaque())).await;
    pong.map(drop).map_err(|error| format!("http2: {error}"))
}

pub(super) async fn grpc(
    tls: &Tls,
    address: &str,
    service: &str,
    with: Option<&TlsTarget>,
) -> Result<(Health, String), String> {
    let unavailable = |why: String| {
        format!(
            "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error \
             while dialing {why}\""
        )
    };
    let io = open(tls, address, with).await.map_err(unavailable)?;
    let (mut client, connection) = greet(io).await.map_err(unavailable)?;
    let scheme = if with.is_some() { "https" } else { "http" };
    let asked = Request::post(format!("{scheme}://{address}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "Consul Health Check")
        .body(())
        .map_err(|error| unavailable(error.to_string()))?;
    let broken = |error: h2::Error| format!("rpc error: code = Unavailable desc = {error}");
    let exchange = async {
        let (answer, mut body) = client.send_request(asked, false).map_err(broken)?;
        body.send_data(question(service), true).map_err(broken)?;
        let (head, body) = answer.await.map_err(broken)?.into_parts();
        refused(&head.headers)?;
        let (message, trailers) = whole(body).await.map_err(broken)?;
        refused(&trailers)?;
        Ok::<_, String>(message)
    };
    let message = over(connection, exchange).await?;
    match status(&message) {
        SERVING => Ok((Health::Passing, format!("gRPC check {address}: success"))),
        _ => Err("gRPC application didn't report service healthy".to_owned()),
    }
}

/// What a status other than OK says, in the headers or behind the body.
fn refused(headers: &HeaderMap) -> Result<(), String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(status) = text("grpc-status") else { return Ok(()) };
    if status == "0" {
        return Ok(());
    }
    let code = status.parse::<usize>().ok().and_then(|code| CODES.get(code));
    let why = text("grpc-message").unwrap_or_default();
    Err(format!("rpc error: code = {} desc = {why}", code.unwrap_or(&"Unknown")))
}

/// The framed `HealthCheckRequest`: one string, the service.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8((length % 0x80) as u8 | 0x80);
            length /= 0x80;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put(message);
    framed.freeze()
}

async fn whole(mut body: RecvStream) -> Result<(Vec<u8>, HeaderMap), h2::Error> {
    let mut message = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        let room = ANSWER.saturating_sub(message.len());
        message.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
    }
    Ok((message, body.trailers().await?.unwrap_or_default()))
}

/// The status in a framed `HealthCheckResponse`: field 1, a small number. 0, UNKNOWN, where
/// there is none.
fn status(framed: &[u8]) -> u64 {
    match framed.get(5..) {
        Some([0x08, status, ..]) => u64::from(*status),
        _ => 0,
    }
}

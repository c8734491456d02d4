//! The accept loop on a real socket: versions, limits, refusals and the drain at the end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::lifecycle::Life;
use crate::model::limits;
use crate::net::bind_tcp;

use super::{ClientName, Door, HostRules, Limits, serve};

mod secure;

const PATIENCE: Duration = Duration::from_secs(10);

/// Answers every path with itself, and reads no body; `/slow` takes a while, `/who` is the client.
async fn echo<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/slow" {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    if request.uri().path() == "/who" {
        let name = request.extensions().get::<ClientName>();
        let name = name.map_or_else(|| "nobody".to_owned(), |name| name.0.to_string());
        return Ok(Response::new(Full::from(name)));
    }
    Ok(Response::new(Full::from(request.uri().path().to_owned())))
}

async fn serving(limits: Limits) -> (SocketAddr, Life) {
    open(Door::Plain, limits).await
}

async fn open(door: impl FnOnce(TcpListener) -> Door, limits: Limits) -> (SocketAddr, Life) {
    let listener = bind_tcp("http.listen", ([127, 0, 0, 1], 0).into()).expect("a port");
    let addr = listener.local_addr().expect("an address");
    let life = Life::default();
    let rules = HostRules::new(addr, &[], &[]);
    let serving = serve(door(listener), tower::service_fn(echo), rules, limits, life.clone());
    life.tasks.spawn("http", serving);
    (addr, life)
}

/// Everything that comes back until the server closes.
async fn talk(addr: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    stream.write_all(bytes.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("closed in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn old_and_new_clients_are_answered_and_strangers_refused() {
    let (addr, _life) = serving(Limits::default()).await;
    let cases = [
        ("GET /a HTTP/1.0\r\n\r\n", "HTTP/1.0 200", "/a"),
        ("GET /b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "HTTP/1.1 200", "/b"),
        ("GET /c HTTP/1.1\r\nConnection: close\r\n\r\n", "HTTP/1.1 400", "missing required Host"),
        (
            "GET /d HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 421",
            "http.hosts",
        ),
        (
            "PUT /e HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n\
             Connection: close\r\n\r\n",
            "HTTP/1.1 403",
            "origin",
        ),
    ];
    for (request, status, text) in cases {
        let answer = talk(addr, request).await;
        assert!(answer.starts_with(status) && answer.contains(text), "{request}: {answer}");
    }
}

#[tokio::test]
async fn who_is_answered_without_the_body_may_send_it_and_go_on() {
    let (addr, _life) = serving(Limits::default()).await;
    let answer = async |stream: &mut TcpStream| {
        let mut answer = [0; 1024];
        let read = timeout(PATIENCE, stream.read(&mut answer)).await.expect("answered");
        String::from_utf8_lossy(&answer[..read.expect("read")]).into_owned()
    };
    let foreign = "Origin: http://evil.example\r\n";
    for (header, status) in [(foreign, "HTTP/1.1 403"), ("", "HTTP/1.1 200")] {
        let mut stream = TcpStream::connect(addr).await.expect("a connection");
        let head = format!("PUT /a HTTP/1.1\r\nHost: localhost\r\n{header}");
        let whole = format!("{head}Content-Length: 4\r\n\r\n");
        stream.write_all(whole.as_bytes()).await.expect("sent");
        // The head has been read once nothing of it waits any more; the body comes later.
        tokio::time::sleep(limits::REFUSED_BODY / 25).await;
        stream.write_all(b"body").await.expect("sent");
        let told = answer(&mut stream).await;
        assert!(told.starts_with(status), "{told}");
        assert!(!told.to_lowercase().contains("connection: close"), "{told}");
        stream.write_all(b"GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
        assert!(answer(&mut stream).await.ends_with("/next"));

        // Who never sends it is told as well, and so is who asks first.
        for more in ["", "Expect: 100-continue\r\n"] {
            let told = talk(addr, &format!("{head}{more}Content-Length: 4\r\n\r\n")).await;
            assert!(told.starts_with(status), "{told}");
        }
    }
}

#[tokio::test]
async fn half_a_request_and_too_long_a_one_end() {
    let limits = Limits {
        header_timeout: Duration::from_millis(100),
        header_bytes: 8192,
        ..Limits::default()
    };
    let (addr, _life) = serving(limits).await;
    let half = talk(addr, "GET / HTTP/1.1\r\nHost: loc").await;
    assert!(!half.contains("200"), "{half}");
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert!(talk(addr, &long).await.starts_with("HTTP/1.1 431"));
    assert!(!talk(addr, "\0\0garbage\r\n\r\n").await.contains("200"));
}

#[tokio::test]
async fn a_connection_may_be_idle_longer_than_a_head_may_take() {
    let head = Duration::from_millis(100);
    let limits = Limits {
        header_timeout: head,
        idle_timeout: Duration::from_millis(1500),
        ..Limits::default()
    };
    let (addr, _life) = serving(limits).await;
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    for path in ["/one", "/two"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = [0; 1024];
        let read = timeout(PATIENCE, stream.read(&mut answer)).await.expect("answered");
        let answer = String::from_utf8_lossy(&answer[..read.expect("read")]).into_owned();
        assert!(answer.ends_with(path), "{path}: {answer:?}");
        tokio::time::sleep(head * 5).await;
    }
    // The head of the next request is begun on the same connection, and never ended.
    stream.write_all(b"GET /three HTTP/1.1\r\n").await.expect("sent");
    let begun = std::time::Instant::now();
    let end = timeout(PATIENCE, stream.read(&mut [0; 64])).await.expect("closed in time");
    assert_eq!(end.unwrap_or(0), 0);
    assert!(begun.elapsed() < Duration::from_millis(900), "not by the idle limit");

    let mut idle = TcpStream::connect(addr).await.expect("a connection");
    idle.write_all(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    let mut all = Vec::new();
    let ended = timeout(PATIENCE, idle.read_to_end(&mut all)).await.expect("closed in time");
    assert!(ended.is_ok() && all.ends_with(b"/a"), "in peace: {ended:?}");
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let (addr, _life) = serving(Limits { connections: 1, ..Limits::default() }).await;
    let mut first = TcpStream::connect(addr).await.expect("a connection");
    first.write_all(b"GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    let mut some = [0; 64];
    let read = timeout(PATIENCE, first.read(&mut some)).await.expect("answered");
    assert!(read.expect("read") > 0);
    let second = tokio::spawn(talk(addr, "GET /2 HTTP/1.0\r\n\r\n"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!second.is_finished());
    drop(first);
    assert!(second.await.expect("no panic").ends_with("/2"));
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_end() {
    let (addr, life) = serving(Limits::default()).await;
    let slow = tokio::spawn(talk(addr, "GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    life.shutdown.begin();
    assert!(slow.await.expect("no panic").ends_with("/slow"));
    assert!(life.tasks.join(PATIENCE).await);
    assert!(TcpStream::connect(addr).await.is_err());
}

/// An HTTP/2 client that asks twice, the second time for the authority of the first one, which the
/// server has in its table.
async fn ask_twice(addr: SocketAddr, authority: &str) -> Vec<u8> {
    let literal = [&[0x41, u8::try_from(authority.len()).unwrap()], authority.as_bytes()].concat();
    let request = |stream: u8, authority: &[u8]| {
        let block = [b"\x82\x86\x84", authority].concat();
        let len = u8::try_from(block.len()).unwrap();
        [&[0, 0, len, 1, 5, 0, 0, 0, stream], &block[..]].concat()
    };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut stream = TcpStream::connect(addr).await.expect("a connection");
    for bytes in [preface, &request(1, &literal)[..], &request(3, b"\xbe")] {
        stream.write_all(bytes).await.expect("sent");
    }
    // What is answered to each: the first byte of its first header, or why it was reset.
    let mut said = Vec::new();
    while said.len() < 2 {
        let mut head = [0; 9];
        timeout(PATIENCE, stream.read_exact(&mut head)).await.expect("answered").expect("read");
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).await.expect("a frame");
        match head[3] {
            1 => said.push(payload[0]),
            3 => said.push(payload[3]),
            _ => {}
        }
    }
    said
}

#[tokio::test]
async fn an_authority_that_only_go_takes_is_taken() {
    const OK: u8 = 0x88;
    let (addr, _life) = serving(Limits::default()).await;
    for authority in ["localhost:1", "http://127.0.0.1:2379", "#initially=[127.0.0.1:1;b:2]"] {
        assert_eq!(ask_twice(addr, authority).await, [OK, OK], "{authority}");
    }
    // 421, which is spelled out; and what is too short to stand in for.
    let foreign = ask_twice(addr, "evil.example").await;
    assert!(foreign.iter().all(|byte| *byte != OK), "{foreign:?}");
    let protocol_error = 1;
    assert_eq!(ask_twice(addr, "/x").await, [protocol_error; 2]);
}

//! Agents call and stream over loopback; strangers knock.

mod papers;
mod securing;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{CallError, Guard, Handler, Links, Purpose, Pushes, Refused, Service, serve};
use papers::{Authority, Papers};

use crate::lifecycle::{Shutdown, Tasks};
use crate::model::Role;
use crate::net::{Fabric, Tcp};

/// One authority for all agents of these tests.
static AUTHORITY: LazyLock<Arc<Authority>> = LazyLock::new(Authority::new);

const SOON: Duration = Duration::from_secs(5);

struct Server {
    addr: SocketAddr,
    tasks: Tasks,
    shutdown: Shutdown,
}

impl Server {
    fn start(at: &str, service: Service) -> Server {
        let listener = Tcp.listen("test", at.parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let (tasks, shutdown) = (Tasks::default(), Shutdown::default());
        let services = BTreeMap::from([(Purpose::Door, service)]);
        let guard = Guard::new(Papers::of(&AUTHORITY, 1, Role::Server));
        serve(listener, &guard, services, &tasks, &shutdown);
        Server { addr, tasks, shutdown }
    }

    async fn stop(&self) {
        self.shutdown.begin();
        assert!(self.tasks.join(SOON).await, "all tasks end");
    }
}

fn calls(
    handler: impl Fn(Bytes) -> futures::future::BoxFuture<'static, Result<Bytes, Refused>>
    + Send
    + Sync
    + 'static,
) -> Service {
    let handler: Handler = Arc::new(move |_, body| handler(body));
    Service::Calls(handler)
}

fn echo() -> Service {
    calls(|body| async move { Ok(body) }.boxed())
}

fn links() -> Links {
    links_of(&Papers::of(&AUTHORITY, 2, Role::Server))
}

fn links_of(papers: &Arc<Papers>) -> Links {
    let guard = Guard::new(papers.clone());
    Links::new(&Tasks::default(), &Shutdown::default(), Arc::new(Tcp), &guard)
}

async fn call(links: &Links, to: SocketAddr, body: &[u8]) -> Result<Bytes, CallError> {
    links.call(to, Purpose::Door, Bytes::copy_from_slice(body), SOON).await
}

#[tokio::test]
async fn many_calls_share_a_connection_and_each_gets_its_own_answer() {
    let server = Server::start("127.0.0.1:0", echo());
    let links = links();
    let all = (0..500u32).map(|n| {
        let call = links.call(server.addr, Purpose::Door, n.to_le_bytes().to_vec().into(), SOON);
        async move { assert_eq!(call.await.unwrap().as_ref(), n.to_le_bytes()) }
    });
    futures::future::join_all(all).await;
    let large = vec![7; 3 << 20];
    assert_eq!(call(&links, server.addr, &large).await.unwrap(), large);
    server.stop().await;
}

#[tokio::test]
async fn handling_begins_in_the_order_of_the_calls_and_ends_in_any() {
    let begun = Arc::new(Mutex::new(Vec::new()));
    let seen = begun.clone();
    let (answered, told) = tokio::sync::watch::channel(0);
    let server = Server::start(
        "127.0.0.1:0",
        calls(move |body| {
            let (seen, mut told) = (seen.clone(), told.clone());
            async move {
                seen.lock().unwrap().push(body[0]);
                // Each ends once all later ones are answered.
                told.wait_for(|answered| *answered == 49 - body[0]).await.unwrap();
                Ok(body)
            }
            .boxed()
        }),
    );
    let links = links();
    // Futures are polled backwards: what counts is when the calls were made.
    let mut all: Vec<_> =
        (0..50u8).map(|n| links.call(server.addr, Purpose::Door, vec![n].into(), SOON)).collect();
    all.reverse();
    let all = all.into_iter().map(|call| async {
        call.await.expect("answers overtake each other");
        answered.send_modify(|answered| *answered += 1);
    });
    futures::future::join_all(all).await;
    assert_eq!(*begun.lock().unwrap(), (0..50).collect::<Vec<u8>>());
}

#[tokio::test]
async fn the_order_holds_for_more_calls_than_a_task_may_handle_in_one_go() {
    let (begun, mut order) = tokio::sync::mpsc::channel(4096);
    let server = Server::start(
        "127.0.0.1:0",
        calls(move |body| {
            let begun = begun.clone();
            async move {
                let number = u16::from_be_bytes([body[0], body[1]]);
                // Not every call takes as much.
                for _ in 0..number % 3 {
                    tokio::task::consume_budget().await;
                }
                begun.send(number).await.unwrap();
                Ok(body)
            }
            .boxed()
        }),
    );
    let links = links();
    let all = (0..2000u16).map(|n| {
        let body = n.to_be_bytes().to_vec().into();
        links.call(server.addr, Purpose::Door, body, SOON)
    });
    for answer in futures::future::join_all(all.collect::<Vec<_>>()).await {
        answer.unwrap();
    }
    let mut seen = Vec::new();
    order.recv_many(&mut seen, 4096).await;
    assert_eq!(seen, (0..2000).collect::<Vec<u16>>());
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_have_been_handled_is_not_sent() {
    let nobody = Tcp.listen("test", "127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = nobody.local_addr().unwrap();
    drop(nobody);
    let links = links();
    assert!(matches!(call(&links, addr, b"x").await, Err(CallError::NotSent(_))));

    let refusing = calls(|_| async { Err(Refused("not yet".to_owned())) }.boxed());
    let server = Server::start("127.0.0.1:0", refusing);
    let refused = call(&links, server.addr, b"x").await;
    assert_eq!(refused, Err(CallError::NotSent("not yet".to_owned())));
    server.stop().await;
}

#[tokio::test]
async fn what_was_written_and_not_answered_is_lost() {
    let silent = calls(|_| futures::future::pending().boxed());
    let server = Server::start("127.0.0.1:0", silent);
    let links = links();
    let within = Duration::from_millis(50);
    let late = links.call(server.addr, Purpose::Door, Bytes::from_static(b"x"), within).await;
    assert!(matches!(late, Err(CallError::Lost(_))), "{late:?}");
    let cut = tokio::spawn(links.call(server.addr, Purpose::Door, Bytes::new(), SOON));
    let again = links.call(server.addr, Purpose::Door, Bytes::new(), within).await;
    assert!(matches!(again, Err(CallError::Lost(_))), "the call before it was written too");
    server.stop().await;
    let cut = cut.await.unwrap();
    assert!(matches!(cut, Err(CallError::Lost(_))), "{cut:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_lost_to_a_peer_that_stops_in_good_order() {
    for _ in 0..20 {
        let slow = calls(|body| {
            let answered = async {
                tokio::time::sleep(Duration::from_millis(2)).await;
                Ok(body)
            };
            answered.boxed()
        });
        let server = Server::start("127.0.0.1:0", slow);
        let (links, addr) = (links(), server.addr);
        let callers: Vec<_> = (0..8)
            .map(|_| {
                let links = links.clone();
                tokio::spawn(async move {
                    let mut answered = 0;
                    loop {
                        match call(&links, addr, b"x").await {
                            Ok(_) => answered += 1,
                            Err(error) => return (answered, error),
                        }
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(30)).await;
        server.stop().await;
        for caller in callers {
            let (answered, error) = caller.await.unwrap();
            assert!(answered > 0 && matches!(error, CallError::NotSent(_)), "{error}");
        }
    }
}

#[tokio::test]
async fn a_peer_that_comes_back_is_found_again() {
    let server = Server::start("127.0.0.1:0", echo());
    let links = links();
    assert!(call(&links, server.addr, b"x").await.is_ok());
    server.stop().await;
    assert!(call(&links, server.addr, b"x").await.is_err());
    let server = Server::start(&server.addr.to_string(), echo());
    let found = async {
        while call(&links, server.addr, b"x").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, found).await.expect("found again");
}

#[tokio::test]
async fn strangers_are_shown_the_door_and_nobody_else_notices() {
    let server = Server::start("127.0.0.1:0", echo());
    let links = links();
    assert!(call(&links, server.addr, b"x").await.is_ok());
    let garbage: [&[u8]; 3] = [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", &[0; 64], &[0xff; 64]];
    for bytes in garbage {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A reset counts: the server closed with bytes of ours unread.
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.len() <= 7, "closed with no more than an alert of TLS: {answer:?}");
    }
    let guard = Guard::new(Papers::of(&AUTHORITY, 9, Role::Server));
    let hellos: [&[u8]; 3] = [
        &[0; 64],
        // The right length and kind, but not our magic.
        b"\x14\0\0\0\x01\0\0\0\0\0\0\0\0notremora\x01\0\x03",
        // Another protocol version.
        b"\x14\0\0\0\x01\0\0\0\0\0\0\0\0rmrpeer\0\x09\0\x03",
    ];
    for bytes in hellos {
        let stream = Tcp.connect(server.addr).await.unwrap();
        let mut secured = guard.call(stream, server.addr, Purpose::Door).await.unwrap();
        secured.stream.write_all(bytes).await.unwrap();
        secured.stream.flush().await.unwrap();
        let mut answer = Vec::new();
        let _ = secured.stream.read_to_end(&mut answer).await;
        assert_eq!(answer, b"", "closed without a word");
    }
    let purpose = links.call(server.addr, Purpose::Raft, Bytes::new(), SOON).await;
    assert!(matches!(purpose, Err(CallError::NotSent(_))), "not served there: {purpose:?}");
    assert!(call(&links, server.addr, b"x").await.is_ok());
}

#[tokio::test]
async fn a_stream_brings_everything_in_order_and_ends() {
    let count = |_, ask: Bytes, mut pushes: Pushes| {
        async move {
            for n in 0..ask[0] {
                pushes.push(vec![n].into()).await.unwrap();
            }
        }
        .boxed()
    };
    let server = Server::start("127.0.0.1:0", Service::Stream(Arc::new(count)));
    let mut pushed =
        links().open_stream(server.addr, Purpose::Door, Bytes::from_static(&[9])).await.unwrap();
    for n in 0..9 {
        assert_eq!(pushed.next().await.unwrap().unwrap(), vec![n]);
    }
    assert_eq!(pushed.next().await.unwrap(), None);
}

#[tokio::test]
async fn too_much_at_once_is_refused_before_it_is_sent() {
    let server = Server::start("127.0.0.1:0", calls(|_| futures::future::pending().boxed()));
    let links = links();
    let waiting: Vec<_> = (0..crate::model::limits::PEER_IN_FLIGHT)
        .map(|_| links.call(server.addr, Purpose::Door, Bytes::new(), SOON))
        .collect();
    let refused = call(&links, server.addr, b"x").await;
    assert!(matches!(refused, Err(CallError::NotSent(why)) if why.contains("too many")));
    drop(waiting);
    let long = Bytes::from(vec![0; crate::model::limits::PEER_FRAME]);
    let refused = links.call(server.addr, Purpose::Door, long, SOON).await;
    assert!(matches!(refused, Err(CallError::NotSent(why)) if why.contains("bytes")));
}

#[tokio::test]
async fn an_exchange_keeps_to_one_connection_and_ends_with_it() {
    let server = Server::start("127.0.0.1:0", echo());
    let mut exchange = links().exchange(server.addr, Purpose::Door).await.unwrap();
    for word in ["who", "are", "you"] {
        let answer = exchange.call(Bytes::from(word), SOON).await;
        assert_eq!(answer.unwrap(), word);
    }
    server.stop().await;
    let after = exchange.call(Bytes::from("still there?"), SOON).await;
    assert!(matches!(after, Err(CallError::Lost(_))), "{after:?}");
}

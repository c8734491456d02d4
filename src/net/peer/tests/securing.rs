//! Who gets in and who does not: certificates, strangers, the expired, the thrown out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::FutureExt;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::papers::{Authority, Papers, later};
use super::{SOON, call, links_of};
use crate::lifecycle::{Shutdown, Tasks};
use crate::model::{NodeId, Role, limits};
use crate::net::peer::{
    CallError, Caller, Guard, Handler, Links, Peer, Purpose, Pushes, Service, serve,
};
use crate::net::{Fabric, Tcp};

/// Answers at every purpose, and tells who called last.
struct Server {
    addr: SocketAddr,
    papers: Arc<Papers>,
    guard: Guard,
    last: Arc<Mutex<Option<Caller>>>,
    _tasks: Tasks,
}

impl Server {
    fn start(papers: Arc<Papers>) -> Server {
        let listener = Tcp.listen("test", "127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = listener.local_addr().unwrap();
        let last = Arc::new(Mutex::new(None));
        let seen = last.clone();
        let calls: Handler = Arc::new(move |caller, body| {
            *seen.lock().unwrap() = Some(caller);
            async move { Ok(body) }.boxed()
        });
        let endless = |_, _, mut pushes: Pushes| {
            async move {
                while pushes.push(Bytes::from_static(b"tick")).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            .boxed()
        };
        let services = BTreeMap::from([
            (Purpose::Raft, Service::Calls(calls.clone())),
            (Purpose::Door, Service::Calls(calls.clone())),
            (Purpose::Entrance, Service::Calls(calls)),
            (Purpose::Follow, Service::Stream(Arc::new(endless))),
        ]);
        let (tasks, shutdown) = (Tasks::default(), Shutdown::default());
        let guard = Guard::new(papers.clone());
        serve(listener, &guard, services, &tasks, &shutdown);
        Server { addr, papers, guard, last, _tasks: tasks }
    }

    fn last(&self) -> Caller {
        self.last.lock().unwrap().expect("somebody called")
    }
}

async fn at(links: &Links, to: SocketAddr, purpose: Purpose) -> Result<Bytes, CallError> {
    links.call(to, purpose, Bytes::from_static(b"x"), SOON).await
}

fn said(answer: Result<Bytes, CallError>) -> String {
    match answer {
        Err(CallError::NotSent(why)) => why,
        other => panic!("it must not have been sent: {other:?}"),
    }
}

#[tokio::test]
async fn both_sides_know_each_other_and_share_what_binds_the_connection() {
    let authority = Authority::new();
    let server = Server::start(Papers::of(&authority, 1, Role::Server));
    let edge = links_of(&Papers::of(&authority, 7, Role::Edge));
    let mut exchange = edge.exchange(server.addr, Purpose::Door).await.unwrap();
    assert_eq!(exchange.call(Bytes::from_static(b"hi"), SOON).await.unwrap(), "hi");
    let (here, there) = (exchange.caller, server.last());
    assert_eq!(here.peer, Some(Peer { id: NodeId(1), role: Role::Server }));
    assert_eq!(there.peer, Some(Peer { id: NodeId(7), role: Role::Edge }));
    assert_eq!(here.binding, there.binding);
    let other = edge.exchange(server.addr, Purpose::Door).await.unwrap();
    assert_ne!(other.caller.binding, here.binding, "one connection, one binding");
}

#[tokio::test]
async fn strangers_may_only_ask_to_be_let_in_and_roles_have_their_limits() {
    let authority = Authority::new();
    let server = Server::start(Papers::of(&authority, 1, Role::Server));
    let stranger = links_of(&Papers::showing(&authority, None));
    assert!(at(&stranger, server.addr, Purpose::Entrance).await.is_ok());
    assert_eq!(server.last().peer, None);
    for purpose in [Purpose::Door, Purpose::Raft] {
        let why = said(at(&stranger, server.addr, purpose).await);
        assert!(why.contains("without a certificate"), "{why}");
    }
    let pushed = stranger.open_stream(server.addr, Purpose::Follow, Bytes::new()).await;
    assert!(pushed.err().unwrap().to_string().contains("without a certificate"));
    let edge = links_of(&Papers::of(&authority, 7, Role::Edge));
    assert!(at(&edge, server.addr, Purpose::Door).await.is_ok());
    let why = said(at(&edge, server.addr, Purpose::Raft).await);
    assert!(why.contains("not for the role edge"), "{why}");
    // Nor does anybody take an edge for a server because it listens.
    let edge = Server::start(Papers::of(&authority, 8, Role::Edge));
    let other = links_of(&Papers::of(&authority, 2, Role::Server));
    let why = said(at(&other, edge.addr, Purpose::Raft).await);
    assert!(why.contains("edge 8 is nobody to call for Raft"), "{why}");
}

#[tokio::test]
async fn certificates_of_another_authority_are_refused_on_both_sides() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Server::start(Papers::of(&ours, 1, Role::Server));
    // It shows theirs, and would take ours.
    let shown = theirs.issue(2, Role::Server, later());
    let intruder = links_of(&Papers::showing(&ours, Some(shown)));
    let why = said(at(&intruder, server.addr, Purpose::Entrance).await);
    assert!(why.contains("does not take this one's certificate"), "{why}");
    let deceived = links_of(&Papers::showing(&theirs, None));
    let why = said(at(&deceived, server.addr, Purpose::Entrance).await);
    assert!(why.contains("Issuer") || why.contains("Signature"), "{why}");
    // Nobody answers without a certificate at all.
    let bare = Server::start(Papers::showing(&ours, None));
    said(at(&links_of(&Papers::of(&ours, 3, Role::Server)), bare.addr, Purpose::Door).await);
    assert!(bare.last.lock().unwrap().is_none());
}

#[tokio::test]
async fn the_expired_may_renew_for_a_while_and_nothing_else() {
    let authority = Authority::new();
    let server = Server::start(Papers::of(&authority, 1, Role::Server));
    let ago = |seconds| SystemTime::now() - Duration::from_secs(seconds);
    let late = authority.issue(7, Role::Edge, ago(5));
    let late = links_of(&Papers::showing(&authority, Some(late)));
    assert!(at(&late, server.addr, Purpose::Entrance).await.is_ok());
    assert!(said(at(&late, server.addr, Purpose::Door).await).contains("expired"));
    let over = authority.issue(7, Role::Edge, ago(500));
    let over = links_of(&Papers::showing(&authority, Some(over)));
    said(at(&over, server.addr, Purpose::Entrance).await);
    // A server that is late is not called at all.
    let old = authority.issue(1, Role::Server, ago(5));
    let old = Server::start(Papers::showing(&authority, Some(old)));
    let edge = links_of(&Papers::of(&authority, 7, Role::Edge));
    assert!(said(at(&edge, old.addr, Purpose::Door).await).contains("expired"));
}

#[tokio::test]
async fn a_renewed_certificate_is_used_at_once_and_no_call_fails_over_it() {
    let authority = Authority::new();
    let server = Server::start(Papers::of(&authority, 1, Role::Server));
    let papers = Papers::of(&authority, 7, Role::Edge);
    let links = links_of(&papers);
    let first = at(&links, server.addr, Purpose::Door).await;
    assert!(first.is_ok());
    for n in 0..200u64 {
        if n % 20 == 10 {
            let renewed = authority.issue(1, Role::Server, later());
            *server.papers.shown.lock().unwrap() = Some(renewed);
            let renewed = authority.issue(100 + n, Role::Edge, later());
            *papers.shown.lock().unwrap() = Some(renewed);
        }
        let again = at(&links, server.addr, Purpose::Door).await;
        assert!(again.is_ok(), "{again:?}");
    }
    assert_eq!(server.last().peer.unwrap().id, NodeId(7), "the old connection lives on");
    let mut exchange = links.exchange(server.addr, Purpose::Door).await.unwrap();
    exchange.call(Bytes::new(), SOON).await.unwrap();
    assert_eq!(server.last().peer.unwrap().id, NodeId(290), "a new one has the newest");
}

#[tokio::test]
async fn the_thrown_out_are_cut_in_both_directions_and_others_are_not() {
    let authority = Authority::new();
    let server = Server::start(Papers::of(&authority, 1, Role::Server));
    let papers = Papers::of(&authority, 7, Role::Edge);
    let guard = Guard::new(papers.clone());
    let new = |guard| Links::new(&Tasks::default(), &Shutdown::default(), Arc::new(Tcp), guard);
    let (edge, other) = (new(&guard), links_of(&Papers::of(&authority, 2, Role::Server)));
    let mut cut = edge.exchange(server.addr, Purpose::Door).await.unwrap();
    let mut kept = other.exchange(server.addr, Purpose::Door).await.unwrap();
    let stays = other.open_stream(server.addr, Purpose::Follow, Bytes::new()).await.unwrap();
    cut.call(Bytes::new(), SOON).await.unwrap();
    server.papers.throw_out(7);
    server.guard.recheck();
    let gone = async { while cut.call(Bytes::new(), SOON).await.is_ok() {} };
    tokio::time::timeout(SOON, gone).await.expect("its connection is cut");
    let why = said(at(&edge, server.addr, Purpose::Door).await);
    assert!(why.contains("does not take"), "and it does not come back: {why}");
    kept.call(Bytes::new(), SOON).await.unwrap();
    let mut stays = stays;
    assert!(stays.next().await.unwrap().is_some());
    // The other way round: the caller is the one who learns that the server is none any more.
    let papers = Papers::of(&authority, 3, Role::Server);
    let guard = Guard::new(papers.clone());
    let links = new(&guard);
    assert!(at(&links, server.addr, Purpose::Door).await.is_ok());
    let mut pushed = links.open_stream(server.addr, Purpose::Follow, Bytes::new()).await.unwrap();
    papers.throw_out(1);
    guard.recheck();
    let ended = async { while pushed.next().await.is_ok() {} };
    tokio::time::timeout(SOON, ended).await.expect("the stream is cut");
    // The call may have been on its way when its connection was cut.
    let refused = at(&links, server.addr, Purpose::Door).await.unwrap_err();
    let (CallError::NotSent(why) | CallError::Lost(why)) = refused;
    assert!(why.contains("1 was retired") || why.contains("belongs here no more"), "{why}");
}

#[tokio::test]
async fn old_tls_garbage_and_slow_strangers_hold_nobody_up() {
    let authority = Authority::new();
    let server = Server::start(Papers::of(&authority, 1, Role::Server));
    // Half-open, as many as one address may have but one.
    let mut slow = Vec::new();
    for _ in 0..limits::PEER_HANDSHAKES_FROM_ONE - 8 {
        slow.push(TcpStream::connect(server.addr).await.unwrap());
    }
    let links = links_of(&Papers::of(&authority, 7, Role::Edge));
    assert!(call(&links, server.addr, b"x").await.is_ok(), "nobody waits behind them");
    let mut config = crate::net::client_tls(crate::net::Trust::Anything).unwrap();
    config.resumption = rustls::client::Resumption::disabled();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let old = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let stream = TcpStream::connect(server.addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let refused = TlsConnector::from(Arc::new(old)).connect(name.clone(), stream).await;
    assert!(refused.unwrap_err().to_string().contains("ProtocolVersion"));
    // TLS 1.3 of a foreign client, and then no hello of ours.
    let stream = TcpStream::connect(server.addr).await.unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
    assert!(call(&links, server.addr, b"x").await.is_ok());
}

#[tokio::test]
async fn a_plaintext_caller_is_named_in_words() {
    let authority = Authority::new();
    let guard = Guard::new(Papers::of(&authority, 1, Role::Server));
    let (mut near, far) = tokio::io::duplex(1024);
    near.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let Err(error) = guard.take(Box::new(far)).await else { panic!("that was no TLS") };
    assert!(error.to_string().contains("no TLS"), "{error}");
}

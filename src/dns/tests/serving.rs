//! Real sockets: datagrams, connections, garbage, and names that are handed on.

use std::net::SocketAddr;

use hickory_proto::rr::RecordType::A;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::*;
use crate::dns::{self, Error, Handle};
use crate::lifecycle::Life;
use crate::telemetry::Metrics;

const SOON: Duration = Duration::from_secs(5);

pub(super) async fn started(bed: &Bed, config: Config) -> (Handle, Life, Metrics) {
    let (life, metrics) = (Life::default(), Metrics::default());
    let config = Config { listen: vec![([127, 0, 0, 1], 0).into()], ..config };
    let handle = dns::start(config, bed.cluster.clone(), life.clone(), &metrics).await.unwrap();
    (handle, life, metrics)
}

pub(super) async fn over_udp(to: SocketAddr, packet: &[u8]) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(packet, to).await.unwrap();
    let mut buffer = [0; 4096];
    let len = timeout(SOON, socket.recv(&mut buffer)).await.unwrap().unwrap();
    Message::from_vec(&buffer[..len]).unwrap()
}

pub(super) fn framed(packet: &[u8]) -> Vec<u8> {
    [u16::try_from(packet.len()).unwrap().to_be_bytes().as_slice(), packet].concat()
}

pub(super) async fn read(stream: &mut TcpStream) -> Message {
    let read = async {
        let mut packet = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut packet).await.unwrap();
        packet
    };
    Message::from_vec(&timeout(SOON, read).await.unwrap()).unwrap()
}

#[tokio::test]
async fn datagrams_are_answered_whatever_else_arrives() {
    let bed = Bed::new(&Config::default()).await;
    let (handle, life, metrics) = started(&bed, Config { workers: 2, ..Config::default() }).await;
    let to = handle.addrs[0];
    let noise = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for len in [0_usize, 1, 11, 12, 13, 100, 1400] {
        noise.send_to(&vec![0x5a; len], to).await.unwrap();
    }
    for _ in 0..20 {
        let message = over_udp(to, &query("web.service.consul.", A, None)).await;
        assert_eq!(message.answers.len(), 2);
    }
    let text = metrics.encode();
    assert!(text.contains("remora_dns_queries_total{qtype=\"A\",rcode=\"NOERROR\"} 20"), "{text}");
    life.shutdown.begin();
    assert!(life.tasks.join(SOON).await);
}

#[tokio::test]
async fn pipelined_queries_are_answered_in_order() {
    let bed = Bed::new(&Config::default()).await;
    let (handle, life, _) = started(&bed, Config::default()).await;
    let mut stream = TcpStream::connect(handle.addrs[0]).await.unwrap();
    let mut burst = Vec::new();
    for id in 0..50_u8 {
        let mut packet = query("web.service.consul.", A, None);
        packet[1] = id;
        burst.extend(framed(&packet));
    }
    stream.write_all(&burst).await.unwrap();
    for id in 0..50 {
        let message = read(&mut stream).await;
        assert_eq!((message.metadata.id & 0xff, message.answers.len()), (id, 2));
    }
    // Garbage ends its own connection and no other.
    let mut rude = TcpStream::connect(handle.addrs[0]).await.unwrap();
    rude.write_all(&framed(b"GET / HTTP/1.1\r\n\r\n")).await.unwrap();
    let message = read(&mut rude).await;
    assert_eq!(format!("{:?}", message.metadata.response_code), "NotImp");
    rude.write_all(&framed(b"GET /")).await.unwrap();
    let mut rest = Vec::new();
    assert_eq!(timeout(SOON, rude.read_to_end(&mut rest)).await.unwrap().unwrap(), 0);
    stream.write_all(&framed(&query("web.service.consul.", A, None))).await.unwrap();
    assert_eq!(read(&mut stream).await.answers.len(), 2);
    life.shutdown.begin();
    assert!(life.tasks.join(SOON).await);
}

#[tokio::test]
async fn a_silent_connection_is_ended() {
    let bed = Bed::new(&Config::default()).await;
    let (handle, life, _) = started(&bed, Config::default()).await;
    let mut stream = TcpStream::connect(handle.addrs[0]).await.unwrap();
    stream.write_all(&framed(&query("web.service.consul.", A, None))).await.unwrap();
    assert_eq!(read(&mut stream).await.answers.len(), 2);
    tokio::time::pause();
    // Half a message is silence too.
    stream.write_all(&[0]).await.unwrap();
    let mut rest = Vec::new();
    let ended = timeout(Duration::from_secs(60), stream.read_to_end(&mut rest)).await;
    assert_eq!(ended.unwrap().unwrap(), 0);
    life.shutdown.begin();
}

#[tokio::test]
async fn a_query_that_is_too_long_ends_its_connection() {
    let bed = Bed::new(&Config::default()).await;
    let (handle, life, _) = started(&bed, Config::default()).await;
    let packet = query("web.service.consul.", A, None);
    for (len, answers) in [(4096, 1), (4097, 0)] {
        let mut stream = TcpStream::connect(handle.addrs[0]).await.unwrap();
        let padded = [packet.as_slice(), &vec![0; len - packet.len()]].concat();
        stream.write_all(&framed(&padded)).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        // What was not read ends a connection with an error.
        let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(rest.len().min(1), answers, "{len} bytes");
    }
    life.shutdown.begin();
}

#[tokio::test]
async fn a_taken_port_and_an_open_address_are_errors_that_name_the_setting() {
    let bed = Bed::new(&Config::default()).await;
    let (handle, life, _) = started(&bed, Config::default()).await;
    let again = Config { listen: handle.addrs.clone(), workers: 2, ..Config::default() };
    let metrics = Metrics::default();
    let error = dns::start(again, bed.cluster.clone(), life.clone(), &metrics).await.unwrap_err();
    assert!(matches!(error, Error::Bind(_)));
    assert!(error.to_string().starts_with("dns.listen: cannot listen on"), "{error}");
    let open = Config { listen: vec![([0, 0, 0, 0], 0).into()], ..Config::default() };
    let error =
        dns::start(open.clone(), bed.cluster.clone(), life.clone(), &metrics).await.unwrap_err();
    assert!(error.to_string().contains("dns.insecure"), "{error}");
    life.shutdown.begin();
}

#[tokio::test]
async fn an_answer_comes_from_the_address_that_was_asked() {
    let bed = Bed::new(&Config::default()).await;
    let (life, metrics) = (Life::default(), Metrics::default());
    let listen = vec![([0, 0, 0, 0], 0).into(), ([0_u16; 8], 0).into()];
    let config = Config { listen, insecure: true, ..Config::default() };
    let handle = dns::start(config, bed.cluster.clone(), life.clone(), &metrics).await.unwrap();
    let [v4, v6] = [handle.addrs[0].port(), handle.addrs[1].port()];
    // A connected socket takes answers from nowhere else.
    for (from, to) in [
        ("127.0.0.1:0", SocketAddr::from(([127, 0, 0, 77], v4))),
        ("127.0.0.5:0", SocketAddr::from(([127, 0, 0, 1], v4))),
        ("[::1]:0", SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], v6))),
    ] {
        let socket = UdpSocket::bind(from).await.unwrap();
        socket.connect(to).await.unwrap();
        socket.send(&query("web.service.consul.", A, None)).await.unwrap();
        let mut buffer = [0; 512];
        let len = timeout(SOON, socket.recv(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(Message::from_vec(&buffer[..len]).unwrap().answers.len(), 2);
    }
    life.shutdown.begin();
}

#[tokio::test]
async fn a_burst_is_answered_whole() {
    let bed = Bed::new(&Config::default()).await;
    let (handle, life, _) = started(&bed, Config::default()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(handle.addrs[0]).await.unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for id in 0..200_u8 {
        let mut packet = query("web.service.consul.", A, None);
        packet[1] = id;
        socket.send(&packet).await.unwrap();
    }
    let mut buffer = [0; 512];
    for _ in 0..200 {
        let len = timeout(SOON, socket.recv(&mut buffer)).await.unwrap().unwrap();
        let message = Message::from_vec(&buffer[..len]).unwrap();
        assert_eq!(message.answers.len(), 2);
        ids.insert(message.metadata.id);
    }
    assert_eq!(ids.len(), 200);
    life.shutdown.begin();
}

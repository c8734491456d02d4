//! Real sockets: datagrams, connections, garbage, and names that are handed on.

use std::net::SocketAddr;

use hickory_proto::rr::RecordType::A;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::*;
use crate::dns::forward::Forwarder;
use crate::dns::{self, Error, Forward, Handle};
use crate::lifecycle::Life;
use crate::telemetry::Metrics;

const SOON: Duration = Duration::from_secs(5);

async fn started(bed: &Bed, config: Config) -> (Handle, Life, Metrics) {
    let (life, metrics) = (Life::default(), Metrics::default());
    let config = Config { listen: vec![([127, 0, 0, 1], 0).into()], ..config };
    let handle = dns::start(config, bed.cluster.clone(), life.clone(), &metrics).await.unwrap();
    (handle, life, metrics)
}

async fn over_udp(to: SocketAddr, packet: &[u8]) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(packet, to).await.unwrap();
    let mut buffer = [0; 4096];
    let len = timeout(SOON, socket.recv(&mut buffer)).await.unwrap().unwrap();
    Message::from_vec(&buffer[..len]).unwrap()
}

fn framed(packet: &[u8]) -> Vec<u8> {
    [u16::try_from(packet.len()).unwrap().to_be_bytes().as_slice(), packet].concat()
}

async fn read(stream: &mut TcpStream) -> Message {
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

/// A server that answers every query with its own question and rcode 3, and drops the first.
async fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            buffer[2] |= 0x80;
            buffer[3] = 3;
            // A forged answer comes first: another number.
            let mut forged = buffer[..len].to_vec();
            forged[0] ^= 0xff;
            let _ = socket.send_to(&forged, from).await;
            let _ = socket.send_to(&buffer[..len], from).await;
        }
    });
    addr
}

#[tokio::test]
async fn names_of_others_are_asked_elsewhere() {
    let bed = Bed::new(&Config::default()).await;
    // The first server is deaf: nobody listens there.
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let servers = vec![deaf.local_addr().unwrap(), upstream().await];
    let forward = Forward::Servers(servers);
    let (handle, life, metrics) = started(&bed, Config { forward, ..Config::default() }).await;
    let asked = query("example.com.", A, None);
    let message = over_udp(handle.addrs[0], &asked).await;
    assert_eq!(message.metadata.id, 0x1234);
    assert_eq!(format!("{:?}", message.metadata.response_code), "NXDomain");
    assert!(metrics.encode().contains("remora_dns_forwarded_total 1"));

    // Over TCP neither can be reached.
    let mut stream = TcpStream::connect(handle.addrs[0]).await.unwrap();
    stream.write_all(&framed(&asked)).await.unwrap();
    let message = read(&mut stream).await;
    assert_eq!(format!("{:?}", message.metadata.response_code), "ServFail");
    life.shutdown.begin();
}

#[tokio::test]
async fn we_never_ask_ourselves() {
    let mut bed = Bed::new(&Config::default()).await;
    let own: SocketAddr = ([127, 0, 0, 1], 53).into();
    let forwarder = Forwarder::new(&Forward::Servers(vec![own]), &[([0, 0, 0, 0], 53).into()]);
    assert!(forwarder.is_empty());
    let asked = query("example.com.", A, None);
    let (_, refusal) = bed.raw(&asked, UDP);
    assert_eq!(forwarder.over_udp(&asked, refusal.clone()).await, refusal);
}

//! Names that others know: asked for elsewhere, remembered, and never at the cost of our own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RData;
use hickory_proto::rr::RecordType::{A, AAAA, SRV};
use hickory_proto::rr::rdata::SOA;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::serving::{framed, over_udp, read, started};
use super::*;
use crate::dns::Forward;
use crate::dns::forward::Forwarder;

/// A server that tells about any name by what the name begins with, and counts.
#[derive(Clone)]
struct Upstream {
    addr: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Upstream {
    async fn start() -> Upstream {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            // A port that is free over TCP may be somebody's over UDP.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let addr = tcp.local_addr().unwrap();
        let upstream = Upstream { addr, asked: Arc::default() };
        let serving = upstream.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((len, from)) = udp.recv_from(&mut buffer).await {
                if let Some(answer) = serving.answer(&buffer[..len], false) {
                    // A forged answer comes first: another number.
                    let mut forged = answer.clone();
                    forged[0] ^= 0xff;
                    udp.send_to(&forged, from).await.unwrap();
                    udp.send_to(&answer, from).await.unwrap();
                }
            }
        });
        let serving = upstream.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move {
                    while let Ok(len) = stream.read_u16().await {
                        let mut packet = vec![0; usize::from(len)];
                        stream.read_exact(&mut packet).await.unwrap();
                        if let Some(answer) = serving.answer(&packet, true) {
                            stream.write_all(&framed(&answer)).await.unwrap();
                        }
                    }
                });
            }
        });
        upstream
    }

    fn answer(&self, packet: &[u8], tcp: bool) -> Option<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let query = Message::from_vec(packet).unwrap();
        let asked = query.queries[0].clone();
        let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
        answer.add_query(asked.clone());
        answer.metadata.recursion_available = true;
        let name = asked.name().to_ascii().to_lowercase();
        let record = |nth: u8| {
            let data = RData::A(Ipv4Addr::new(192, 0, 2, nth).into());
            Record::from_rdata(asked.name().clone(), 77, data)
        };
        match name.split('.').next().unwrap() {
            "drop" => return None,
            "fail" => answer.metadata.response_code = ResponseCode::ServFail,
            "nx" => {
                answer.metadata.response_code = ResponseCode::NXDomain;
                let zone = Name::from_ascii("test.").unwrap();
                let soa = SOA::new(zone.clone(), zone.clone(), 1, 2, 3, 4, 50);
                answer.authorities.push(Record::from_rdata(zone, 60, RData::SOA(soa)));
            }
            "big" if !tcp => answer.metadata.truncation = true,
            "big" => answer.answers.extend((0..100).map(record)),
            _ if asked.query_type() == A => answer.answers.push(record(9)),
            _ => {}
        }
        Some(answer.to_vec().unwrap())
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn forwarding(servers: Vec<SocketAddr>) -> Config {
    Config { forward: Forward::Servers(servers), ..Config::default() }
}

#[tokio::test]
async fn names_of_others_are_asked_elsewhere_once() {
    let bed = Bed::new(&Config::default()).await;
    let upstream = Upstream::start().await;
    let (handle, life, metrics) = started(&bed, forwarding(vec![upstream.addr])).await;
    let to = handle.addrs[0];
    for _ in 0..3 {
        let message = over_udp(to, &query("WWW.example.TEST.", A, None)).await;
        assert_eq!(message.metadata.id, 0x1234);
        assert!(message.metadata.recursion_available && !message.metadata.authoritative);
        assert_eq!(message.queries[0].name().to_ascii(), "WWW.example.TEST.");
        assert_eq!(lines(&message.answers), ["WWW.example.TEST. 77 IN A 192.0.2.9"]);
        assert!(message.edns.is_none());
    }
    assert_eq!(upstream.asked(), 1, "it is remembered");
    let message = over_udp(to, &query("nx.example.test.", A, Some(1232))).await;
    assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(message.authorities[0].record_type(), RecordType::SOA);
    assert_eq!(message.edns.unwrap().max_payload(), 1232);
    let message = over_udp(to, &query("www.example.test.", AAAA, None)).await;
    assert_eq!(message.metadata.response_code, ResponseCode::NoError);
    assert!(message.answers.is_empty());
    let message = over_udp(to, &query("fail.example.test.", A, None)).await;
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
    assert!(metrics.encode().contains("remora_dns_forwarded_total 6"));
    // Who wants no recursion gets none.
    let mut packet = query("www.example.test.", A, None);
    packet[2] &= 0xfe;
    let message = over_udp(to, &packet).await;
    assert_eq!(message.metadata.response_code, ResponseCode::Refused);
    life.shutdown.begin();
}

#[tokio::test]
async fn what_is_cut_over_udp_is_asked_over_tcp() {
    let bed = Bed::new(&Config::default()).await;
    let upstream = Upstream::start().await;
    let (handle, life, _) = started(&bed, forwarding(vec![upstream.addr])).await;
    let to = handle.addrs[0];
    let message = over_udp(to, &query("big.example.test.", A, Some(4096))).await;
    assert_eq!(message.answers.len(), 100);
    // And cut again for who takes no more.
    let message = over_udp(to, &query("big.example.test.", A, None)).await;
    assert!(message.metadata.truncation && message.answers.len() < 40);
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(&framed(&query("big.example.test.", A, None))).await.unwrap();
    assert_eq!(read(&mut stream).await.answers.len(), 100);
    life.shutdown.begin();
}

#[tokio::test]
async fn a_deaf_server_is_passed_over_and_nobody_waits_for_it() {
    let bed = Bed::new(&Config::default()).await;
    let deaf = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let upstream = Upstream::start().await;
    let servers = vec![deaf.local_addr().unwrap(), upstream.addr];
    let (handle, life, _) = started(&bed, forwarding(servers)).await;
    let message = over_udp(handle.addrs[0], &query("www.example.test.", A, None)).await;
    assert_eq!(message.answers.len(), 1);
    // On one connection, a name that nobody tells about comes after those asked later.
    let mut stream = TcpStream::connect(handle.addrs[0]).await.unwrap();
    for (id, name) in [(1, "drop.example.test."), (2, "web.service.consul.")] {
        let mut packet = query(name, A, None);
        packet[1] = id;
        stream.write_all(&framed(&packet)).await.unwrap();
    }
    let message = read(&mut stream).await;
    assert_eq!((message.metadata.id & 0xff, message.answers.len()), (2, 2));
    let message = read(&mut stream).await;
    assert_eq!(message.metadata.id & 0xff, 1);
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
    life.shutdown.begin();
}

#[tokio::test]
async fn hosts_elsewhere_come_with_their_addresses() {
    let config = Config {
        service_ttl: vec![("far".to_owned(), Duration::from_secs(5))],
        ..Config::default()
    };
    let bed = Bed::new(&config).await;
    let mut def = service("far", "far", 80);
    def.address = "www.example.test".into();
    bed.instance("foo", def).await;
    let upstream = Upstream::start().await;
    let forward = Forward::Servers(vec![upstream.addr]);
    let (handle, life, _) = started(&bed, Config { forward, ..config.clone() }).await;
    let to = handle.addrs[0];
    let alias = "far.service.consul. 5 IN CNAME www.example.test.";
    for edns in [None, Some(1232)] {
        let message = over_udp(to, &query("far.service.consul.", A, edns)).await;
        // No longer than the record that leads to it.
        assert_eq!(lines(&message.answers), [alias, "www.example.test. 5 IN A 192.0.2.9"]);
        assert!(message.metadata.authoritative);
        assert_eq!(message.edns.is_some(), edns.is_some());
        let message = over_udp(to, &query("far.service.consul.", SRV, edns)).await;
        assert_eq!(lines(&message.additionals), ["www.example.test. 5 IN A 192.0.2.9"]);
    }
    let message = over_udp(to, &query("far.service.consul.", AAAA, None)).await;
    assert_eq!(lines(&message.answers), [alias]);
    // With nobody to ask it is the alias alone, at once.
    let (handle, _, _) = started(&bed, config).await;
    let message = over_udp(handle.addrs[0], &query("far.service.consul.", A, None)).await;
    assert_eq!(lines(&message.answers), [alias]);
    life.shutdown.begin();
}

#[tokio::test]
async fn we_never_ask_ourselves() {
    let mut bed = Bed::new(&Config::default()).await;
    let own: SocketAddr = ([127, 0, 0, 1], 53).into();
    let servers = Forward::Servers(vec![own]);
    let forwarder = Forwarder::new(&servers, &[([0, 0, 0, 0], 53).into()]).unwrap();
    assert!(forwarder.is_empty());
    let asked = query("example.com.", A, None);
    let (_, refusal) = bed.raw(&asked, UDP);
    assert_eq!(forwarder.tell(&asked, UDP, refusal.clone()).await, refusal);
}

//! Hands questions about other names on to the servers that know them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::system_conf::read_system_conf;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::model::limits;

use super::config::Forward;
use super::wire::{HEADER, Rcode};

/// The byte of the flags that holds the rcode.
const RCODE_AT: usize = 3;

#[derive(Clone)]
pub struct Forwarder {
    servers: Arc<[SocketAddr]>,
    places: Arc<Semaphore>,
}

impl Forwarder {
    /// `own` are our listening addresses: a question is never handed to ourselves.
    pub fn new(forward: &Forward, own: &[SocketAddr]) -> Forwarder {
        let mut servers = match forward {
            Forward::Off => Vec::new(),
            Forward::Servers(servers) => servers.clone(),
            Forward::System => system_servers(),
        };
        servers.retain(|server| !own.iter().any(|own| is_same(*server, *own)));
        servers.dedup();
        let places = Arc::new(Semaphore::new(limits::DNS_FORWARDS));
        Forwarder { servers: servers.into(), places }
    }

    /// Nobody can be asked.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// A place among the questions under way, if one is free.
    pub fn admit(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// The first useful answer of a server, else SERVFAIL made from our `refusal`; without
    /// servers the refusal as it is.
    pub async fn over_udp(&self, query: &[u8], refusal: Vec<u8>) -> Vec<u8> {
        self.each(query, refusal, Way::Udp).await
    }

    pub async fn over_tcp(&self, query: &[u8], refusal: Vec<u8>) -> Vec<u8> {
        self.each(query, refusal, Way::Tcp).await
    }

    async fn each(&self, query: &[u8], mut refusal: Vec<u8>, way: Way) -> Vec<u8> {
        for server in self.servers.iter() {
            let asked = async {
                match way {
                    Way::Udp => ask_udp(query, *server).await,
                    Way::Tcp => ask_tcp(query, *server).await,
                }
            };
            match timeout(limits::DNS_FORWARD_TIMEOUT, asked).await {
                Ok(Ok(answer)) if is_useful(&answer) => return answer,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::debug!(%server, %error, "dns: a server was not reached"),
                Err(_) => tracing::debug!(%server, "dns: a server did not answer in time"),
            }
        }
        if let Some(byte) = refusal.get_mut(RCODE_AT).filter(|_| !self.servers.is_empty()) {
            *byte = *byte & 0xf0 | Rcode::ServFail as u8;
        }
        refusal
    }
}

#[derive(Clone, Copy)]
enum Way {
    Udp,
    Tcp,
}

/// A container need not have `/etc/resolv.conf`: then there are none.
fn system_servers() -> Vec<SocketAddr> {
    match read_system_conf() {
        Ok((config, _)) => {
            config.name_servers().iter().map(|server| SocketAddr::new(server.ip, 53)).collect()
        }
        Err(error) => {
            tracing::warn!(%error, "dns.forward: cannot read the system's servers");
            Vec::new()
        }
    }
}

fn is_same(server: SocketAddr, own: SocketAddr) -> bool {
    let any = own.ip().is_unspecified() && server.ip().is_loopback();
    server.port() == own.port() && (any || server.ip() == own.ip())
}

/// Other rcodes say that this server cannot tell.
fn is_useful(answer: &[u8]) -> bool {
    let rcode = answer.get(RCODE_AT).map(|byte| byte & 0xf);
    rcode == Some(Rcode::NoError as u8) || rcode == Some(Rcode::NxDomain as u8)
}

/// The query under a number of our own, which together with the port is hard to guess.
fn renumbered(query: &[u8]) -> (Vec<u8>, [u8; 2]) {
    let number: [u8; 2] = rand::random();
    let mut asked = query.to_vec();
    asked.iter_mut().zip(number).for_each(|(byte, number)| *byte = number);
    (asked, number)
}

/// The answer under the client's number; none where it answers something else.
fn matched(query: &[u8], number: [u8; 2], mut answer: Vec<u8>) -> Option<Vec<u8>> {
    let question = question_of(query)?;
    let is_response = answer.get(2).is_some_and(|flags| flags & 0x80 != 0);
    let same = answer.get(..2) == Some(&number)
        && is_response
        && answer
            .get(HEADER..HEADER + question.len())
            .is_some_and(|asked| asked.eq_ignore_ascii_case(question));
    answer.iter_mut().zip(query.iter().take(2)).for_each(|(byte, number)| *byte = *number);
    same.then_some(answer)
}

fn question_of(query: &[u8]) -> Option<&[u8]> {
    super::question::parse(query).ok().map(|query| query.question.wire)
}

async fn ask_udp(query: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    let (asked, number) = renumbered(query);
    socket.send(&asked).await?;
    let mut buffer = vec![0; limits::DNS_MESSAGE];
    loop {
        let len = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..len).unwrap_or_default().to_vec();
        // A wrong answer may be forged: the right one may still come.
        if let Some(answer) = matched(query, number, answer) {
            return Ok(answer);
        }
    }
}

async fn ask_tcp(query: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let (asked, number) = renumbered(query);
    let len = u16::try_from(asked.len()).map_err(io::Error::other)?;
    stream.write_all(&[len.to_be_bytes().as_slice(), &asked].concat()).await?;
    let len = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(len)];
    stream.read_exact(&mut answer).await?;
    matched(query, number, answer).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "the answer is to another question")
    })
}

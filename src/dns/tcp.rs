//! Answers over TCP: pipelined queries, bounds on connections, silence ends them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::cluster::OwnToken;
use crate::lifecycle::{Backoff, Life};
use crate::model::limits;
use crate::net::is_loopback;

use super::Front;
use super::answer::{Answerer, Channel, Verdict};

/// What all connections of a listener share.
struct Desk {
    front: Front,
    answering: Mutex<(Answerer, SmallRng)>,
    /// Open connections by source, of those beyond loopback.
    sources: Mutex<HashMap<IpAddr, usize>>,
}

pub async fn serve(front: Front, listener: TcpListener, life: Life) {
    let answerer = Answerer::new(front.zone.clone());
    let rng = SmallRng::seed_from_u64(rand::random());
    let answering = Mutex::new((answerer, rng));
    let desk = Arc::new(Desk { front, answering, sources: Mutex::default() });
    let connections = Arc::new(Semaphore::new(limits::DNS_CONNECTIONS));
    let mut backoff = Backoff::new(limits::ACCEPT_RETRY.0, limits::ACCEPT_RETRY.1);
    loop {
        let accepted = life.shutdown.or(async {
            // Who comes when all places are taken waits until one is free; silence frees them.
            let place = connections.clone().acquire_owned().await;
            (place, listener.accept().await)
        });
        let Some((Ok(place), accepted)) = accepted.await else { return };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "dns: cannot accept a connection");
                tokio::time::sleep(backoff.next_delay()).await;
                continue;
            }
        };
        backoff.reset();
        let Some(seat) = Seat::take(&desk, from) else {
            desk.front.counts.limited.inc();
            continue;
        };
        let shutdown = life.shutdown.clone();
        life.tasks.spawn("dns connection", async move {
            if let Some(Err(error)) = shutdown.or(seat.desk.converse(stream)).await {
                tracing::debug!(%error, "dns: a connection ended early");
            }
            drop((seat, place));
        });
    }
}

/// An open connection, counted.
struct Seat {
    desk: Arc<Desk>,
    source: Option<IpAddr>,
}

impl Seat {
    /// None: this source has too many already.
    fn take(desk: &Arc<Desk>, from: SocketAddr) -> Option<Seat> {
        let source = (!is_loopback(from)).then(|| from.ip().to_canonical());
        if let Some(source) = source {
            let mut sources = desk.sources.lock().unwrap_or_else(PoisonError::into_inner);
            let open = sources.entry(source).or_default();
            if *open >= limits::DNS_CONNECTIONS_OF_ONE {
                return None;
            }
            *open += 1;
        }
        desk.front.counts.connections.inc();
        Some(Seat { desk: desk.clone(), source })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.desk.front.counts.connections.dec();
        let Some(source) = self.source else { return };
        let mut sources = self.desk.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = sources.get_mut(&source) {
            *open -= 1;
            if *open == 0 {
                sources.remove(&source);
            }
        }
    }
}

type Reader = BufReader<OwnedReadHalf>;
type Writer = BufWriter<OwnedWriteHalf>;
/// What is asked elsewhere for this connection.
type Elsewhere<'d> = FuturesUnordered<BoxFuture<'d, Vec<u8>>>;

impl Desk {
    /// Our own names are answered in the order in which they were asked, and others when somebody
    /// has told about them (RFC 7766, 6.2.1.1): nothing waits for a slow server.
    async fn converse(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let mut writer = BufWriter::new(writer);
        let mut elsewhere = Elsewhere::new();
        let mut reading = Box::pin(read_message(BufReader::new(reader)));
        loop {
            let room = elsewhere.len() < limits::DNS_PIPELINE;
            tokio::select! {
                Some(answer) = elsewhere.next(), if !elsewhere.is_empty() => {
                    write(&mut writer, &answer).await?;
                    flush(&mut writer).await?;
                }
                read = &mut reading, if room => {
                    let Some((reader, packet)) = read? else { break };
                    if !self.take(&mut writer, packet, &mut elsewhere).await? {
                        break;
                    }
                    // Answers to what has arrived together leave together.
                    if !has_message(&reader) {
                        flush(&mut writer).await?;
                    }
                    reading.set(read_message(reader));
                }
            }
        }
        while let Some(answer) = elsewhere.next().await {
            write(&mut writer, &answer).await?;
        }
        flush(&mut writer).await
    }

    /// False: what came is no query, and a connection that carries such is ended.
    async fn take<'d>(
        &'d self,
        writer: &mut Writer,
        packet: Vec<u8>,
        elsewhere: &mut Elsewhere<'d>,
    ) -> io::Result<bool> {
        let (verdict, ours) = self.answer(&packet);
        let foreign = match verdict {
            Verdict::Silent => return Ok(false),
            Verdict::Answered { .. } => None,
            Verdict::Forward { .. } => Some(true),
            Verdict::Outside { .. } => Some(false),
        };
        match foreign.zip(self.front.forwarder.admit()) {
            None => write(writer, &ours).await?,
            Some((foreign, permit)) => elsewhere.push(Box::pin(async move {
                let forwarder = &self.front.forwarder;
                let answer = match foreign {
                    true => forwarder.tell(&packet, Channel::Tcp, ours).await,
                    false => forwarder.complete(&packet, Channel::Tcp, ours).await,
                };
                drop(permit);
                answer
            })),
        }
        Ok(true)
    }

    fn answer(&self, packet: &[u8]) -> (Verdict, Vec<u8>) {
        let state = self.front.cluster.snapshot();
        let knowledge = self.front.knowledge(&state);
        let mut out = Vec::new();
        let mut answering = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        let (answerer, rng) = &mut *answering;
        answerer.look_as(&state, || self.front.cluster.speaker(OwnToken::Dns));
        let verdict = answerer.answer(packet, knowledge, Channel::Tcp, rng, &mut out);
        self.front.counts.count(verdict);
        (verdict, out)
    }
}

/// None: the client hung up between messages, or was silent or slow for too long.
async fn read_message(mut reader: Reader) -> io::Result<Option<(Reader, Vec<u8>)>> {
    let read = async {
        let len = usize::from(reader.read_u16().await?);
        if len > limits::DNS_QUERY {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the query is too long"));
        }
        let mut packet = vec![0; len];
        reader.read_exact(&mut packet).await?;
        Ok(packet)
    };
    match timeout(limits::DNS_IDLE, read).await {
        Ok(Ok(packet)) => Ok(Some((reader, packet))),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Whether a whole query has arrived already.
fn has_message(reader: &Reader) -> bool {
    match reader.buffer() {
        [high, low, rest @ ..] => rest.len() >= usize::from(u16::from_be_bytes([*high, *low])),
        _ => false,
    }
}

async fn write(writer: &mut Writer, answer: &[u8]) -> io::Result<()> {
    let len = u16::try_from(answer.len()).map_err(io::Error::other)?;
    let written = async {
        writer.write_u16(len).await?;
        writer.write_all(answer).await
    };
    timeout(limits::DNS_IDLE, written).await?
}

async fn flush(writer: &mut Writer) -> io::Result<()> {
    timeout(limits::DNS_IDLE, writer.flush()).await?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Cluster;
    use crate::dns::counts::Counts;
    use crate::dns::forward::Forwarder;
    use crate::dns::staleness::Staleness;
    use crate::dns::{Config, Forward};
    use crate::model::NodeName;
    use crate::telemetry::Metrics;

    #[tokio::test]
    async fn one_source_has_so_many_connections_and_this_host_any_number() {
        let zone = Arc::new(Config::default().zone().unwrap());
        let front = Front {
            zone: zone.clone(),
            cluster: Cluster::solo(NodeName::new("n1").unwrap()),
            forwarder: Forwarder::new(&Forward::Off, &[]).unwrap(),
            counts: Counts::register(&Metrics::default()),
            staleness: Staleness::new(None),
            rate_limit: 0,
        };
        let answering = Mutex::new((Answerer::new(zone), SmallRng::seed_from_u64(1)));
        let desk = Arc::new(Desk { front, answering, sources: Mutex::default() });
        let from = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 1);
        let take = |ip: &str| Seat::take(&desk, from(ip));
        let mut seats: Vec<Seat> = Vec::new();
        seats.extend((0..limits::DNS_CONNECTIONS_OF_ONE).filter_map(|_| take("10.0.0.1")));
        assert_eq!(seats.len(), limits::DNS_CONNECTIONS_OF_ONE);
        assert!(take("10.0.0.1").is_none());
        assert!(take("::ffff:10.0.0.1").is_none());
        assert!(take("10.0.0.2").is_some());
        let local: Vec<Seat> =
            (0..=limits::DNS_CONNECTIONS_OF_ONE).filter_map(|_| take("127.0.0.1")).collect();
        assert_eq!(local.len(), limits::DNS_CONNECTIONS_OF_ONE + 1);
        assert_eq!(desk.front.counts.connections.get(), (seats.len() + local.len()) as i64);
        seats.pop();
        assert!(take("10.0.0.1").is_some());
        drop((seats, local));
        assert_eq!(desk.front.counts.connections.get(), 0);
        assert!(desk.sources.lock().unwrap().is_empty());
    }
}

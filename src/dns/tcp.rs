//! Answers over TCP: pipelined queries in order, a bound on connections, silence ends them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::lifecycle::{Backoff, Life};
use crate::model::limits;

use super::Front;
use super::answer::{Answerer, Channel, Verdict};

/// What all connections of a listener share.
struct Desk {
    front: Front,
    answering: Mutex<(Answerer, SmallRng)>,
}

pub async fn serve(front: Front, listener: TcpListener, life: Life) {
    let answerer = Answerer::new(front.zone.clone());
    let rng = SmallRng::seed_from_u64(rand::random());
    let desk = Arc::new(Desk { front, answering: Mutex::new((answerer, rng)) });
    let connections = Arc::new(Semaphore::new(limits::DNS_CONNECTIONS));
    let mut backoff = Backoff::new(limits::ACCEPT_RETRY.0, limits::ACCEPT_RETRY.1);
    loop {
        let accepted = life.shutdown.or(async {
            // Who comes when all places are taken waits until one is free; silence frees them.
            let place = connections.clone().acquire_owned().await;
            (place, listener.accept().await)
        });
        let Some((Ok(place), accepted)) = accepted.await else { return };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "dns: cannot accept a connection");
                tokio::time::sleep(backoff.next_delay()).await;
                continue;
            }
        };
        backoff.reset();
        let (desk, shutdown) = (desk.clone(), life.shutdown.clone());
        life.tasks.spawn("dns connection", async move {
            desk.front.counts.connections.inc();
            if let Some(Err(error)) = shutdown.or(desk.converse(stream)).await {
                tracing::debug!(%error, "dns: a connection ended early");
            }
            desk.front.counts.connections.dec();
            drop(place);
        });
    }
}

impl Desk {
    async fn converse(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        let (mut packet, mut out) = (Vec::new(), Vec::new());
        loop {
            // An idle or a slow client, and one that hangs up between messages, ends it.
            match timeout(limits::DNS_IDLE, read_message(&mut stream, &mut packet)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Ok(()),
            }
            match self.answer(&packet, &mut out) {
                // Nothing will come: a connection that carries what is no query is ended.
                Verdict::Silent => return Ok(()),
                Verdict::Answered { .. } => {}
                Verdict::Forward { .. } => {
                    if let Some(_place) = self.front.forwarder.admit() {
                        let refusal = std::mem::take(&mut out);
                        out = self.front.forwarder.over_tcp(&packet, refusal).await;
                    }
                }
            }
            let len = u16::try_from(out.len()).map_err(io::Error::other)?;
            let framed = [len.to_be_bytes().as_slice(), &out].concat();
            timeout(limits::DNS_IDLE, stream.write_all(&framed)).await??;
        }
    }

    fn answer(&self, packet: &[u8], out: &mut Vec<u8>) -> Verdict {
        let state = self.front.state();
        let mut answering = self.answering.lock().unwrap_or_else(PoisonError::into_inner);
        let (answerer, rng) = &mut *answering;
        let verdict = answerer.answer(packet, state.as_deref(), Channel::Tcp, rng, out);
        self.front.counts.count(verdict);
        verdict
    }
}

async fn read_message(stream: &mut BufReader<TcpStream>, packet: &mut Vec<u8>) -> io::Result<()> {
    let len = usize::from(stream.read_u16().await?);
    if len > limits::DNS_QUERY {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the query is too long"));
    }
    packet.resize(len, 0);
    stream.read_exact(packet).await?;
    Ok(())
}

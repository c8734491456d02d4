//! Answers datagrams: one task per worker and address, a burst at a time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::net::UdpSocket;

use crate::lifecycle::Life;
use crate::model::limits;
use crate::net::is_loopback;
use crate::state::State;

use super::Front;
use super::answer::{Answerer, Channel, Verdict};
use super::outbox::Outbox;

/// The largest payload of a datagram that an answer may use on loopback, as in Consul.
const MOST_LOCAL: usize = 65_467;
/// What passes the internet without fragments (DNS flag day 2020).
const MOST_REMOTE: usize = 1232;

/// Bursts without a pause: some milliseconds.
const BURSTS: usize = 16;

struct Worker {
    front: Front,
    socket: Arc<UdpSocket>,
    answerer: Answerer,
    rng: SmallRng,
    packet: Vec<u8>,
    outbox: Outbox,
}

pub async fn serve(front: Front, socket: UdpSocket, life: Life) {
    let mut worker = Worker {
        answerer: Answerer::new(front.zone.clone()),
        front,
        socket: Arc::new(socket),
        rng: SmallRng::seed_from_u64(rand::random()),
        packet: vec![0; limits::DNS_QUERY],
        outbox: Outbox::default(),
    };
    while let Some(ready) = life.shutdown.or(worker.socket.readable()).await {
        match ready.and_then(|()| worker.bursts(&life)) {
            Ok(Left::Nothing) => {}
            Ok(Left::Perhaps) => tokio::task::yield_now().await,
            // The socket's own errors (an unreachable client's ICMP) pass.
            Err(error) => tracing::debug!(%error, "dns: a datagram was lost"),
        }
    }
}

/// Whether datagrams may still wait.
#[derive(PartialEq, Eq)]
enum Left {
    Nothing,
    Perhaps,
}

impl Worker {
    /// Answers until nothing waits, or others should have their turn.
    fn bursts(&mut self, life: &Life) -> io::Result<Left> {
        for _ in 0..BURSTS {
            if self.burst(life)? == Left::Nothing {
                return Ok(Left::Nothing);
            }
        }
        Ok(Left::Perhaps)
    }

    /// Answers what has arrived, up to a bound, from one state.
    fn burst(&mut self, life: &Life) -> io::Result<Left> {
        let state = self.front.state();
        let mut result = Ok(Left::Perhaps);
        for _ in 0..limits::DNS_BATCH {
            match self.socket.try_recv_from(&mut self.packet) {
                Ok((len, from)) => self.answer(len, from, state.as_deref(), life),
                Err(error) => {
                    let nothing = error.kind() == io::ErrorKind::WouldBlock;
                    result = if nothing { Ok(Left::Nothing) } else { Err(error) };
                    break;
                }
            }
        }
        self.outbox.send(&self.socket);
        result
    }

    fn answer(&mut self, len: usize, from: SocketAddr, state: Option<&State>, life: &Life) {
        let most = if is_loopback(from) { MOST_LOCAL } else { MOST_REMOTE };
        let packet = self.packet.get(..len).unwrap_or_default();
        let out = self.outbox.buffer();
        let channel = Channel::Udp { most };
        let verdict = self.answerer.answer(packet, state, channel, &mut self.rng, out);
        self.front.counts.count(verdict);
        match verdict {
            Verdict::Silent => {}
            Verdict::Answered { .. } => self.outbox.address(from),
            Verdict::Forward { .. } => self.forward(len, from, life),
        }
    }

    /// Asks elsewhere, apart, so that our own names never wait for it.
    fn forward(&mut self, len: usize, from: SocketAddr, life: &Life) {
        let Some(permit) = self.front.forwarder.admit() else {
            return self.outbox.address(from);
        };
        let query = self.packet.get(..len).unwrap_or_default().to_vec();
        let (forwarder, socket) = (self.front.forwarder.clone(), self.socket.clone());
        let (refusal, shutdown) = (self.outbox.buffer().clone(), life.shutdown.clone());
        life.tasks.spawn("dns forward", async move {
            if let Some(answer) = shutdown.or(forwarder.over_udp(&query, refusal)).await
                && let Err(error) = socket.send_to(&answer, from).await
            {
                tracing::debug!(%error, to = %from, "dns: an answer was not sent");
            }
            drop(permit);
        });
    }
}

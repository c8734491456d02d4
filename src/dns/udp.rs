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

use super::Service;
use super::answer::{Answerer, Channel, Verdict};

/// The largest payload of a datagram that an answer may use on loopback, as in Consul.
const MOST_LOCAL: usize = 65_467;
/// What passes the internet without fragments (DNS flag day 2020).
const MOST_REMOTE: usize = 1232;

struct Worker {
    service: Service,
    socket: Arc<UdpSocket>,
    answerer: Answerer,
    rng: SmallRng,
    packet: Vec<u8>,
    out: Vec<u8>,
}

pub async fn serve(service: Service, socket: UdpSocket, life: Life) {
    let answerer = Answerer::new(service.zone.clone());
    let mut worker = Worker {
        service,
        socket: Arc::new(socket),
        answerer,
        rng: SmallRng::seed_from_u64(rand::random()),
        packet: vec![0; limits::DNS_MESSAGE],
        out: Vec::with_capacity(limits::DNS_MESSAGE),
    };
    while let Some(ready) = life.shutdown.or(worker.socket.readable()).await {
        if let Err(error) = ready.and_then(|()| worker.burst(&life)) {
            // The socket's own errors (an unreachable client's ICMP) pass.
            tracing::debug!(%error, "dns: a datagram was lost");
        }
        tokio::task::yield_now().await;
    }
}

impl Worker {
    /// Answers what has arrived, up to a bound, from one state.
    fn burst(&mut self, life: &Life) -> io::Result<()> {
        let state = self.service.state();
        for _ in 0..limits::DNS_BATCH {
            let (len, from) = match self.socket.try_recv_from(&mut self.packet) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let most = if is_loopback(from) { MOST_LOCAL } else { MOST_REMOTE };
            let packet = self.packet.get(..len).unwrap_or_default();
            let verdict = self.answerer.answer(
                packet,
                state.as_deref(),
                Channel::Udp { most },
                &mut self.rng,
                &mut self.out,
            );
            self.service.counts.count(verdict);
            match verdict {
                Verdict::Silent => {}
                Verdict::Answered { .. } => send(&self.socket, &self.out, from),
                Verdict::Forward { .. } => self.forward(len, from, life),
            }
        }
        Ok(())
    }

    /// Asks elsewhere, apart, so that our own names never wait for it.
    fn forward(&self, len: usize, from: SocketAddr, life: &Life) {
        let Some(permit) = self.service.forwarder.admit() else {
            return send(&self.socket, &self.out, from);
        };
        let query = self.packet.get(..len).unwrap_or_default().to_vec();
        let (forwarder, socket) = (self.service.forwarder.clone(), self.socket.clone());
        let (refusal, shutdown) = (self.out.clone(), life.shutdown.clone());
        life.tasks.spawn("dns forward", async move {
            if let Some(answer) = shutdown.or(forwarder.over_udp(&query, refusal)).await {
                send(&socket, &answer, from);
            }
            drop(permit);
        });
    }
}

/// A client that cannot be reached asks again.
fn send(socket: &UdpSocket, answer: &[u8], to: SocketAddr) {
    if let Err(error) = socket.try_send_to(answer, to) {
        tracing::debug!(%error, %to, "dns: an answer was not sent");
    }
}

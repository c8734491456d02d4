//! Answers datagrams: one task per worker and address, a burst at a time.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::net::UdpSocket;

use crate::cluster::OwnToken;
use crate::lifecycle::Life;
use crate::net::is_loopback;

use super::Front;
use super::answer::{Answerer, Channel, Knowledge, Verdict};
use super::inbox::{Arrival, Inbox};
use super::outbox::{self, Letter, Outbox};
use super::rates::Rates;

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
    rates: Rates,
    outbox: Outbox,
    started: Instant,
}

pub async fn serve(front: Front, socket: UdpSocket, life: Life) {
    let mut inbox = match Inbox::new(&socket) {
        Ok(inbox) => inbox,
        Err(error) => return tracing::error!(%error, "dns: a socket is of no use"),
    };
    let mut worker = Worker {
        answerer: Answerer::new(front.zone.clone()),
        rates: Rates::new(front.rate_limit, rand::random()),
        front,
        outbox: Outbox::new(&socket),
        socket: Arc::new(socket),
        rng: SmallRng::seed_from_u64(rand::random()),
        started: Instant::now(),
    };
    while let Some(ready) = life.shutdown.or(worker.socket.readable()).await {
        match ready.and_then(|()| worker.bursts(&mut inbox, &life)) {
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
    fn bursts(&mut self, inbox: &mut Inbox, life: &Life) -> io::Result<Left> {
        for _ in 0..BURSTS {
            match inbox.receive(&self.socket) {
                Ok(count) => self.burst(inbox, count, life),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Left::Nothing);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Left::Perhaps)
    }

    /// Answers what has arrived from one state.
    fn burst(&mut self, inbox: &Inbox, count: usize, life: &Life) {
        let state = self.front.cluster.snapshot();
        let knowledge = self.front.knowledge(&state);
        self.answerer.look_as(&state, || self.front.cluster.speaker(OwnToken::Dns));
        let now = self.started.elapsed();
        for (arrival, packet) in (0..count).filter_map(|nth| inbox.get(nth)) {
            let local = is_loopback(arrival.from);
            if local || self.rates.admit(arrival.from.ip(), now) {
                let most = if local { MOST_LOCAL } else { MOST_REMOTE };
                self.answer(packet, arrival, Channel::Udp { most }, knowledge, life);
            } else {
                self.front.counts.limited.inc();
                if Answerer::put_off(packet, self.outbox.buffer()) {
                    self.outbox.address(arrival.from, arrival.to);
                }
            }
        }
        self.outbox.send(&self.socket);
    }

    fn answer(
        &mut self,
        packet: &[u8],
        arrival: Arrival,
        channel: Channel,
        knowledge: Knowledge<'_>,
        life: &Life,
    ) {
        let out = self.outbox.buffer();
        let verdict = self.answerer.answer(packet, knowledge, channel, &mut self.rng, out);
        self.front.counts.count(verdict);
        match verdict {
            Verdict::Silent => {}
            Verdict::Answered { .. } => self.outbox.address(arrival.from, arrival.to),
            Verdict::Forward { .. } => self.ask(packet, arrival, channel, true, life),
            Verdict::Outside { .. } => self.ask(packet, arrival, channel, false, life),
        }
    }

    /// Asks elsewhere, apart, so that our own names never wait for it.
    fn ask(
        &mut self,
        packet: &[u8],
        arrival: Arrival,
        channel: Channel,
        foreign: bool,
        life: &Life,
    ) {
        let Some(permit) = self.front.forwarder.admit() else {
            return self.outbox.address(arrival.from, arrival.to);
        };
        let (forwarder, socket) = (self.front.forwarder.clone(), self.socket.clone());
        let (packet, shutdown) = (packet.to_vec(), life.shutdown.clone());
        let ours = self.outbox.buffer().clone();
        life.tasks.spawn("dns forward", async move {
            let asked = async {
                match foreign {
                    true => forwarder.tell(&packet, channel, ours).await,
                    false => forwarder.complete(&packet, channel, ours).await,
                }
            };
            if let Some(bytes) = shutdown.or(asked).await {
                outbox::send(&socket, &[&Letter { to: arrival.from, from: arrival.to, bytes }]);
            }
            drop(permit);
        });
    }
}

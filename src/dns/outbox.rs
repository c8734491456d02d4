//! Answers on their way out of a UDP worker: a burst leaves in as few system calls as it takes.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use rustix::net::addr::SocketAddrArg;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Filled during a burst, then sent; the buffers are used again.
#[derive(Default)]
pub struct Outbox {
    letters: Vec<Letter>,
    /// So many of the letters wait.
    waiting: usize,
}

struct Letter {
    to: SocketAddrAny,
    bytes: Vec<u8>,
}

impl Outbox {
    /// The buffer for the next answer. It counts only once it is addressed.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        if self.waiting == self.letters.len() {
            let to = SocketAddr::from(([0, 0, 0, 0], 0)).as_any();
            self.letters.push(Letter { to, bytes: Vec::new() });
        }
        match self.letters.get_mut(self.waiting) {
            Some(letter) => &mut letter.bytes,
            None => unreachable!("there is one more letter than waits"),
        }
    }

    /// Puts the answer in the buffer among those to be sent.
    pub fn address(&mut self, to: SocketAddr) {
        if let Some(letter) = self.letters.get_mut(self.waiting) {
            letter.to = to.as_any();
            self.waiting += 1;
        }
    }

    /// Sends what waits. What the socket does not take is lost: clients ask again.
    pub fn send(&mut self, socket: &UdpSocket) {
        let letters = self.letters.get(..self.waiting).unwrap_or_default();
        self.waiting = 0;
        let slices: Vec<[IoSlice<'_>; 1]> =
            letters.iter().map(|letter| [IoSlice::new(&letter.bytes)]).collect();
        let mut sent = 0;
        while sent < letters.len() {
            let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> =
                letters.iter().map(|_| SendAncillaryBuffer::default()).collect();
            let parts = letters.iter().zip(&slices).zip(&mut controls).skip(sent);
            let mut messages: Vec<MMsgHdr<'_>> = parts
                .map(|((letter, slice), control)| {
                    MMsgHdr::new_with_addr(&letter.to, slice, control)
                })
                .collect();
            let result = socket.try_io(Interest::WRITABLE, || {
                Ok(sendmmsg(socket, &mut messages, SendFlags::empty())?)
            });
            match result {
                Ok(count) => sent += count.max(1),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The first of them could not be sent, the others may.
                Err(error) => {
                    tracing::debug!(%error, "dns: an answer was not sent");
                    sent += 1;
                }
            }
        }
    }
}

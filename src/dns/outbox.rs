//! Answers on their way out of a UDP worker: a burst leaves in as few system calls as it takes.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd as _;

use nix::cmsg_space;
use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Filled during a burst, then sent; the buffers are used again.
#[derive(Default)]
pub struct Outbox {
    letters: Vec<Letter>,
    /// So many of the letters wait.
    waiting: usize,
}

pub struct Letter {
    pub to: SocketAddr,
    /// The address of ours that was asked, where the socket has many: the answer comes from it.
    pub from: Option<IpAddr>,
    pub bytes: Vec<u8>,
}

impl Outbox {
    /// The buffer for the next answer. It counts only once it is addressed.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        if self.waiting == self.letters.len() {
            let to = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
            self.letters.push(Letter { to, from: None, bytes: Vec::new() });
        }
        match self.letters.get_mut(self.waiting) {
            Some(letter) => &mut letter.bytes,
            None => unreachable!("there is one more letter than waits"),
        }
    }

    /// Puts the answer in the buffer among those to be sent.
    pub fn address(&mut self, to: SocketAddr, from: Option<IpAddr>) {
        if let Some(letter) = self.letters.get_mut(self.waiting) {
            letter.to = to;
            letter.from = from;
            self.waiting += 1;
        }
    }

    /// Sends what waits. What the socket does not take is lost: clients ask again.
    pub fn send(&mut self, socket: &UdpSocket) {
        let letters = self.letters.get(..self.waiting).unwrap_or_default();
        self.waiting = 0;
        letters.chunk_by(|a, b| a.from == b.from).for_each(|letters| send(socket, letters));
    }
}

/// Sends letters that come from one address.
pub fn send(socket: &UdpSocket, letters: &[Letter]) {
    let mut rest = letters;
    while let Some((_, others)) = rest.split_first() {
        match socket.try_io(Interest::WRITABLE, || send_some(socket, rest)) {
            Ok(count) => rest = rest.get(count.max(1)..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // The first of them could not be sent, the others may.
            Err(error) => {
                tracing::debug!(%error, "dns: an answer was not sent");
                rest = others;
            }
        }
    }
}

fn send_some(socket: &UdpSocket, letters: &[Letter]) -> io::Result<usize> {
    let slices: Vec<[IoSlice<'_>; 1]> =
        letters.iter().map(|letter| [IoSlice::new(&letter.bytes)]).collect();
    let to: Vec<Option<SockaddrStorage>> =
        letters.iter().map(|letter| Some(letter.to.into())).collect();
    let (v4, v6) = match letters.first().and_then(|letter| letter.from) {
        Some(IpAddr::V4(ip)) => (Some(from_v4(ip)), None),
        Some(IpAddr::V6(ip)) => (None, Some(from_v6(ip.octets()))),
        None => (None, None),
    };
    let v4 = v4.iter().map(ControlMessage::Ipv4PacketInfo);
    let controls: Vec<ControlMessage<'_>> =
        v4.chain(v6.iter().map(ControlMessage::Ipv6PacketInfo)).collect();
    let space = match controls.first() {
        Some(ControlMessage::Ipv4PacketInfo(_)) => Some(cmsg_space!(libc::in_pktinfo)),
        Some(_) => Some(cmsg_space!(libc::in6_pktinfo)),
        None => None,
    };
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(letters.len(), space);
    let flags = MsgFlags::MSG_DONTWAIT;
    let sent = sendmmsg(socket.as_raw_fd(), &mut headers, &slices, to, controls, flags)?;
    Ok(sent.count())
}

fn from_v4(ip: Ipv4Addr) -> libc::in_pktinfo {
    libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
        ipi_addr: libc::in_addr { s_addr: 0 },
    }
}

fn from_v6(octets: [u8; 16]) -> libc::in6_pktinfo {
    libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: octets }, ipi6_ifindex: 0 }
}

//! Queries on their way into a UDP worker: a burst arrives in one system call.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;

use nix::cmsg_space;
use nix::libc;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, setsockopt, sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::model::limits;

/// Datagrams that a quiet worker is ready for: it doubles with what arrives.
const FEW: usize = 4;

pub struct Inbox {
    packets: Vec<Box<[u8]>>,
    arrived: Vec<Arrival>,
    /// So many may arrive at once next time.
    ready_for: usize,
    /// The socket has many addresses: each datagram says to which it was sent.
    many: bool,
}

/// A datagram, whose bytes are in the buffer of the same number.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub len: usize,
    pub from: SocketAddr,
    /// The address of ours that it was sent to, where the socket has many.
    pub to: Option<IpAddr>,
}

impl Inbox {
    pub fn new(socket: &UdpSocket) -> io::Result<Inbox> {
        let local = socket.local_addr()?;
        let many = local.ip().is_unspecified();
        match local {
            SocketAddr::V4(_) if many => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
            SocketAddr::V6(_) if many => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
            _ => {}
        }
        Ok(Inbox { packets: Vec::new(), arrived: Vec::new(), ready_for: FEW, many })
    }

    /// Takes in what waits, up to a bound; how many there are. An error of the kind `WouldBlock`
    /// says that nothing did.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.arrived.clear();
        while self.packets.len() < self.ready_for {
            self.packets.push(vec![0; limits::DNS_QUERY].into());
        }
        let count = socket.try_io(Interest::READABLE, || self.take(socket))?;
        self.ready_for = (2 * count).clamp(FEW, limits::DNS_BATCH);
        Ok(count)
    }

    fn take(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let space = self.many.then(|| cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo));
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(self.ready_for, space);
        let packets = self.packets.iter_mut().take(self.ready_for);
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            packets.map(|packet| [IoSliceMut::new(packet)]).collect();
        let fd = socket.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        for message in recvmmsg(fd, &mut headers, slices.iter_mut(), flags, None)? {
            let to = match self.many {
                true => message.cmsgs().ok().and_then(|mut all| all.find_map(sent_to)),
                false => None,
            };
            // Without an address it cannot be answered: it counts, and holds nothing.
            let from = message.address.as_ref().and_then(address);
            let len = if from.is_some() { message.bytes } else { 0 };
            let from = from.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
            self.arrived.push(Arrival { len, from, to });
        }
        Ok(self.arrived.len())
    }

    /// The datagram of that number with its bytes.
    pub fn get(&self, nth: usize) -> Option<(Arrival, &[u8])> {
        let arrival = *self.arrived.get(nth)?;
        let packet = self.packets.get(nth)?.get(..arrival.len)?;
        Some((arrival, packet))
    }
}

fn sent_to(control: ControlMessageOwned) -> Option<IpAddr> {
    match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            Some(IpAddr::from(info.ipi_addr.s_addr.to_ne_bytes()))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(IpAddr::from(info.ipi6_addr.s6_addr)),
        _ => None,
    }
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|addr| SocketAddr::V4((*addr).into()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|addr| SocketAddr::V6((*addr).into())))
}

//! Answers on their way out of a UDP worker: a burst leaves in as few system calls as it takes, and
//! answers of one length to one client go through the kernel's network stack as one (UDP GSO).

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd as _;

use nix::cmsg_space;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, getsockopt, sendmmsg, sendmsg, sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Datagrams that the kernel cuts out of one, at most; newer ones cut more.
const SEGMENTS: usize = 64;
/// Bytes in all datagrams that are cut out of one: what an IP packet holds.
const TOGETHER: usize = 65_000;

/// Filled during a burst, then sent; the buffers are used again.
pub struct Outbox {
    letters: Vec<Letter>,
    /// So many of the letters wait.
    waiting: usize,
    /// The kernel cuts datagrams.
    cuts: bool,
}

pub struct Letter {
    pub to: SocketAddr,
    /// The address of ours that was asked, where the socket has many: the answer comes from it.
    pub from: Option<IpAddr>,
    pub bytes: Vec<u8>,
}

impl Outbox {
    pub fn new(socket: &UdpSocket) -> Outbox {
        // A kernel before 4.18 does not know the option, and would send all as one datagram.
        let cuts = getsockopt(socket, sockopt::UdpGsoSegment).is_ok();
        Outbox { letters: Vec::new(), waiting: 0, cuts }
    }

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
        let letters = self.letters.get_mut(..self.waiting).unwrap_or_default();
        self.waiting = 0;
        let mut apart: Vec<&Letter> = Vec::with_capacity(letters.len());
        if self.cuts && letters.len() > 1 {
            letters.sort_unstable_by_key(|letter| (letter.from, letter.to, letter.bytes.len()));
            for alike in letters.chunk_by(Letter::is_like) {
                let sent_at_once = |few: &&[Letter]| few.len() > 1 && together(socket, few);
                let rest = alike.chunks(most_of(alike)).filter(|few| !sent_at_once(few));
                apart.extend(rest.flatten());
            }
        } else {
            apart.extend(&*letters);
        }
        apart.chunk_by(|a, b| a.from == b.from).for_each(|letters| send(socket, letters));
    }
}

impl Letter {
    fn is_like(&self, other: &Letter) -> bool {
        (self.from, self.to, self.bytes.len()) == (other.from, other.to, other.bytes.len())
    }
}

/// How many of these, which are alike, the kernel takes at once.
fn most_of(alike: &[Letter]) -> usize {
    let len = alike.first().map_or(0, |letter| letter.bytes.len());
    (TOGETHER / len.max(1)).clamp(1, SEGMENTS)
}

/// Sends letters that are alike as one datagram, which the kernel cuts on its way. False: it does
/// not, as where a device's packets are shorter, or no device does it.
fn together(socket: &UdpSocket, alike: &[Letter]) -> bool {
    let Some(first) = alike.first() else { return true };
    let Ok(len) = u16::try_from(first.bytes.len()) else { return false };
    let slices: Vec<IoSlice<'_>> = alike.iter().map(|letter| IoSlice::new(&letter.bytes)).collect();
    let (v4, v6) = sources(first);
    let mut controls = vec![ControlMessage::UdpGsoSegments(&len)];
    controls.extend(v4.iter().map(ControlMessage::Ipv4PacketInfo));
    controls.extend(v6.iter().map(ControlMessage::Ipv6PacketInfo));
    let to = SockaddrStorage::from(first.to);
    let flags = MsgFlags::MSG_DONTWAIT;
    let sent = socket.try_io(Interest::WRITABLE, || {
        Ok(sendmsg(socket.as_raw_fd(), &slices, &controls, flags, Some(&to))?)
    });
    match sent {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

/// Sends letters that come from one address.
pub fn send(socket: &UdpSocket, letters: &[&Letter]) {
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

/// The address that a letter comes from, in the family's own shape.
fn sources(letter: &Letter) -> (Option<libc::in_pktinfo>, Option<libc::in6_pktinfo>) {
    match letter.from {
        Some(IpAddr::V4(ip)) => (Some(from_v4(ip)), None),
        Some(IpAddr::V6(ip)) => (None, Some(from_v6(ip.octets()))),
        None => (None, None),
    }
}

fn send_some(socket: &UdpSocket, letters: &[&Letter]) -> io::Result<usize> {
    let slices: Vec<[IoSlice<'_>; 1]> =
        letters.iter().map(|letter| [IoSlice::new(&letter.bytes)]).collect();
    let to: Vec<Option<SockaddrStorage>> =
        letters.iter().map(|letter| Some(letter.to.into())).collect();
    let (v4, v6) = letters.first().map_or((None, None), |letter| sources(letter));
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn bound(to: &str) -> UdpSocket {
        UdpSocket::bind(to).await.unwrap()
    }

    /// What has come to a client, in order of its content.
    async fn received(client: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let mut room = vec![0; 65_536];
        while all.len() < count {
            let come = timeout(Duration::from_secs(10), client.recv(&mut room)).await;
            let len = come.expect("an answer is missing").unwrap();
            all.push(room[..len].to_vec());
        }
        let more = client.try_recv(&mut room).map_err(|error| error.kind());
        assert_eq!(more, Err(io::ErrorKind::WouldBlock));
        all.sort();
        all
    }

    /// Each client gets what is addressed to it, datagram by datagram, whatever left together.
    async fn delivers(place: &str, from: Option<&str>, cuts: bool) {
        let host = from.unwrap_or(place);
        let server = bound(&format!("{place}:0")).await;
        let mut outbox = Outbox::new(&server);
        assert!(outbox.cuts, "this kernel is older than 4.18");
        outbox.cuts = cuts;
        let clients = [bound(&format!("{host}:0")).await, bound(&format!("{host}:0")).await];
        let mut wanted = [Vec::new(), Vec::new()];
        let sizes = [(0, 100, 70), (1, 100, 2), (0, 4000, 18), (1, 99, 1), (1, 1, 3)];
        for round in 0..2_u8 {
            for (client, size, count) in sizes {
                for nth in 0..count {
                    let mut answer = vec![nth + round; size];
                    answer[0] = nth;
                    outbox.buffer().clone_from(&answer);
                    let from = from.map(|ip| ip.trim_matches(['[', ']']).parse().unwrap());
                    outbox.address(clients[client].local_addr().unwrap(), from);
                    wanted[client].push(answer);
                }
            }
            server.writable().await.unwrap();
            outbox.send(&server);
            for (client, wanted) in clients.iter().zip(&mut wanted) {
                wanted.sort();
                assert_eq!(received(client, wanted.len()).await, *wanted, "{place} {cuts}");
                wanted.clear();
            }
        }
    }

    #[tokio::test]
    async fn answers_that_leave_together_come_apart() {
        for cuts in [true, false] {
            delivers("127.0.0.1", None, cuts).await;
            delivers("[::1]", None, cuts).await;
            delivers("0.0.0.0", Some("127.0.0.1"), cuts).await;
            delivers("[::]", Some("[::1]"), cuts).await;
        }
    }
}

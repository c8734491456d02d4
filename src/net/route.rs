//! Which address of this machine others should use.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// Connecting a UDP socket sends nothing; the kernel only picks a route, and with it a source. The
/// target is an address reserved for documentation (RFC 5737).
const ELSEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    #[error("this machine has no default route that would tell its address: {0}")]
    NoRoute(io::Error),
    #[error("cannot list the network interfaces: {0}")]
    List(io::Error),
    #[error("there is no interface {name:?} with an address; there are: {known}")]
    NoInterface { name: String, known: String },
}

/// The address from which this machine reaches others.
pub fn default_route_ip() -> Result<IpAddr, RouteError> {
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(ELSEWHERE)?;
        socket.local_addr()
    };
    ask().map(|addr| addr.ip()).map_err(RouteError::NoRoute)
}

/// The first address of an interface, IPv4 before IPv6.
pub fn interface_ip(name: &str) -> Result<IpAddr, RouteError> {
    let all = if_addrs::get_if_addrs().map_err(RouteError::List)?;
    let mut of_it: Vec<IpAddr> =
        all.iter().filter(|interface| interface.name == name).map(|i| i.ip()).collect();
    of_it.sort_by_key(IpAddr::is_ipv6);
    of_it.first().copied().ok_or_else(|| {
        let mut known: Vec<String> = all.into_iter().map(|interface| interface.name).collect();
        known.sort();
        known.dedup();
        RouteError::NoInterface { name: name.to_owned(), known: known.join(", ") }
    })
}

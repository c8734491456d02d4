//! Opens listening sockets, with errors that say which setting asked for them.

use std::fs::Permissions;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UdpSocket, UnixListener};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

#[derive(Debug, thiserror::Error)]
#[error("{setting}: cannot listen on {addr}: {}", explain(source))]
pub struct BindError {
    /// The key of the config that named the address, for example `dns.listen`.
    pub setting: String,
    pub addr: SocketAddr,
    pub source: io::Error,
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use by another program".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied: a port below 1024 needs the \
            capability CAP_NET_BIND_SERVICE"
            .to_owned(),
        _ => error.to_string(),
    }
}

/// A listening TCP socket.
pub fn bind_tcp(setting: &str, addr: SocketAddr) -> Result<TcpListener, BindError> {
    let open = || {
        let socket = open(addr, Type::STREAM, Protocol::TCP)?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    open().map_err(|source| BindError { setting: setting.to_owned(), addr, source })
}

#[derive(Debug, thiserror::Error)]
#[error("{setting}: cannot listen on unix:{}: {}", path.display(), explain_unix(source))]
pub struct UnixBindError {
    /// The key of the config that named the socket.
    pub setting: String,
    pub path: PathBuf,
    pub source: io::Error,
}

fn explain_unix(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there".to_owned(),
        io::ErrorKind::AlreadyExists => "something that is no socket has this name".to_owned(),
        io::ErrorKind::NotFound => "its directory is not there".to_owned(),
        _ => error.to_string(),
    }
}

/// A listening unix socket for the owner and the group of the process. A socket that an agent left
/// behind, and where nobody listens any more, is replaced.
pub fn bind_unix(setting: &str, path: &Path) -> Result<UnixListener, UnixBindError> {
    let open = || {
        clear(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        // Before it listens, so that nobody else is ever let in.
        std::fs::set_permissions(path, Permissions::from_mode(0o660))?;
        socket.listen(BACKLOG)?;
        UnixListener::from_std(socket.into())
    };
    open().map_err(|source| UnixBindError {
        setting: setting.to_owned(),
        path: path.to_owned(),
        source,
    })
}

fn clear(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// What arrives while nobody reads, in bytes of the kernel's count: a datagram takes 768 at least.
const UDP_BACKLOG: usize = 1024 * 1024;

/// A UDP socket. With `share` several workers may bind the same address (SO_REUSEPORT).
pub fn bind_udp(setting: &str, addr: SocketAddr, share: bool) -> Result<UdpSocket, BindError> {
    let open = || {
        let socket = open(addr, Type::DGRAM, Protocol::UDP)?;
        socket.set_reuse_port(share)?;
        // As much of it as the system's limit allows; who may raise that limit gets it all.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, UDP_BACKLOG).is_err() {
            socket.set_recv_buffer_size(UDP_BACKLOG)?;
        }
        socket.bind(&addr.into())?;
        UdpSocket::from_std(socket.into())
    };
    open().map_err(|source| BindError { setting: setting.to_owned(), addr, source })
}

fn open(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Whether only this host can reach the address.
pub fn is_loopback(addr: SocketAddr) -> bool {
    match addr.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback())
        }
    }
}

//! What agents reach each other over: the seam that a simulated network replaces.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use super::bind::{BindError, bind_tcp};
use super::resolve::{ResolveError, resolve};

/// After this much silence the kernel asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// One connection: bytes in order, both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

pub type Connection = Box<dyn ByteStream>;

/// Where connections of other agents arrive.
pub trait Arrivals: Send + 'static {
    fn local_addr(&self) -> io::Result<SocketAddr>;
    /// The next connection and where it comes from. May be dropped and called again.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Connection, SocketAddr)>>;
}

/// Connects agents.
pub trait Fabric: Send + Sync + 'static {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'static, io::Result<Connection>>;
    /// Listens at `at`, which the config's key `setting` named.
    fn listen(&self, setting: &str, at: SocketAddr) -> Result<Box<dyn Arrivals>, BindError>;
    /// All addresses of `host:port`, asked for anew at every call.
    fn resolve(&self, name: &str) -> BoxFuture<'static, Result<Vec<SocketAddr>, ResolveError>>;
}

/// The network of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Fabric for Tcp {
    fn connect(&self, to: SocketAddr) -> BoxFuture<'static, io::Result<Connection>> {
        async move { tuned(TcpStream::connect(to).await?) }.boxed()
    }

    fn listen(&self, setting: &str, at: SocketAddr) -> Result<Box<dyn Arrivals>, BindError> {
        Ok(Box::new(bind_tcp(setting, at)?))
    }

    fn resolve(&self, name: &str) -> BoxFuture<'static, Result<Vec<SocketAddr>, ResolveError>> {
        let name = name.to_owned();
        async move { resolve(&name).await }.boxed()
    }
}

impl Arrivals for TcpListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Connection, SocketAddr)>> {
        async move {
            let (stream, from) = TcpListener::accept(self).await?;
            Ok((tuned(stream)?, from))
        }
        .boxed()
    }
}

fn tuned(stream: TcpStream) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(Box::new(stream))
}

//! Where connections of HTTP clients arrive: TCP in the clear or under TLS, or a unix socket.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::net::Connection;

use super::names::ClientName;
use super::secure::{HandshakeError, ServerTls};

/// A listener, and what is agreed on with each client before HTTP.
pub enum Door {
    Plain(TcpListener),
    Secure(TcpListener, ServerTls),
    Unix(UnixDoor),
}

/// A listening unix socket; its file goes with it.
pub struct UnixDoor {
    listener: UnixListener,
    path: PathBuf,
}

impl UnixDoor {
    pub fn new(listener: UnixListener, path: PathBuf) -> UnixDoor {
        UnixDoor { listener, path }
    }
}

impl Drop for UnixDoor {
    fn drop(&mut self) {
        // The next agent removes what is left, too.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Somebody at the door; nothing has been said yet.
pub(super) enum Visitor {
    Plain(TcpStream),
    Secure(TcpStream, ServerTls),
    Unix(UnixStream),
}

impl Door {
    pub(super) async fn accept(&self) -> io::Result<Visitor> {
        let tcp = match self {
            Door::Plain(listener) | Door::Secure(listener, _) => listener.accept().await?.0,
            Door::Unix(door) => return Ok(Visitor::Unix(door.listener.accept().await?.0)),
        };
        ready(&tcp);
        Ok(match self {
            Door::Secure(_, tls) => Visitor::Secure(tcp, tls.clone()),
            _ => Visitor::Plain(tcp),
        })
    }
}

impl Visitor {
    /// The connection that HTTP is spoken over, and the client's name if it proved one.
    pub(super) async fn greet(self) -> Result<(Connection, Option<ClientName>), HandshakeError> {
        Ok(match self {
            Visitor::Plain(stream) => (Box::new(stream), None),
            Visitor::Unix(stream) => (Box::new(stream), None),
            Visitor::Secure(stream, tls) => {
                let (stream, name) = tls.accept(stream).await?;
                (Box::new(stream), name)
            }
        })
    }
}

fn ready(stream: &TcpStream) {
    // Answers are small and complete. Where it fails the peer is gone, which the first read says.
    let _ = stream.set_nodelay(true);
    let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(60));
    let _ = socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

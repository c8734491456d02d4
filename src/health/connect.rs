//! Connects to an app, and says why it cannot in the words that Consul's users know.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::model::TlsTarget;
use crate::net::pki_types::ServerName;
use crate::net::{self, Trust, client_tls, words};

/// What a UDP probe sends; nobody has to understand it.
const HELLO: &[u8] = b"remora health check\n";
/// How much of its time a UDP probe waits for somebody to object.
const OBJECTION: f64 = 0.9;

pub(super) async fn tcp(address: &str) -> Result<TcpStream, String> {
    let found = resolve(address).await?;
    let mut why = String::new();
    for to in found {
        match TcpStream::connect(to).await {
            Ok(stream) => return Ok(stream),
            Err(error) => why = format!("dial tcp {to}: connect: {}", words(&error)),
        }
    }
    Err(why)
}

/// A reply is as good as none: only who says that nobody listens there is believed.
pub(super) async fn udp(address: &str, timeout: Duration) -> Result<(), String> {
    let to = *resolve(address).await?.first().ok_or("the name has no address")?;
    let failed = |error: io::Error| format!("dial udp {to}: connect: {}", words(&error));
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await.map_err(failed)?;
    socket.connect(to).await.map_err(failed)?;
    socket.send(HELLO).await.map_err(failed)?;
    let mut reply = [0; 1];
    match tokio::time::timeout(timeout.mul_f64(OBJECTION), socket.recv(&mut reply)).await {
        Ok(Ok(_)) | Err(_) => Ok(()),
        Ok(Err(error)) => Err(format!("read udp {to}: read: {}", words(&error))),
    }
}

async fn resolve(address: &str) -> Result<Vec<SocketAddr>, String> {
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none() {
        return Err(format!("dial tcp: address {address}: missing port in address"));
    }
    let found = net::resolve(address).await.map_err(|error| format!("dial tcp: {error}"))?;
    match found.is_empty() {
        true => Err(format!("dial tcp: lookup {address}: no such host")),
        false => Ok(found),
    }
}

/// TLS towards apps: with the system's authorities, and for those who look at no certificate.
#[derive(Clone)]
pub(super) struct Tls {
    verifying: Arc<ClientConfig>,
    trusting: Arc<ClientConfig>,
}

impl Tls {
    pub(super) fn new() -> Result<Tls, rustls::Error> {
        let config = |trust| client_tls(trust).map(Arc::new);
        Ok(Tls { verifying: config(Trust::System)?, trusting: config(Trust::Anything)? })
    }

    pub(super) fn config(&self, skip_verify: bool) -> &Arc<ClientConfig> {
        if skip_verify { &self.trusting } else { &self.verifying }
    }

    /// A connection whose handshake is over; `protocols` are offered as ALPN.
    pub(super) async fn connect(
        &self,
        address: &str,
        target: &TlsTarget,
        protocols: &[&[u8]],
    ) -> Result<TlsStream<TcpStream>, String> {
        let mut config = (**self.config(target.skip_verify)).clone();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = target.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|error| format!("tls: {error}"))?;
        let stream = tcp(address).await?;
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.map_err(|error| format!("tls: {error}"))
    }
}

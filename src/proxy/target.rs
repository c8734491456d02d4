//! One instance as the balancer knows it: where it is, how it does, its idle connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::balance::{Load, Member};
use crate::model::Endpoint;

use super::pool::Pool;

/// Lives as long as the instance is in the set, whatever else changes in it, and as long as
/// something is under way to it.
pub(super) struct Target {
    pub endpoint: Endpoint,
    pub load: Arc<Load>,
    pub pool: Pool,
}

/// A target in one set; its weight may differ in the next.
pub(super) struct Choice {
    pub target: Arc<Target>,
    pub weight: u16,
}

impl Member for Choice {
    fn weight(&self) -> u16 {
        self.weight
    }

    fn load(&self) -> &Load {
        &self.target.load
    }
}

impl Target {
    pub(super) fn new(endpoint: Endpoint) -> Target {
        Target { endpoint, load: Arc::default(), pool: Pool::default() }
    }

    /// Whether the endpoint is this one, its weight aside.
    pub(super) fn is_at(&self, endpoint: &Endpoint) -> bool {
        Endpoint { weight: endpoint.weight, ..self.endpoint.clone() } == *endpoint
    }

    /// `host:port`, for people.
    pub(super) fn address(&self) -> String {
        match self.endpoint.ip() {
            Some(ip) => SocketAddr::new(ip, self.endpoint.port).to_string(),
            None => format!("{}:{}", self.endpoint.host, self.endpoint.port),
        }
    }

    /// Resolves and connects; the error is for people.
    pub(super) async fn connect(&self, within: Duration) -> Result<TcpStream, String> {
        let connecting = async {
            match self.endpoint.ip() {
                Some(ip) => TcpStream::connect((ip, self.endpoint.port)).await,
                None => TcpStream::connect((&*self.endpoint.host, self.endpoint.port)).await,
            }
        };
        match timeout(within, connecting).await {
            Ok(Ok(stream)) => {
                // Only a latency is lost where the option cannot be set.
                let _ = stream.set_nodelay(true);
                Ok(stream)
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no connection within {within:?}")),
        }
    }
}

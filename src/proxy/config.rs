//! What the balancer is told: which service is reached through which local listener, and how.

use std::net::SocketAddr;
use std::time::Duration;

use crate::balance::Policy;
use crate::model::limits;

#[derive(Debug, Clone, Default)]
pub struct Config {
    pub upstreams: Vec<Upstream>,
}

/// One local listener in front of a service's healthy instances.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub service: String,
    /// Only instances with this tag.
    pub tag: Option<String>,
    pub listen: SocketAddr,
    pub protocol: Protocol,
    pub balance: Policy,
    /// Said explicitly by whoever wants a plain listener beyond loopback.
    pub insecure: bool,
    /// Clients that may be connected at once.
    pub connections: usize,
    pub timeouts: Timeouts,
}

impl Upstream {
    pub fn new(service: &str, listen: SocketAddr, protocol: Protocol) -> Upstream {
        Upstream {
            service: service.to_owned(),
            tag: None,
            listen,
            protocol,
            balance: Policy::default(),
            insecure: false,
            connections: limits::CONNECTIONS,
            timeouts: Timeouts::default(),
        }
    }

    /// How logs and answers name it: the service, or `tag.service`.
    pub fn label(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{tag}.{}", self.service),
            None => self.service.clone(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    #[default]
    Tcp,
    Http,
}

/// How long each step of a request or a connection may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To resolve an instance's host and connect to it; each try has its own.
    pub connect: Duration,
    /// Without a sign of a response's headers, once nothing more of the request comes.
    pub response: Duration,
    /// Between two bytes, in either direction, of a connection that is in use.
    pub idle: Duration,
    /// Until a client has sent a request's headers; enforced within twice this time.
    pub head: Duration,
    /// Until a client sends its next request on the same connection.
    pub keep_alive: Duration,
    /// How long a connection to an instance waits for its next request.
    pub pool_idle: Duration,
    /// What is under way when the agent stops has this long to end.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(2),
            response: Duration::from_secs(60),
            idle: Duration::from_secs(300),
            head: limits::HTTP_HEADER_TIMEOUT,
            keep_alive: Duration::from_secs(75),
            pool_idle: Duration::from_secs(30),
            drain: Duration::from_secs(5),
        }
    }
}

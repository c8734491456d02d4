//! Says whether who is behind an address belongs to this agent's cluster.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::net::peer::{Links, Purpose};
use crate::net::words;

use super::Cluster;
use super::desk::Desk;
use super::entrance;

/// Who was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquaintance {
    /// One of this cluster, or this agent itself.
    Member,
    /// The name leads nowhere.
    Nowhere,
    /// Nobody takes the connection; why.
    Unreachable(SocketAddr, String),
    /// Somebody else.
    Stranger(String),
}

/// What it takes to introduce oneself.
pub(super) struct Greeter {
    pub links: Links,
    pub desk: Arc<Desk>,
}

impl Cluster {
    /// Looks who is at `host:port`. Changes nothing: agents are admitted as their own config says.
    pub async fn meet(&self, name: &str) -> Acquaintance {
        let Some(greeter) = self.threshold.greeter() else {
            return Acquaintance::Stranger("this agent talks to no others".to_owned());
        };
        let addrs = greeter.links.resolve(name).await.unwrap_or_default();
        let own = self.snapshot().identity().cluster;
        let mut last = Acquaintance::Nowhere;
        for addr in addrs {
            last = greeter.greet(addr, own).await;
            if last == Acquaintance::Member {
                break;
            }
        }
        last
    }
}

impl Greeter {
    async fn greet(&self, addr: SocketAddr, own: u128) -> Acquaintance {
        let me = self.desk.introduction();
        // Without a certificate it does not answer itself.
        if addr == me.addr {
            return Acquaintance::Member;
        }
        let mut exchange = match self.links.exchange(addr, Purpose::Entrance).await {
            Ok(exchange) => exchange,
            Err(error) if error.raw_os_error().is_some() => {
                return Acquaintance::Unreachable(addr, words(&error));
            }
            Err(error) => return Acquaintance::Stranger(format!("{addr}: {error}")),
        };
        let stranger = |why: &str| Acquaintance::Stranger(format!("{addr} {why}"));
        match entrance::ask_who(&mut exchange, addr, &me).await {
            Err(why) => Acquaintance::Stranger(why),
            Ok(other) if other.run == me.run => Acquaintance::Member,
            Ok(other) if other.cluster == 0 => stranger("belongs to no cluster yet"),
            Ok(_) if own == 0 => stranger(
                "has a cluster and this agent has none yet: it joins through `cluster.join` of its \
                 config",
            ),
            Ok(other) if other.cluster == own => Acquaintance::Member,
            Ok(_) => stranger("belongs to another cluster"),
        }
    }
}

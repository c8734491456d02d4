//! Turns `host:port` into addresses, asking anew at every call: names move.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hickory_resolver::TokioResolver;
use tokio::time::timeout;

use crate::model::limits;

/// The name cannot be turned into an address now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot be resolved: {why}")]
pub struct ResolveError {
    pub name: String,
    pub why: String,
}

/// All addresses of `host:port`; an IP address is its own answer.
pub async fn resolve(name: &str) -> Result<Vec<SocketAddr>, ResolveError> {
    let failed = |why: String| ResolveError { name: name.to_owned(), why };
    if let Ok(addr) = name.parse() {
        return Ok(vec![addr]);
    }
    let (host, port) =
        name.rsplit_once(':').ok_or_else(|| failed("it has no port: use host:port".to_owned()))?;
    let port: u16 = port.parse().map_err(|_| failed(format!("{port:?} is no port")))?;
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]);
    }
    let resolver = TokioResolver::builder_tokio()
        .and_then(|builder| builder.build())
        .map_err(|error| failed(error.to_string()))?;
    let answer = timeout(limits::RESOLVE, resolver.lookup_ip(host))
        .await
        .map_err(|_| failed(format!("no answer within {:?}", limits::RESOLVE)))?
        .map_err(|error| failed(error.to_string()))?;
    Ok(answer.iter().map(|ip: IpAddr| SocketAddr::new(ip, port)).collect())
}

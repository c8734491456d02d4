//! Looks behind the names in `join`.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;

use crate::net::peer::{Exchange, Links, Purpose};

use super::asks::{self, Ask, Introduction, Reply};
use super::founding::Met;

/// How long an agent may take to say who it is.
const WHO: Duration = Duration::from_secs(1);

/// Who is at `addr`, told who asks.
pub(super) async fn who(
    links: &Links,
    addr: SocketAddr,
    me: &Introduction,
) -> Result<Introduction, String> {
    let ask = asks::encode(&Ask::Who(me.clone()));
    let answer = links.call(addr, Purpose::Door, ask, WHO).await.map_err(|e| e.to_string())?;
    introduction(addr, &answer)
}

/// The same of one that may belong to no cluster yet, or to another, or be a stranger to us.
async fn who_is(
    links: &Links,
    addr: SocketAddr,
    me: &Introduction,
) -> Result<Introduction, String> {
    // On a connection of its own: who this agent shows itself to be may change.
    let lost = |error: std::io::Error| format!("{addr}: {error}");
    let mut exchange = links.exchange(addr, Purpose::Entrance).await.map_err(lost)?;
    ask_who(&mut exchange, addr, me).await
}

/// Who is at the other end of a connection to `addr`.
pub(super) async fn ask_who(
    exchange: &mut Exchange,
    addr: SocketAddr,
    me: &Introduction,
) -> Result<Introduction, String> {
    let ask = asks::encode(&Ask::Who(me.clone()));
    let answer = exchange.call(ask, WHO).await.map_err(|error| error.to_string())?;
    introduction(addr, &answer)
}

fn introduction(addr: SocketAddr, answer: &[u8]) -> Result<Introduction, String> {
    match asks::decode(answer) {
        Ok(Reply::Who(introduction)) => Ok(introduction),
        Ok(_) | Err(_) => Err(format!("{addr} does not say who it is")),
    }
}

/// Whoever is behind the names now.
pub(super) async fn look(links: &Links, join: &[String], me: &Introduction) -> Vec<Met> {
    join_all(join.iter().map(|name| look_at(links, name, me))).await.into_iter().flatten().collect()
}

async fn look_at(links: &Links, name: &str, me: &Introduction) -> Vec<Met> {
    let addrs = match links.resolve(name).await {
        Ok(addrs) if addrs.is_empty() => return vec![Met::Nobody(format!("{name} is nowhere"))],
        Ok(addrs) => addrs,
        Err(error) => return vec![Met::Nobody(error.to_string())],
    };
    // Nobody else is where this agent is, and without a certificate it does not answer.
    let myself = addrs.contains(&me.addr).then_some(Met::Myself);
    let others = addrs.into_iter().filter(|addr| *addr != me.addr);
    let met = others.map(async |addr| match who_is(links, addr, me).await {
        Ok(other) if other.run == me.run => Met::Myself,
        Ok(other) if other.cluster == 0 => Met::Newcomer(addr, other.candidate),
        Ok(other) => Met::Member(addr, other),
        Err(why) => Met::Nobody(why),
    });
    join_all(met).await.into_iter().chain(myself).collect()
}

/// Why a try to be let in failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rejection {
    /// It may go better soon. Asking again is safe: `Admit` is idempotent on the nonce.
    NotYet(String),
    /// The cluster has decided against it.
    Refused(String),
}

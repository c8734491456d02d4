//! `/v1/agent`: join, leave, force-leave and reload, of an agent or a member as a whole.

use http::StatusCode;

use crate::cluster::{Acquaintance, Operation};
use crate::consul::answer;
use crate::consul::call::{Answer, Call};
use crate::consul::error::Failure;
use crate::consul::operator::failed;
use crate::consul::params;
use crate::lifecycle::Order;
use crate::model::Role;
use crate::state::{CatalogOp, Command};

/// Where agents listen for each other, where an address has no port.
const PEER: u16 = 8300;

pub async fn leave(call: Call<'_>) -> Answer {
    ordered(&call, Order::Leave).await
}

pub async fn reload(call: Call<'_>) -> Answer {
    ordered(&call, Order::Reload).await
}

async fn ordered(call: &Call<'_>, order: Order) -> Answer {
    match call.front.orders.give(order).await {
        Ok(()) => Ok(answer::empty(StatusCode::OK)),
        Err(why) => Err(Failure::internal(why)),
    }
}

/// Servers are admitted, and edges follow, by themselves: what is left to do is to say whether
/// who is there belongs to the same cluster.
pub async fn join(call: Call<'_>) -> Answer {
    let asked = call.name();
    let error = |text: String| Failure::internal(format!("1 error occurred:\n\t* {text}\n\n"));
    let (host, port) = match asked.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host.to_owned(), port.to_owned()),
        _ => (asked.to_string(), PEER.to_string()),
    };
    let nowhere = || error(format!("Failed to resolve {host}: lookup {host}: no such host"));
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(nowhere());
    }
    let failed = |why: String| error(format!("Failed to join {host}: {why}"));
    match call.front.cluster.meet(&format!("{host}:{port}")).await {
        Acquaintance::Member => Ok(answer::empty(StatusCode::OK)),
        Acquaintance::Nowhere => Err(nowhere()),
        Acquaintance::Unreachable(addr, why) => {
            Err(failed(format!("dial tcp {addr}: connect: {why}")))
        }
        Acquaintance::Stranger(why) => Err(failed(why)),
    }
}

/// Takes a member that is gone out of the catalog; with `prune` out of the cluster, too. One that
/// lives says so: it stays, as with Consul.
pub async fn force_leave(call: Call<'_>) -> Answer {
    params::no_namespace(&call.params)?;
    let name = call.name();
    let cluster = &call.front.cluster;
    let state = cluster.snapshot();
    let Some(member) = state.member_named(&name).cloned() else {
        return Err(Failure::internal(format!("agent: No node found with name '{name}'")));
    };
    let node = member.name.folded();
    let known = state.node(node.as_str()).is_some();
    let lives = known && !state.is_silent(&node);
    if lives {
        return Ok(answer::empty(StatusCode::OK));
    }
    let prune = call.params.has("prune");
    if member.role == Role::Server {
        cluster.operate(Operation::RemoveServer(member.id)).await.map_err(failed)?;
    } else if prune {
        cluster.revoke(member.name.as_str()).await.map_err(failed)?;
    } else if known {
        let gone = Command::Catalog(vec![CatalogOp::RemoveNode(node)]);
        cluster.decide(gone).await.map_err(failed)?;
    }
    Ok(answer::empty(StatusCode::OK))
}

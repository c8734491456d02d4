//! Looks behind the names in `join`, and asks to be let in.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;

use crate::identity::Admitted;
use crate::model::limits;
use crate::net::peer::{CallError, Links, Purpose};
use crate::state::{Admission, Command, Outcome};

use super::asks::{self, Ask, Introduction, Reach, Reply};
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
    match asks::decode(&answer) {
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
    let met = addrs.into_iter().map(async |addr| match who(links, addr, me).await {
        Ok(other) if other.run == me.run => Met::Myself,
        Ok(other) if other.cluster == 0 => Met::Newcomer(addr, other.candidate),
        Ok(other) => Met::Member(addr, other),
        Err(why) => Met::Nobody(why),
    });
    join_all(met).await
}

/// Why a try to be let in failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rejection {
    /// It may go better soon. Asking again is safe: `Admit` is idempotent on the nonce.
    NotYet(String),
    /// The cluster has decided against it.
    Refused(String),
}

/// Asks the member at `addr` to have this agent admitted.
pub(super) async fn ask_in(
    links: &Links,
    addr: SocketAddr,
    admission: &Admission,
) -> Result<Admitted, Rejection> {
    let command = Command::Admit(admission.clone());
    let ask = asks::encode(&Ask::Propose { command, reach: Reach::Cluster });
    let within = limits::LEADER_PATIENCE + limits::LEADER_PATIENCE;
    let answer = links.call(addr, Purpose::Door, ask, within).await.map_err(|error| {
        let (CallError::NotSent(why) | CallError::Lost(why)) = error;
        Rejection::NotYet(why)
    })?;
    match asks::decode(&answer) {
        Ok(Reply::Proposed { outcome: Outcome::Admitted { id, cluster }, .. }) => {
            Ok(Admitted { cluster, node: id, founder: false })
        }
        Ok(Reply::Proposed { outcome: Outcome::Refused(refusal), .. }) => {
            Err(Rejection::Refused(refusal.to_string()))
        }
        Ok(Reply::Failed(error)) => Err(Rejection::NotYet(error.to_string())),
        Ok(_) | Err(_) => Err(Rejection::NotYet(format!("{addr} gave an odd answer"))),
    }
}

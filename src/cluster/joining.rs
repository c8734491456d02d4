//! Asks to be let in, with a join token, and for a new certificate, with the old one.

use std::net::SocketAddr;
use std::time::Duration;

use crate::identity::{Admitted, Authority, IdentityError, prove};
use crate::model::{Role, limits};
use crate::net::peer::{CallError, Exchange, Links, Purpose};
use crate::state::Admission;

use super::asks::{self, Ask, Petition, Reply, Welcome};
use super::badge::{Badge, Place};
use super::entrance::Rejection;

/// How long a server may take to let an agent in: it waits for a leader, looks whether another
/// bears the name, and waits for the leader again.
const ADMISSION: Duration =
    limits::LEADER_PATIENCE.saturating_mul(3).saturating_add(Duration::from_secs(5));
const RENEWAL: Duration = Duration::from_secs(5);

fn not_yet(error: CallError) -> Rejection {
    let (CallError::NotSent(why) | CallError::Lost(why)) = error;
    Rejection::NotYet(why)
}

impl From<IdentityError> for Rejection {
    fn from(error: IdentityError) -> Rejection {
        Rejection::Refused(error.to_string())
    }
}

async fn ask(exchange: &mut Exchange, ask: &Ask, within: Duration) -> Result<Reply, Rejection> {
    let answer = exchange.call(asks::encode(ask), within).await.map_err(not_yet)?;
    asks::decode(&answer).map_err(|_| Rejection::NotYet("an odd answer".to_owned()))
}

/// Asks the server at `addr` to have this agent admitted. Everything that the answer brings is
/// durable when this returns. Nothing is sent before the server has shown that it is of the
/// cluster that the token names.
pub(super) async fn ask_in(
    badge: &Badge,
    links: &Links,
    addr: SocketAddr,
    admission: &Admission,
) -> Result<Admitted, Rejection> {
    let Some(token) = badge.token() else {
        return Err(Rejection::Refused("without a join token nobody is let in".to_owned()));
    };
    let lost = |error: std::io::Error| Rejection::NotYet(format!("{addr}: {error}"));
    let mut exchange = links.exchange(addr, Purpose::Entrance).await.map_err(lost)?;
    let (request, spki) = badge.request()?;
    let proof = prove(&token.key()?, &exchange.caller.binding, &spki)?;
    let (admission, role) = (admission.clone(), admission.role);
    let petition = Box::new(Petition { token: token.id(), request, admission, proof });
    match ask(&mut exchange, &Ask::Join(petition), ADMISSION).await? {
        Reply::Joined(welcome) => take(badge, role, *welcome),
        Reply::Denied(why) => Err(Rejection::Refused(why)),
        Reply::Failed(error) => Err(Rejection::NotYet(error.to_string())),
        _ => Err(Rejection::NotYet(format!("{addr} gave an odd answer"))),
    }
}

fn take(badge: &Badge, role: Role, welcome: Welcome) -> Result<Admitted, Rejection> {
    let Welcome { id, cluster, chain, authority } = welcome;
    let authority = match authority {
        Some(bundle) => Some(Authority::from_bundle(&bundle)?),
        None => None,
    };
    badge.take_place(Place { cluster, id, role, chain, authority })?;
    Ok(Admitted { cluster, node: id, founder: false })
}

/// Asks the server at `addr` for a new certificate of this member's key.
pub(super) async fn ask_anew(
    badge: &Badge,
    links: &Links,
    addr: SocketAddr,
) -> Result<(), Rejection> {
    let lost = |error: std::io::Error| Rejection::NotYet(format!("{addr}: {error}"));
    let mut exchange = links.exchange(addr, Purpose::Entrance).await.map_err(lost)?;
    let (request, _) = badge.request()?;
    match ask(&mut exchange, &Ask::Renew { request }, RENEWAL).await? {
        Reply::Renewed(chain) => Ok(badge.renew(chain)?),
        Reply::Denied(why) => Err(Rejection::Refused(why)),
        _ => Err(Rejection::NotYet(format!("{addr} gave an odd answer"))),
    }
}

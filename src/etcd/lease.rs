//! Leases in etcd's terms.

use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use rand::RngExt as _;

use crate::access::Need;
use crate::cluster::{Alive, Beat, Consistency};
use crate::lifecycle::chance::Dice;
use crate::model::{LeaseId, limits};
use crate::state::{Command, KeyRight, Refusal};

use super::error::{Code, Failure};
use super::gate::Visit;
use super::kv::{header, header_now, propose};
use super::proto::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};

/// How often a new id is drawn while the one before is taken.
const DRAWS: usize = 8;

/// What is shorter lives as long as this.
fn granted(seconds: i64) -> Result<Duration, Failure> {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    if seconds > limits::LEASE_TTL_MAX.as_secs() {
        return Err(Failure::new(Code::OutOfRange, "etcdserver: too large lease TTL"));
    }
    Ok(Duration::from_secs(seconds).max(limits::LEASE_TTL_MIN))
}

/// Whole seconds, of which the last counts until it is over.
fn seconds(left: Duration) -> i64 {
    let whole = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    super::kv::count(whole)
}

/// Under the id that the caller names, or one that nobody has.
pub(super) async fn grant(
    visit: Visit,
    request: LeaseGrantRequest,
) -> Result<LeaseGrantResponse, Failure> {
    let ttl = granted(request.ttl)?;
    let mut draws = if request.id == 0 { DRAWS } else { 1 };
    loop {
        draws -= 1;
        let id = match request.id {
            0 => LeaseId(Dice.random_range(1..=i64::MAX)),
            id => LeaseId(id),
        };
        match propose(&visit, Command::LeaseGrant { id, ttl }).await {
            Err(taken) if draws > 0 && taken == Refusal::LeaseExists(id).into() => {}
            Err(failure) => return Err(failure),
            Ok(_) => {
                visit.front.counts.granted.inc();
                let (ttl, error) = (seconds(ttl), String::new());
                let header = Some(header_now(&visit.front));
                return Ok(LeaseGrantResponse { header, id: id.0, ttl, error });
            }
        }
    }
}

/// Its keys go with it.
pub(super) async fn revoke(
    visit: Visit,
    request: LeaseRevokeRequest,
) -> Result<LeaseRevokeResponse, Failure> {
    propose(&visit, Command::LeaseRevoke(LeaseId(request.id))).await?;
    visit.front.counts.revoked.inc();
    Ok(LeaseRevokeResponse { header: Some(header_now(&visit.front)) })
}

/// A TTL of 0 says that there is no such lease.
async fn keep_alive(
    visit: &Visit,
    request: LeaseKeepAliveRequest,
) -> Result<LeaseKeepAliveResponse, Failure> {
    // Rights may be withdrawn while the stream goes on.
    visit.may(&*visit.front.cluster.read(Consistency::Local).await?, Need::User)?;
    let ttl = match visit.front.cluster.keep_alive(Beat::Lease(LeaseId(request.id))).await? {
        Alive::For(ttl) => {
            visit.front.counts.renewed.inc();
            seconds(ttl)
        }
        Alive::Gone => 0,
    };
    Ok(LeaseKeepAliveResponse { header: Some(header_now(&visit.front)), id: request.id, ttl })
}

/// Answers one keep-alive after the other; ends with the first that cannot be answered.
pub(super) fn answers(
    visit: Visit,
    asked: BoxStream<'static, Result<LeaseKeepAliveRequest, Failure>>,
) -> BoxStream<'static, Result<LeaseKeepAliveResponse, Failure>> {
    let answers = stream::unfold(Some((asked, visit)), |rest| async {
        let (mut asked, visit) = rest?;
        let answer = match asked.next().await? {
            Ok(request) => keep_alive(&visit, request).await,
            Err(failure) => Err(failure),
        };
        let goes_on = answer.is_ok().then_some((asked, visit));
        Some((answer, goes_on))
    });
    answers.boxed()
}

/// A TTL of -1 says that there is no such lease.
pub(super) async fn time_to_live(
    visit: Visit,
    request: LeaseTimeToLiveRequest,
) -> Result<LeaseTimeToLiveResponse, Failure> {
    let (front, id) = (&visit.front, LeaseId(request.id));
    visit.may(&front.cluster.snapshot(), Need::User)?;
    let left = front.cluster.lease_left(id).await?;
    // The leader may know of a lease that this agent has yet to hear of.
    let state = front.cluster.read(Consistency::Linearizable).await?;
    let rights = visit.rights(&state)?;
    if request.keys {
        state.permits_lease(&rights, id, KeyRight::Read)?;
    }
    let header = Some(header(front, &state));
    let (Alive::For(left), Some(lease)) = (left, state.lease(id)) else {
        let gone = LeaseTimeToLiveResponse { header, id: id.0, ttl: -1, ..Default::default() };
        return Ok(gone);
    };
    let keys = match request.keys {
        true => state.lease_keys(id).cloned().collect(),
        false => Vec::new(),
    };
    let (ttl, granted_ttl) = (seconds(left), seconds(lease.ttl));
    Ok(LeaseTimeToLiveResponse { header, id: id.0, ttl, granted_ttl, keys })
}

/// As this agent has them, with a leader or without. Who may not read a key on one of them is
/// told of none.
pub(super) async fn leases(
    visit: Visit,
    _: LeaseLeasesRequest,
) -> Result<LeaseLeasesResponse, Failure> {
    let state = visit.front.cluster.read(Consistency::Local).await?;
    let rights = visit.rights(&state)?;
    rights.may(Need::User)?;
    for lease in state.leases() {
        state.permits_lease(&rights, lease.id, KeyRight::Read)?;
    }
    let leases = state.leases().map(|lease| LeaseStatus { id: lease.id.0 }).collect();
    let header = Some(header(&visit.front, &state));
    Ok(LeaseLeasesResponse { header, leases })
}

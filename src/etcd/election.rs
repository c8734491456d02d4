//! etcd's Election service.

use futures::stream::{self, BoxStream, StreamExt as _};

use crate::access::Need;
use crate::cluster::Consistency;
use crate::model::{LeaseId, Revision};
use crate::replica::Topic;
use crate::state::{Command, Key, KeyRange, Outcome, Txn};

use super::error::{Code, Failure};
use super::gate::Visit;
use super::kv::{header, header_at, header_now, key_value, propose, range_of, unexpected};
use super::proto::{
    CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
    ProclaimResponse, ResignRequest, ResignResponse,
};
use super::queue::{self, below, created_at, first, granted, leave, queue, without_code};

/// Returns once the caller leads.
pub(super) async fn campaign(
    visit: Visit,
    request: CampaignRequest,
) -> Result<CampaignResponse, Failure> {
    let turn = queue(&visit, &request.name, request.lease, &request.value).await;
    let turn = turn.map_err(without_code)?;
    let (name, rev) = (request.name, turn.created);
    let leader = LeaderKey { name, key: turn.key, rev, lease: turn.lease.0 };
    // However long it has waited, the answer stands where it began to.
    let header = header_at(&visit.front, &visit.front.cluster.snapshot(), turn.entered);
    Ok(CampaignResponse { header: Some(header), leader: Some(leader) })
}

/// Another value for who still leads. Without a lease the key moves to a new one.
pub(super) async fn proclaim(
    visit: Visit,
    request: ProclaimRequest,
) -> Result<ProclaimResponse, Failure> {
    let leader = known(request.leader)?;
    let lease = match leader.lease {
        0 => granted(&visit).await.map_err(without_code)?,
        lease => LeaseId(lease),
    };
    let txn = Txn {
        compare: vec![created_at(&leader.key, leader.rev)],
        success: vec![queue::put(&leader.key, &request.value, lease)],
        failure: Vec::new(),
    };
    match propose(&visit, Command::Txn(txn)).await.map_err(without_code)? {
        Outcome::Txn { done, .. } if done.succeeded => {
            Ok(ProclaimResponse { header: Some(header_now(&visit.front)) })
        }
        Outcome::Txn { .. } => Err(Failure::new(Code::Unknown, "election: not leader")),
        other => Err(unexpected(&other)),
    }
}

pub(super) async fn leader(
    visit: Visit,
    request: LeaderRequest,
) -> Result<LeaderResponse, Failure> {
    let state = visit.front.cluster.read(Consistency::Linearizable).await?;
    let below = below(&request.name);
    visit.may(&state, Need::Read(&KeyRange::prefix(&below))).map_err(without_code)?;
    let Some((key, row)) = first(&state, &below) else {
        return Err(Failure::new(Code::Unknown, "election: no leader"));
    };
    let header = Some(header(&visit.front, &state));
    Ok(LeaderResponse { header, kv: Some(key_value(key, row, false)) })
}

/// Who leads no more is answered like who has resigned.
pub(super) async fn resign(
    visit: Visit,
    request: ResignRequest,
) -> Result<ResignResponse, Failure> {
    let leader = known(request.leader)?;
    propose(&visit, leave(&leader.key, leader.rev)).await.map_err(without_code)?;
    Ok(ResignResponse { header: Some(header_now(&visit.front)) })
}

fn known(leader: Option<LeaderKey>) -> Result<LeaderKey, Failure> {
    let leader =
        leader.ok_or_else(|| Failure::new(Code::Unknown, "\"leader\" field must be provided"))?;
    range_of(&leader.key, &Key::new()).map_err(without_code)?;
    Ok(leader)
}

/// Who leads, and what it says, now and after every change; some that pass quickly may be left out.
pub(super) fn observe(
    visit: Visit,
    request: LeaderRequest,
) -> BoxStream<'static, Result<LeaderResponse, Failure>> {
    let below = below(&request.name);
    let watch = visit.front.cluster.watch([Topic::Prefix(below.clone())]);
    let told: Option<(Key, Revision)> = None;
    let begin = Some((visit, below, watch, told));
    let leaders = stream::unfold(begin, |rest| async move {
        let (visit, below, mut watch, told) = rest?;
        loop {
            let state = visit.front.cluster.snapshot();
            // Rights may be withdrawn while it goes on.
            if let Err(denied) = visit.may(&state, Need::Read(&KeyRange::prefix(&below))) {
                return Some((Err(without_code(denied)), None));
            }
            let leader = first(&state, &below).filter(|(key, row)| {
                told.as_ref().is_none_or(|(was, at)| was != *key || *at != row.modified)
            });
            if let Some((key, row)) = leader {
                let header = Some(header(&visit.front, &state));
                let kv = Some(key_value(key, row, false));
                let told = Some((key.clone(), row.modified));
                let rest = Some((visit, below, watch, told));
                return Some((Ok(LeaderResponse { header, kv }), rest));
            }
            tokio::select! {
                () = watch.changed() => {}
                () = visit.front.life.shutdown.begun() => return None,
            }
        }
    });
    leaders.boxed()
}

//! etcd's Maintenance service: how this member is, alarms, checksums, who leads, a backup.

mod downgrade;
mod snapshot;

use crate::access::Need;
use crate::cluster::{Consistency, Operation, OperatorError, RaftRole, Standing};
use crate::model::NodeId;
use crate::state::{Alarm, AlarmKind, Command, Outcome, Part, State};

use super::error::{Code, Failure};
use super::gate::Visit;
use super::kv::{count, header, propose, unexpected};
use super::proto::alarm_request::AlarmAction;
use super::proto::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, DefragmentResponse,
    DowngradeInfo, HashKvRequest, HashKvResponse, HashRequest, HashResponse, MoveLeaderRequest,
    MoveLeaderResponse, StatusRequest, StatusResponse,
};
use super::{Front, SPOKEN};

pub(super) use downgrade::{downgrade, without_action};
pub(super) use snapshot::snapshot;

fn kind(alarm: i32) -> Result<Option<AlarmKind>, Failure> {
    match AlarmType::try_from(alarm) {
        Ok(AlarmType::None) => Ok(None),
        Ok(AlarmType::Nospace) => Ok(Some(AlarmKind::NoSpace)),
        Ok(AlarmType::Corrupt) => Ok(Some(AlarmKind::Corrupt)),
        Err(_) => Err(Failure::invalid(format!("etcdserver: unknown alarm {alarm}"))),
    }
}

fn shown(alarm: Alarm) -> AlarmMember {
    let kind = match alarm.kind {
        AlarmKind::NoSpace => AlarmType::Nospace,
        AlarmKind::Corrupt => AlarmType::Corrupt,
    };
    AlarmMember { member_id: alarm.member.0, alarm: kind.into() }
}

/// Whom an alarm is of need not exist. What is raised is listed, and so is what was ended.
pub(super) async fn alarm(visit: Visit, request: AlarmRequest) -> Result<AlarmResponse, Failure> {
    let front = &visit.front;
    let kind = kind(request.alarm)?;
    let on = match AlarmAction::try_from(request.action) {
        Ok(AlarmAction::Get) => {
            let state = front.cluster.read(Consistency::Linearizable).await?;
            visit.may(&state, Need::User)?;
            let raised = state.alarms().filter(|alarm| kind.is_none_or(|kind| alarm.kind == kind));
            let alarms = raised.map(shown).collect();
            return Ok(AlarmResponse { header: Some(header(front, &state)), alarms });
        }
        Ok(AlarmAction::Activate) => true,
        Ok(AlarmAction::Deactivate) => false,
        Err(_) => {
            let text = format!("etcdserver: unknown action {}", request.action);
            return Err(Failure::invalid(text));
        }
    };
    visit.may(&front.cluster.snapshot(), Need::Root)?;
    let mut alarms = Vec::new();
    if let Some(kind) = kind {
        let alarm = Alarm { kind, member: NodeId(request.member_id) };
        match propose(&visit, Command::Alarm { alarm, on }).await? {
            Outcome::Alarm(true) => alarms.push(shown(alarm)),
            Outcome::Alarm(false) => {}
            other => return Err(unexpected(&other)),
        }
    }
    let header = header(front, &front.cluster.snapshot());
    Ok(AlarmResponse { header: Some(header), alarms })
}

/// An operator's wish that only a server fulfils, asked of an edge: the text names the servers.
pub(super) fn elsewhere(error: OperatorError) -> Failure {
    Failure::new(Code::FailedPrecondition, format!("etcdserver: not capable: {error}"))
}

/// Of this agent alone: an edge tells of itself, too.
pub(super) async fn status(visit: Visit, _: StatusRequest) -> Result<StatusResponse, Failure> {
    let front = &visit.front;
    let state = front.cluster.read(Consistency::Local).await?;
    Ok(told(front, &state, &front.cluster.standing()))
}

fn told(front: &Front, state: &State, standing: &Standing) -> StatusResponse {
    let mut errors = Vec::new();
    if standing.leader.is_none() {
        errors.push("etcdserver: no leader".to_owned());
    }
    errors.extend(state.alarms().map(|alarm| {
        // The blank at the end is etcd's.
        format!("memberID:{} alarm:{} ", alarm.member, alarm.kind.as_str())
    }));
    // Nothing is allocated that is not in use.
    let size = count(state.size());
    StatusResponse {
        header: Some(header(front, state)),
        version: SPOKEN.to_owned(),
        db_size: size,
        leader: standing.leader.map_or(0, |leader| leader.0),
        raft_index: standing.committed.max(state.applied().index),
        raft_term: standing.term,
        raft_applied_index: state.applied().index,
        errors,
        db_size_in_use: size,
        is_learner: standing.raft == Some(RaftRole::Learner),
        storage_version: SPOKEN.to_owned(),
        db_size_quota: count(state.identity().settings.quota),
        downgrade_info: Some(DowngradeInfo::default()),
    }
}

/// There is nothing to defragment: a deletion and a compaction give their room back at once.
pub(super) async fn defragment(
    visit: Visit,
    _: DefragmentRequest,
) -> Result<DefragmentResponse, Failure> {
    visit.front.cluster.read(Consistency::Local).await?;
    Ok(DefragmentResponse { header: None })
}

/// Of all that this agent holds, as far as it has come in the log.
pub(super) async fn hash(visit: Visit, _: HashRequest) -> Result<HashResponse, Failure> {
    let front = &visit.front;
    let state = front.cluster.read(Consistency::Local).await?;
    let part = if state.history().is_some() { Part::Server } else { Part::Shared };
    let hash = front.cluster.survey(state.clone(), move |state| state.checksum(part)).await?;
    Ok(HashResponse { header: Some(header(front, &state)), hash })
}

/// Of the keys as they were at a revision: the same on all servers.
pub(super) async fn hash_kv(
    visit: Visit,
    request: HashKvRequest,
) -> Result<HashKvResponse, Failure> {
    let front = &visit.front;
    let hash = front.cluster.key_hash(&visit.asker, request.revision).await?;
    Ok(HashKvResponse {
        header: Some(header(front, &front.cluster.snapshot())),
        hash: hash.hash,
        compact_revision: if hash.compacted > 0 { hash.compacted } else { -1 },
        hash_revision: hash.revision,
    })
}

/// Asked of the leader alone, as etcd has it.
pub(super) async fn move_leader(
    visit: Visit,
    request: MoveLeaderRequest,
) -> Result<MoveLeaderResponse, Failure> {
    let refused = |text| Failure::new(Code::FailedPrecondition, text);
    let (cluster, to) = (&visit.front.cluster, NodeId(request.target_id));
    let standing = cluster.standing();
    if standing.leader != Some(standing.id) {
        return Err(refused("etcdserver: not leader"));
    }
    if to == standing.id {
        return Ok(MoveLeaderResponse { header: None });
    }
    if !standing.voters.contains(&to) {
        return Err(refused("etcdserver: bad leader transferee"));
    }
    match cluster.operate(Operation::TransferLeader(Some(to))).await {
        Ok(()) => Ok(MoveLeaderResponse { header: None }),
        Err(OperatorError::Refused(_)) => Err(refused("etcdserver: bad leader transferee")),
        Err(OperatorError::Propose(error)) => Err(error.into()),
        Err(_) => Err(Failure::new(
            Code::Unavailable,
            "etcdserver: request timed out, leader transfer took too long",
        )),
    }
}

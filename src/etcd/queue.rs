//! Whose turn it is under a name, as etcd's locks and elections have it: everybody has a key below
//! `NAME/` that hangs on a lease, and the one that was created first has its turn.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use crate::access::Need;
use crate::cluster::{Alive, Beat, Consistency};
use crate::model::{LeaseId, Revision};
use crate::replica::Topic;
use crate::state::{
    Command, Compare, DeleteRange, Key, KeyRange, KeyRow, Outcome, Put, Relation, State, Target,
    Txn, TxnOp,
};

use super::error::{Code, Failure};
use super::gate::Visit;
use super::kv::{propose, unexpected};
use super::lease;
use super::proto::LeaseGrantRequest;

/// Of a lease that is granted to who brings none.
const LEASE: Duration = Duration::from_secs(60);

/// A place in the queue whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    pub key: Key,
    /// The key's create revision: it rises with every change of whose turn it is.
    pub created: Revision,
    pub lease: LeaseId,
    /// The store's when it took its place, or found that it had one.
    pub entered: Revision,
}

/// The key of a lease's place in the queue.
fn place(name: &Bytes, lease: LeaseId) -> Key {
    let sign = if lease.0 < 0 { "-" } else { "" };
    let suffix = format!("/{sign}{:x}", lease.0.unsigned_abs());
    [name, suffix.as_bytes()].concat().into()
}

/// What all keys of a queue begin with.
pub(super) fn below(name: &Bytes) -> Key {
    [name, &b"/"[..]].concat().into()
}

/// That the key is the one that was created then; 0: that there is none.
pub(super) fn created_at(key: &Key, revision: Revision) -> Compare {
    let range = KeyRange::one(key.clone());
    Compare { range, relation: Relation::Equal, target: Target::Create(revision) }
}

/// A write of a place's key.
pub(super) fn put(key: &Key, value: &Bytes, lease: LeaseId) -> TxnOp {
    let (key, value) = (key.clone(), value.clone());
    let (prev_kv, ignore_value, ignore_lease) = (false, false, false);
    TxnOp::Put(Put { key, value, lease, prev_kv, ignore_value, ignore_lease })
}

/// Gives the place up, if it is still that one.
pub(super) fn leave(key: &Key, created: Revision) -> Command {
    leave_if(key, created_at(key, created))
}

/// Gives up a place that was taken after this revision: by whom it is not known whether it was.
fn leave_taken_after(key: &Key, before: Revision) -> Command {
    let later = Compare { relation: Relation::Greater, ..created_at(key, before) };
    leave_if(key, later)
}

fn leave_if(key: &Key, compare: Compare) -> Command {
    let delete = DeleteRange { range: KeyRange::one(key.clone()), prev_kv: false };
    Command::Txn(Txn {
        compare: vec![compare],
        success: vec![TxnOp::Delete(delete)],
        failure: Vec::new(),
    })
}

/// Whose turn it is: of the keys of a queue the one that was created first.
pub(super) fn first<'a>(state: &'a State, below: &'a Key) -> Option<(&'a Key, &'a Arc<KeyRow>)> {
    state.keys_with_prefix(below).min_by_key(|(_, row)| row.create)
}

/// A new lease for who brings none.
pub(super) async fn granted(visit: &Visit) -> Result<LeaseId, Failure> {
    let ttl = i64::try_from(LEASE.as_secs()).unwrap_or(i64::MAX);
    let granted = lease::grant(visit.clone(), LeaseGrantRequest { ttl, id: 0 }).await?;
    Ok(LeaseId(granted.id))
}

/// Queues, and returns when the turn has come. Whoever stops waiting leaves the queue. The same
/// lease has one place however often it asks; `value` is what stands there afterwards.
pub(super) async fn queue(
    visit: &Visit,
    name: &Bytes,
    lease: i64,
    value: &Bytes,
) -> Result<Turn, Failure> {
    let (lease, kept) = match lease {
        0 => (granted(visit).await?, true),
        lease => (LeaseId(lease), false),
    };
    let key = place(name, lease);
    let enter = Txn {
        compare: vec![created_at(&key, 0)],
        success: vec![put(&key, value, lease)],
        failure: vec![put(&key, value, lease)],
    };
    let state = visit.front.cluster.read(Consistency::Linearizable).await?;
    let rights = visit.rights(&state)?;
    let (own, queue) = (KeyRange::one(key.clone()), KeyRange::prefix(&below(name)));
    for need in [Need::Write(&own), Need::Read(&own), Need::Read(&queue)] {
        rights.may(need)?;
    }
    let known = state.key(&key).filter(|row| row.value == *value && row.lease == lease);
    // Whoever goes away while its place is being taken leaves it, too.
    let mut waiting = Waiting { visit: visit.clone(), leave: None };
    if known.is_none() {
        waiting.leave = Some(leave_taken_after(&key, state.revision()));
    }
    let (created, entered) = match known {
        Some(row) => (row.create, state.revision()),
        None => match propose(visit, Command::Txn(enter)).await? {
            Outcome::Txn { done, revision } if done.succeeded => (revision, revision),
            Outcome::Txn { revision, .. } => {
                let created = visit.front.cluster.snapshot().key(&key).map_or(0, |row| row.create);
                (created, revision - 1)
            }
            other => return Err(unexpected(&other)),
        },
    };
    let turn = Turn { key, created, lease, entered };
    waiting.leave = Some(leave(&turn.key, created));
    tokio::select! {
        came = come(visit, name, &turn, kept) => came?,
        () = visit.front.life.shutdown.begun() => {
            return Err(Failure::new(Code::Unavailable, "etcdserver: server stopped"));
        }
    }
    waiting.leave = None;
    Ok(turn)
}

/// Waits for the one before, whoever that is: of many that wait, one is woken.
async fn come(visit: &Visit, name: &Bytes, turn: &Turn, kept: bool) -> Result<(), Failure> {
    let (front, below) = (&visit.front, below(name));
    let mut renewal = Instant::now() + LEASE / 3;
    loop {
        let before = ahead(&front.cluster.snapshot(), &below, turn)?;
        let Some(before) = before else { break };
        let topics = [Topic::Key(before.clone()), Topic::Key(turn.key.clone())];
        let mut watch = front.cluster.watch(topics);
        if ahead(&front.cluster.snapshot(), &below, turn)? != Some(before) {
            continue;
        }
        tokio::select! {
            () = watch.changed() => {}
            () = sleep_until(renewal), if kept => {
                renewal = Instant::now() + LEASE / 3;
                if front.cluster.keep_alive(Beat::Lease(turn.lease)).await? == Alive::Gone {
                    return Err(expired());
                }
            }
        }
    }
    // What this agent has may be old: the lease may have ended while it waited.
    let now = front.cluster.read(Consistency::Linearizable).await?;
    visit.may(&now, Need::Read(&KeyRange::prefix(&below)))?;
    ahead(&now, &below, turn).map(|_| ())
}

/// Who is right before it in the queue.
fn ahead(state: &State, below: &Key, turn: &Turn) -> Result<Option<Key>, Failure> {
    if state.key(&turn.key).is_none_or(|row| row.create != turn.created) {
        return Err(expired());
    }
    let earlier = state.keys_with_prefix(below).filter(|(_, row)| row.create < turn.created);
    Ok(earlier.max_by_key(|(_, row)| row.create).map(|(key, _)| key.clone()))
}

fn expired() -> Failure {
    Failure::new(Code::Unknown, "mutex: session is expired")
}

/// Someone in the queue. Dropped before its turn has come, it leaves.
struct Waiting {
    visit: Visit,
    /// How.
    leave: Option<Command>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(leave) = self.leave.take() else { return };
        let visit = self.visit.clone();
        let gone = async move {
            if let Err(error) = propose(&visit, leave).await {
                tracing::debug!(%error, "a place in a queue is left to its lease");
            }
        };
        self.visit.front.life.tasks.spawn("leave a queue", gone);
    }
}

/// The lock and election services give every refusal the code that errors without one have.
pub(super) fn without_code(failure: Failure) -> Failure {
    match failure.code {
        Code::InvalidArgument
        | Code::NotFound
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unauthenticated => Failure::new(Code::Unknown, failure.message),
        _ => failure,
    }
}

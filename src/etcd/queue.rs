//! Whose turn it is under a name, as etcd's locks and elections have it: everybody has a key below
//! `NAME/` that hangs on a lease, and the one that was created first has its turn.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until};

use crate::cluster::{Alive, Beat, Consistency};
use crate::model::{LeaseId, Revision};
use crate::replica::Topic;
use crate::state::{
    Command, Compare, DeleteRange, Key, KeyRange, KeyRow, Outcome, Put, Relation, State, Target,
    Txn, TxnOp,
};

use super::Front;
use super::error::{Code, Failure};
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
    let delete = DeleteRange { range: KeyRange::one(key.clone()), prev_kv: false };
    Command::Txn(Txn {
        compare: vec![created_at(key, created)],
        success: vec![TxnOp::Delete(delete)],
        failure: Vec::new(),
    })
}

/// Whose turn it is: of the keys of a queue the one that was created first.
pub(super) fn first<'a>(state: &'a State, below: &'a Key) -> Option<(&'a Key, &'a Arc<KeyRow>)> {
    state.keys_with_prefix(below).min_by_key(|(_, row)| row.create)
}

/// A new lease for who brings none.
pub(super) async fn granted(front: &Front) -> Result<LeaseId, Failure> {
    let ttl = i64::try_from(LEASE.as_secs()).unwrap_or(i64::MAX);
    let granted = lease::grant(front, LeaseGrantRequest { ttl, id: 0 }).await?;
    Ok(LeaseId(granted.id))
}

/// Queues, and returns when the turn has come. Whoever stops waiting leaves the queue. The same
/// lease has one place however often it asks; `value` is what stands there afterwards.
pub(super) async fn queue(
    front: &Arc<Front>,
    name: &Bytes,
    lease: i64,
    value: &Bytes,
) -> Result<Turn, Failure> {
    let (lease, kept) = match lease {
        0 => (granted(front).await?, true),
        lease => (LeaseId(lease), false),
    };
    let key = place(name, lease);
    let enter = Txn {
        compare: vec![created_at(&key, 0)],
        success: vec![put(&key, value, lease)],
        failure: vec![put(&key, value, lease)],
    };
    let state = front.cluster.read(Consistency::Linearizable).await?;
    let known = state.key(&key).filter(|row| row.value == *value && row.lease == lease);
    let created = match known {
        Some(row) => row.create,
        None => match propose(front, Command::Txn(enter)).await? {
            Outcome::Txn { done, revision } if done.succeeded => revision,
            Outcome::Txn { .. } => front.cluster.snapshot().key(&key).map_or(0, |row| row.create),
            other => return Err(unexpected(&other)),
        },
    };
    let turn = Turn { key, created, lease };
    let mut waiting = Waiting { front: front.clone(), turn: Some(turn.clone()) };
    tokio::select! {
        came = come(front, name, &turn, kept) => came?,
        () = front.life.shutdown.begun() => {
            return Err(Failure::new(Code::Unavailable, "etcdserver: server stopped"));
        }
    }
    waiting.turn = None;
    Ok(turn)
}

/// Waits for the one before, whoever that is: of many that wait, one is woken.
async fn come(front: &Front, name: &Bytes, turn: &Turn, kept: bool) -> Result<(), Failure> {
    let below = below(name);
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
    front: Arc<Front>,
    turn: Option<Turn>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(Turn { key, created, .. }) = self.turn.take() else { return };
        let front = self.front.clone();
        let gone = async move {
            if let Err(error) = propose(&front, leave(&key, created)).await {
                tracing::debug!(%error, "a place in a queue is left to its lease");
            }
        };
        self.front.life.tasks.spawn("leave a queue", gone);
    }
}

/// The lock and election services give every refusal the code that errors without one have.
pub(super) fn without_code(failure: Failure) -> Failure {
    match failure.code {
        Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::OutOfRange => {
            Failure::new(Code::Unknown, failure.message)
        }
        _ => failure,
    }
}

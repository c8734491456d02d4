//! Locks as etcd has them: asked for, held on a lease that is kept alive, given up or left behind.

use std::time::Duration;

use serde_json::Value;

use crate::ask::{decode, number};
use crate::history::{Hold, Lease};
use crate::proto::{
    LeaseRevokeRequest, LeaseRevokeResponse, LockRequest, LockResponse, RangeRequest,
    RangeResponse, UnlockRequest, UnlockResponse,
};
use crate::wire;

use super::board::Board;
use super::keeping::Keeping;
use super::{Caller, GONE, TTL_MICROS, ask_of};

pub const PREFIX: &str = "lock/";
const LOCKS: usize = 2;
/// How long a client waits for its turn.
const TURN: Duration = Duration::from_secs(10);
/// How long it keeps a lock, in milliseconds.
const HOLDS: std::ops::Range<u64> = 10..150;

pub async fn client(mut caller: Caller, board: Board) {
    while caller.visitor.goes_on().await {
        let Some(mut keeping) = Keeping::grant(caller.clone()).await else {
            caller.visitor.move_on();
            continue;
        };
        if take(&mut caller, &mut keeping, &board).await.is_none() {
            caller.visitor.move_on();
        }
        // Its place in the queue goes with the lease, sooner or later.
        let ask = LeaseRevokeRequest { id: keeping.id };
        let _ = caller.ask::<_, LeaseRevokeResponse>(wire::REVOKE, ask).await;
    }
}

/// Holds a lock once; none if its turn did not come, or nobody could tell.
async fn take(caller: &mut Caller, keeping: &mut Keeping, board: &Board) -> Option<()> {
    let field = caller.visitor.field.clone();
    let holder = caller.visitor.next();
    let lock = format!("{PREFIX}{}", rand::random_range(0..LOCKS));
    let ask = LockRequest { name: lock.clone().into(), lease: keeping.id };
    let (server, called) = (caller.server(), field.now());
    let locked = tokio::select! {
        locked = ask_of::<_, LockResponse>(&server, wire::LOCK, ask, TURN) => locked.ok()?,
        never = keeping.keep() => match never {},
    };
    let returned = field.now();
    let key = decode(&locked["key"])?;
    let found = tokio::select! {
        found = row(caller, &key) => found?,
        never = keeping.keep() => match never {},
    };
    if found.is_null() && field.now() < keeping.sure() {
        field.complain(format!("{holder} was told that it holds {key}, which is not there"));
    }
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(rand::random_range(HOLDS))) => {},
        never = keeping.keep() => match never {},
    }
    let mut sure = keeping.sure();
    let gives_up = rand::random_bool(0.8);
    if gives_up {
        sure = sure.min(field.now());
        let ask = UnlockRequest { key: key.clone().into() };
        // Without an answer, its lease ends it.
        let _ = caller.ask::<_, UnlockResponse>(wire::UNLOCK, ask).await;
    }
    let end = tokio::time::timeout(GONE, board.end_of(&key)).await.ok();
    if end.is_none() {
        field.complain(format!("{key} is not gone though nobody holds it for {GONE:?}"));
    }
    let mut history = field.history.lock().unwrap();
    if !gives_up {
        let (name, renewed) = (holder.clone(), keeping.renewed.clone());
        let gone = end.map(|(_, seen)| seen);
        history.leases.push(Lease { name, ttl: TTL_MICROS, renewed, gone });
    }
    let (since, until) = (number(&locked["header"]["revision"]), end.map(|(at, _)| at));
    let token = number(&found["create_revision"]);
    if token > 0 {
        history.holds.push(Hold { lock, holder, token, since, until, called, returned, sure });
    }
    Some(())
}

/// A key's row, null where there is no such key; none if nobody could tell.
async fn row(caller: &mut Caller, key: &str) -> Option<Value> {
    let ask = RangeRequest { key: key.to_owned().into(), ..Default::default() };
    let found = caller.ask::<_, RangeResponse>(wire::RANGE, ask).await.ok()?;
    Some(found["kvs"][0].clone())
}

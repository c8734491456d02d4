//! Puts, transactions, deletions and ranges on keys that everyone shares.

use futures::TryFutureExt as _;
use serde_json::Value;

use crate::ask::{decode, number};
use crate::clients::PREFIX;
use crate::history::{Deed, End, Seen};
use crate::proto::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::request_op::Request;
use crate::proto::{
    Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest,
    RangeResponse, RequestOp, TxnRequest, TxnResponse,
};
use crate::wire::{self, Server};

use super::{Caller, PATIENCE, ask_of};

/// Keys that are put, alone and two at once.
const SHARED: usize = 6;
/// Keys that are written by comparing.
const COMPARED: usize = 2;
/// Keys that come and go.
const PASSING: usize = 3;

fn one_of(kind: &str, count: usize) -> String {
    format!("{PREFIX}{kind}/{}", rand::random_range(0..count))
}

pub async fn client(mut caller: Caller) {
    while caller.visitor.goes_on().await {
        match rand::random_range(0..20) {
            0..6 => put(&mut caller, one_of("shared", SHARED)).await,
            6..8 => put_two(&mut caller).await,
            8..11 => compare_and_set(&mut caller).await,
            11..13 => put(&mut caller, one_of("passing", PASSING)).await,
            13..14 => delete(&mut caller).await,
            14..16 => drop(get(&mut caller, one_of("passing", PASSING), false).await),
            16..19 => drop(get(&mut caller, one_of("shared", SHARED), false).await),
            _ => drop(get(&mut caller, one_of("shared", SHARED), true).await),
        }
    }
}

fn revision(answer: &Value) -> u64 {
    number(&answer["header"]["revision"])
}

fn put_of(key: &str, value: &str) -> PutRequest {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    PutRequest { key, value, ..Default::default() }
}

async fn put(caller: &mut Caller, key: String) {
    let (server, value) = (caller.server(), caller.visitor.next());
    let ask = ask_of::<_, PutResponse>(&server, wire::PUT, put_of(&key, &value), PATIENCE);
    let work = ask.map_ok_or_else(|end| end, |answer| End::Wrote(Some(revision(&answer))));
    caller.visitor.record(Deed::Put { key, value }, work).await;
}

/// What happens at one revision reaches no watcher in parts.
async fn put_two(caller: &mut Caller) {
    let first = rand::random_range(0..SHARED);
    let keys = [first, (first + 1) % SHARED].map(|n| format!("{PREFIX}shared/{n}"));
    let puts = keys.map(|key| (key, caller.visitor.next()));
    let success = puts.iter().map(|(key, value)| put_of(key, value)).map(op).collect();
    let txn = TxnRequest { success, ..Default::default() };
    let server = caller.server();
    let deeds = puts.into_iter().map(|(key, value)| Deed::Put { key, value }).collect();
    caller.visitor.record_all(deeds, write(&server, txn)).await;
}

fn op(put: PutRequest) -> RequestOp {
    RequestOp { request: Some(Request::RequestPut(put)) }
}

/// A transaction that holds, or writes nothing.
async fn write(server: &Server, txn: TxnRequest) -> End {
    match ask_of::<_, TxnResponse>(server, wire::TXN, txn, PATIENCE).await {
        Ok(answer) if answer["succeeded"] == true => End::Wrote(Some(revision(&answer))),
        Ok(_) => End::Failed,
        Err(end) => end,
    }
}

async fn compare_and_set(caller: &mut Caller) {
    let key = one_of("compared", COMPARED);
    let End::Read(seen) = get(caller, key.clone(), false).await else { return };
    let expected = seen.value.map_or(0, |(_, revision)| revision);
    let (server, value) = (caller.server(), caller.visitor.next());
    let unchanged = Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: key.clone().into(),
        target_union: Some(TargetUnion::ModRevision(i64::try_from(expected).unwrap())),
        ..Default::default()
    };
    let (compare, success) = (vec![unchanged], vec![op(put_of(&key, &value))]);
    let txn = TxnRequest { compare, success, ..Default::default() };
    caller.visitor.record(Deed::Cas { key, expected, value }, write(&server, txn)).await;
}

async fn delete(caller: &mut Caller) {
    let (server, key) = (caller.server(), one_of("passing", PASSING));
    let ask = DeleteRangeRequest { key: key.clone().into(), ..Default::default() };
    let work = ask_of::<_, DeleteRangeResponse>(&server, wire::DELETE, ask, PATIENCE);
    let work = work.map_ok_or_else(
        |end| end,
        |answer| match number(&answer["deleted"]) {
            0 => End::Read(Seen { revision: revision(&answer), value: None }),
            _ => End::Wrote(Some(revision(&answer))),
        },
    );
    caller.visitor.record(Deed::Delete { key }, work).await;
}

async fn get(caller: &mut Caller, key: String, serializable: bool) -> End {
    let server = caller.server();
    let ask = RangeRequest { key: key.clone().into(), serializable, ..Default::default() };
    let work = ask_of::<_, RangeResponse>(&server, wire::RANGE, ask, PATIENCE);
    let work = work.map_ok_or_else(
        |_| End::Failed,
        |answer| {
            let row = &answer["kvs"][0];
            let value = decode(&row["value"]).map(|value| (value, number(&row["mod_revision"])));
            End::Read(Seen { revision: revision(&answer), value })
        },
    );
    let deed = if serializable { Deed::StaleGet { key } } else { Deed::Get { key } };
    caller.visitor.record(deed, work).await
}

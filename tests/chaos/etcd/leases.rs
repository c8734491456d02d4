//! Leases with a key on each: kept alive for a while, and then left to end.

use std::time::Duration;

use tokio::time::sleep;

use crate::ask::number;
use crate::history::{Lease, Micros};
use crate::proto::{
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, PutRequest, PutResponse, RangeRequest,
    RangeResponse,
};
use crate::wire;

use super::board::Board;
use super::keeping::Keeping;
use super::{BEAT, Caller, GONE, TTL, TTL_MICROS};

pub const PREFIX: &str = "leased/";
/// How often one that nobody keeps is asked for.
const LOOK: Duration = Duration::from_millis(250);
const MOST_BEATS: u32 = 8;

pub async fn client(mut caller: Caller, board: Board) {
    while caller.visitor.goes_on().await {
        live(&mut caller, &board).await;
    }
}

/// One lease, from its grant to its end.
async fn live(caller: &mut Caller, board: &Board) {
    let field = caller.visitor.field.clone();
    let name = caller.visitor.next();
    let key = format!("{PREFIX}{name}");
    let Some(mut keeping) = Keeping::grant(caller.clone()).await else {
        return caller.visitor.move_on();
    };
    let (value, lease) = (name.clone().into(), keeping.id);
    let put = PutRequest { key: key.clone().into(), value, lease, ..Default::default() };
    // Without an answer it may have the key or not: its end is asked for as well.
    let _ = caller.ask::<_, PutResponse>(wire::PUT, put).await;
    for _ in 0..rand::random_range(0..MOST_BEATS) {
        // Now and then so late that the end is being decided.
        let late = rand::random_bool(0.1);
        let pace = if late { rand::random_range(2.7..3.3) } else { 1.0 };
        sleep(BEAT.mul_f64(pace)).await;
        if field.stopped() || keeping.gone.is_some() {
            break;
        }
        keeping.beat().await;
    }
    let gone = match keeping.gone {
        Some(gone) => Some(gone),
        None => tokio::time::timeout(GONE, end(caller, board, &key, lease)).await.ok(),
    };
    match gone {
        Some(_) => look_for(caller, &key).await,
        None => field.complain(format!("{name} is not gone though nobody keeps it for {GONE:?}")),
    }
    let lease = Lease { name, ttl: TTL_MICROS, renewed: keeping.renewed, gone };
    field.history.lock().unwrap().leases.push(lease);
}

/// When somebody first knows that a lease has ended: who watches its key, or who asks for it.
async fn end(caller: &mut Caller, board: &Board, key: &str, id: i64) -> Micros {
    let field = caller.visitor.field.clone();
    let asked = async {
        loop {
            sleep(LOOK).await;
            let ask = LeaseTimeToLiveRequest { id, keys: false };
            let left = caller.ask::<_, LeaseTimeToLiveResponse>(wire::LEFT, ask).await;
            if left.is_ok_and(|left| left["TTL"] == "-1") {
                return field.now();
            }
        }
    };
    tokio::select! {
        (_, seen) = board.end_of(key) => seen,
        seen = asked => seen,
    }
}

/// What hung on a lease is gone with it.
async fn look_for(caller: &mut Caller, key: &str) {
    let ask = RangeRequest { key: key.to_owned().into(), ..Default::default() };
    if let Ok(found) = caller.ask::<_, RangeResponse>(wire::RANGE, ask).await
        && number(&found["count"]) > 0
    {
        let field = &caller.visitor.field;
        field.complain(format!("{key} outlived its lease of {TTL} s: {found}"));
    }
}

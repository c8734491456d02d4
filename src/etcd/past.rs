//! Reads of past revisions at an agent that keeps none: a server is asked.

use crate::state::{PastAnswer, PastQuery, RangeQuery, RangeResult, Txn, TxnDone};

use super::Front;
use super::error::{Code, Failure};

/// A range as it was, put together from pages and then filtered, sorted and cut here.
pub(super) async fn range(front: &Front, query: &RangeQuery) -> Result<RangeResult, Failure> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let (range, revision) = (query.range.clone(), query.revision);
        match front.cluster.recall(&PastQuery::Rows { range, revision, after }).await? {
            PastAnswer::Rows(page, more) => {
                after = page.last().map(|(key, _)| key.clone());
                rows.extend(page);
                if !more || after.is_none() {
                    return Ok(query.select(rows.into_iter()));
                }
            }
            other => return Err(unexpected(other)),
        }
    }
}

/// A transaction that writes nothing.
pub(super) async fn txn(front: &Front, txn: Txn) -> Result<TxnDone, Failure> {
    match front.cluster.recall(&PastQuery::Txn(txn)).await? {
        PastAnswer::Txn(done) => Ok(done),
        other => Err(unexpected(other)),
    }
}

fn unexpected(answer: PastAnswer) -> Failure {
    match answer {
        PastAnswer::Refused(refusal) => refusal.into(),
        _ => Failure::new(Code::Unknown, "an answer to another question"),
    }
}

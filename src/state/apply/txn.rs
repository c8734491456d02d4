//! Decides transactions: every condition on the state before, then one operation after the other.

use crate::model::Revision;
use crate::state::State;
use crate::state::command::{Outcome, Refusal};
use crate::state::keys::RangeQuery;
use crate::state::txn::{Txn, TxnAnswer, TxnDone, TxnOp};

use super::draft::Draft;
use super::keys;

impl State {
    /// What a transaction that writes nothing finds; one that would write is refused.
    pub fn read_txn(&self, txn: &Txn) -> Result<TxnDone, Refusal> {
        if !txn.is_read_only() {
            return Err(Refusal::NotReadOnly);
        }
        checked_ranges(self, txn)?;
        run(&mut Draft::new(self, self.applied, self.stamp), txn)
    }
}

pub(super) fn txn(draft: &mut Draft<'_>, txn: &Txn) -> Result<Outcome, Refusal> {
    checked_puts(draft.base(), txn)?;
    checked_ranges(draft.base(), txn)?;
    let done = run(draft, txn)?;
    Ok(Outcome::Txn { done, revision: so_far(draft) })
}

/// Before anything is done, what is to be put is looked at, in the branches that are taken. Whether
/// the key is there comes before the lease: with a put alone it is the other way round, as in etcd.
fn checked_puts(base: &State, txn: &Txn) -> Result<(), Refusal> {
    txn.branch(base).1.iter().try_for_each(|operation| match operation {
        TxnOp::Put(put) => {
            keys::has_key(base, put)?;
            keys::has_lease(base, put)
        }
        TxnOp::Txn(inner) => checked_puts(base, inner),
        TxnOp::Range(_) | TxnOp::Delete(_) => Ok(()),
    })
}

/// Then the revisions that are asked for. One below zero, with a range alone as good as none, is
/// long gone here.
fn checked_ranges(base: &State, txn: &Txn) -> Result<(), Refusal> {
    txn.branch(base).1.iter().try_for_each(|operation| match operation {
        TxnOp::Range(query) if query.revision != 0 => Ok(base.holds(query.revision)?),
        TxnOp::Txn(inner) => checked_ranges(base, inner),
        TxnOp::Range(_) | TxnOp::Put(_) | TxnOp::Delete(_) => Ok(()),
    })
}

/// Any operation that cannot be done undoes all of them.
fn run(draft: &mut Draft<'_>, txn: &Txn) -> Result<TxnDone, Refusal> {
    let (succeeded, operations) = txn.branch(draft.base());
    let answers = operations.iter().map(|operation| operate(draft, operation));
    Ok(TxnDone { succeeded, answers: answers.collect::<Result<_, _>>()? })
}

fn operate(draft: &mut Draft<'_>, operation: &TxnOp) -> Result<TxnAnswer, Refusal> {
    let outcome = match operation {
        TxnOp::Range(query) => return range(draft, query),
        TxnOp::Txn(inner) => return Ok(TxnAnswer::Txn(run(draft, inner)?)),
        TxnOp::Put(put) => keys::put(draft, put)?,
        TxnOp::Delete(delete) => keys::delete_range(draft, delete)?,
    };
    let revision = so_far(draft);
    Ok(match outcome {
        Outcome::Deleted { count, prev, .. } => TxnAnswer::Deleted { count, prev, revision },
        Outcome::Put { prev, .. } => TxnAnswer::Put { prev, revision },
        _ => TxnAnswer::Put { prev: None, revision },
    })
}

/// Without a revision it sees what was written before it; with one, what was before all.
fn range(draft: &mut Draft<'_>, query: &RangeQuery) -> Result<TxnAnswer, Refusal> {
    let state = if query.revision > 0 { draft.base() } else { draft.state() };
    let result = state.range(query)?;
    Ok(TxnAnswer::Range { result, revision: so_far(draft) })
}

/// The key space's revision after what was done up to here.
fn so_far(draft: &Draft<'_>) -> Revision {
    if draft.has_written() { draft.revision() } else { draft.base().revision() }
}

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
        run(&mut Draft::new(self, self.applied, self.stamp), txn)
    }
}

pub(super) fn txn(draft: &mut Draft<'_>, txn: &Txn) -> Result<Outcome, Refusal> {
    let done = run(draft, txn)?;
    Ok(Outcome::Txn { done, revision: so_far(draft) })
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

//! Transactions: random ones, and what the model makes of them.

use bytes::Bytes;
use proptest::prelude::*;

use crate::model::LeaseId;
use crate::model::Stamp;
use crate::state::{
    Command, Compare, KeyRange, Outcome, Put, Refusal, Relation, Target, Txn, TxnAnswer, TxnDone,
    TxnOp,
};

use super::Told;
use super::against_model::model_answer;
use super::commands::{self, KEYS};
use super::model::Model;

/// Puts in one transaction are of different keys, and what is deleted in it is not put: fronts
/// refuse others.
pub fn txn() -> BoxedStrategy<Txn> {
    let branch = || {
        let put = commands::put_of(Just(Bytes::from_static(KEYS[0])));
        let put = put.prop_map(|put| vec![TxnOp::Put(put)]);
        let others = (commands::put_of(Just(Bytes::from_static(KEYS[4]))), any::<bool>());
        let others = others.prop_map(|(put, first)| {
            let range = KeyRange { key: KEYS[1].into(), end: KEYS[3].into() };
            let delete = crate::state::DeleteRange { range, prev_kv: true };
            let mut both = vec![TxnOp::Put(put), TxnOp::Delete(delete)];
            if first {
                both.reverse();
            }
            both
        });
        let writes = prop_oneof![2 => put, 2 => others, 1 => Just(Vec::new())];
        let reads = proptest::collection::vec(commands::query().prop_map(TxnOp::Range), 0..3);
        (reads, writes, proptest::option::of(commands::query()))
            .prop_map(|(mut ops, writes, last)| {
                ops.extend(writes);
                ops.extend(last.map(TxnOp::Range));
                ops
            })
            .boxed()
    };
    let compares = || proptest::collection::vec(compare(), 0..3);
    let flat = || {
        (compares(), branch(), branch()).prop_map(|(compare, success, failure)| Txn {
            compare,
            success,
            failure,
        })
    };
    let nested = (compares(), flat(), proptest::option::of(commands::query())).prop_map(
        |(compare, inner, query)| {
            let mut success = vec![TxnOp::Txn(inner.clone())];
            success.extend(query.map(TxnOp::Range));
            Txn { compare, success, failure: vec![TxnOp::Txn(inner)] }
        },
    );
    prop_oneof![3 => flat(), 1 => nested].boxed()
}

fn compare() -> impl Strategy<Value = Compare> {
    let number = || prop_oneof![2 => Just(0i64), 3 => 1..12i64];
    let target = prop_oneof![
        number().prop_map(Target::Version),
        number().prop_map(Target::Create),
        number().prop_map(Target::Modified),
        (0..4i64).prop_map(|id| Target::Lease(LeaseId(id))),
        proptest::sample::select(&["", "1", "2"]).prop_map(|value| Target::Value(value.into())),
    ];
    let all =
        [Relation::Equal, Relation::Greater, Relation::Less, Relation::NotEqual, Relation::Any];
    (commands::range(), proptest::sample::select(all.to_vec()), target)
        .prop_map(|(range, relation, target)| Compare { range, relation, target })
}

/// What the model does with one.
pub fn decide(model: &mut Model, txn: &Txn) -> Result<Outcome, Refusal> {
    let before = model.clone();
    let mut taken = Vec::new();
    flatten(&before, txn, &mut taken);
    // Puts are judged before ranges, both on what was there before.
    for op in &taken {
        if let TxnOp::Put(put) = op {
            let keeps = put.ignore_value || put.ignore_lease;
            if keeps && before.keys.get(&put.key).is_none() {
                return Err(Refusal::KeyNotFound);
            }
            before.clone().put(&Put { ignore_value: false, ignore_lease: false, ..put.clone() })?;
        }
    }
    for op in &taken {
        match op {
            TxnOp::Range(query) if query.revision < 0 => {
                let (asked, compacted) = (query.revision, before.compacted);
                return Err(Refusal::Compacted { asked, compacted });
            }
            TxnOp::Range(query) => drop(model_answer(&before, query)?),
            _ => {}
        }
    }
    let done = run(&before, model, txn)?;
    Ok(Outcome::Txn { done, revision: revision(&before, model) })
}

/// The operations of the branches that are taken.
fn flatten(before: &Model, txn: &Txn, taken: &mut Vec<TxnOp>) {
    let succeeded = txn.compare.iter().all(|compare| holds(before, compare));
    for op in if succeeded { &txn.success } else { &txn.failure } {
        match op {
            TxnOp::Txn(inner) => flatten(before, inner, taken),
            other => taken.push(other.clone()),
        }
    }
}

fn revision(before: &Model, model: &Model) -> i64 {
    before.revision + i64::from(model.keys.len() > before.keys.len())
}

fn run(before: &Model, model: &mut Model, txn: &Txn) -> Result<TxnDone, Refusal> {
    let succeeded = txn.compare.iter().all(|compare| holds(before, compare));
    let branch = if succeeded { &txn.success } else { &txn.failure };
    let mut answers = Vec::new();
    for op in branch {
        let answer = match op {
            TxnOp::Txn(inner) => TxnAnswer::Txn(run(before, model, inner)?),
            TxnOp::Range(query) => {
                // The future begins where the transaction did; without a revision, where it is.
                let (rows, more, count) = if query.revision > 0 {
                    model_answer(before, query)?
                } else {
                    let mut ahead = model.clone();
                    ahead.revision += 1;
                    model_answer(&ahead, query)?
                };
                let rows = rows.into_iter().map(|(key, row)| (key, row.into())).collect();
                let result = crate::state::RangeResult { rows, more, count };
                TxnAnswer::Range { result, revision: revision(before, model) }
            }
            TxnOp::Put(put) => {
                let Outcome::Put { prev, .. } = model.put(put)? else { unreachable!() };
                TxnAnswer::Put { prev, revision: revision(before, model) }
            }
            TxnOp::Delete(delete) => {
                let command = Command::DeleteRange(delete.clone());
                let Outcome::Deleted { count, prev, .. } = model.decide(&command)? else {
                    unreachable!()
                };
                TxnAnswer::Deleted { count, prev, revision: revision(before, model) }
            }
        };
        answers.push(answer);
    }
    Ok(TxnDone { succeeded, answers })
}

fn holds(model: &Model, compare: &Compare) -> bool {
    let mut rows: Vec<_> = model.keys.all();
    rows.retain(|(key, _)| compare.range.contains(key));
    let of = |row: Option<&super::Version<super::Write>>| {
        let number = |own: i64, asked: i64| (own > asked, own < asked);
        let (greater, less) = match &compare.target {
            Target::Version(asked) => number(row.map_or(0, |row| row.version), *asked),
            Target::Create(asked) => number(row.map_or(0, |row| row.create as i64), *asked),
            Target::Modified(asked) => number(row.map_or(0, |row| row.modified as i64), *asked),
            Target::Lease(asked) => number(row.map_or(0, |row| row.value.lease.0), asked.0),
            Target::Value(_) if row.is_none() => return false,
            Target::Value(asked) => {
                let own = row.map(|row| &row.value.value);
                (own > Some(asked), own < Some(asked))
            }
        };
        match compare.relation {
            Relation::Equal => !greater && !less,
            Relation::Greater => greater,
            Relation::Less => less,
            Relation::NotEqual => greater || less,
            Relation::Any => true,
        }
    };
    if rows.is_empty() { of(None) } else { rows.iter().all(|(_, row)| of(Some(row))) }
}

fn put(key: &str, value: &str) -> TxnOp {
    TxnOp::Put(super::put(key, value))
}

#[test]
fn everything_in_one_has_one_revision_or_nothing_happened() {
    let mut told = Told::founded();
    let both = Txn { success: vec![put("a", "1"), put("b", "2")], ..Txn::default() };
    let Outcome::Txn { done, revision } = told.tell(Stamp(1), Command::Txn(both)) else {
        panic!("a transaction's outcome");
    };
    assert!(done.succeeded);
    assert_eq!((revision, told.state.revision()), (2, 2));
    let made = |key: &[u8]| told.state.key(key).map(|row| row.create);
    assert_eq!((made(b"a"), made(b"b")), (Some(2), Some(2)));

    let mut gone = put("c", "3");
    if let TxnOp::Put(put) = &mut gone {
        put.lease = LeaseId(9);
    }
    let half = Txn { success: vec![put("a", "4"), gone], ..Txn::default() };
    let refused = told.tell(Stamp(1), Command::Txn(half));
    assert_eq!(refused, Outcome::Refused(Refusal::LeaseNotFound(LeaseId(9))));
    assert_eq!(told.state.revision(), 2);
    assert_eq!(told.state.key(b"a").unwrap().value, "1");
}

#[test]
fn what_writes_is_not_answered_from_a_state() {
    let told = Told::founded();
    let writes = Txn { failure: vec![put("a", "1")], ..Txn::default() };
    assert_eq!(told.state.read_txn(&writes), Err(Refusal::NotReadOnly));
    let reads = Txn::default();
    let nothing = TxnDone { succeeded: true, answers: Vec::new() };
    assert_eq!(told.state.read_txn(&reads), Ok(nothing));
}

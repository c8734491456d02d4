//! What Consul says of an operation that cannot be done.

use crate::access::Denied;
use crate::state::{KeyOp, OpError, Refusal, RowOp, SequenceOp};

use super::body::Wanted;

pub fn of(wanted: &Wanted, why: &OpError) -> String {
    match why {
        OpError::Denied(Denied::Lacks(lack)) => format!("Permission denied: {lack}"),
        OpError::Denied(_) => "Permission denied".to_owned(),
        OpError::NoSession(id) => format!("invalid session \"{id}\""),
        OpError::Refused(Refusal::NoNode(_)) => "Missing node registration".to_owned(),
        OpError::Refused(Refusal::NoInstanceForCheck { .. }) => {
            "Missing service registration".to_owned()
        }
        OpError::Refused(refusal) => refusal.to_string(),
        why => of_subject(wanted, why),
    }
}

fn of_subject(wanted: &Wanted, why: &OpError) -> String {
    let name = &wanted.name;
    match &wanted.op {
        Ok(SequenceOp::Key(_, op)) => of_key(name, &wanted.session, op, why),
        Ok(SequenceOp::Node(_, op)) => of_row(&format!("node {name:?}"), op, why),
        Ok(SequenceOp::Instance(key, op)) => {
            of_row(&format!("service {:?} on node {name:?}", key.id), op, why)
        }
        Ok(SequenceOp::Check(key, op)) => {
            of_row(&format!("check {:?} on node {name:?}", key.id), op, why)
        }
        Err(flaw) => flaw.what.clone(),
    }
}

fn of_row<T>(subject: &str, op: &RowOp<T>, why: &OpError) -> String {
    match (why, op) {
        (OpError::Stale, RowOp::DeleteCas(_)) => {
            format!("failed to delete {subject}, index is stale")
        }
        (OpError::Stale, _) => format!("failed to set {subject}, index is stale"),
        _ => format!("{subject} doesn't exist"),
    }
}

fn of_key(key: &str, session: &str, op: &KeyOp, why: &OpError) -> String {
    match (why, op) {
        (OpError::Missing, KeyOp::CheckIndex(_)) => {
            format!("failed to check index, key {key:?} doesn't exist")
        }
        (OpError::Missing, KeyOp::CheckSession(_)) => {
            format!("failed to check session, key {key:?} doesn't exist")
        }
        (OpError::Stale, KeyOp::DeleteCas(_)) => {
            format!("failed to delete key {key:?}, index is stale")
        }
        (OpError::Stale, _) => format!("failed to set key {key:?}, index is stale"),
        (OpError::StaleAt(is), KeyOp::CheckIndex(asked)) => {
            format!("failed index check for key {key:?}, current modify index {is} != {asked}")
        }
        (OpError::HeldBy(holder), _) => {
            let holder = holder.map(|holder| holder.to_string()).unwrap_or_default();
            format!(
                "failed session check for key {key:?}, current session {holder:?} != {session:?}"
            )
        }
        (OpError::Exists, _) => format!("key {key:?} exists"),
        (OpError::Held, _) => format!("failed to lock key {key:?}, lock is already held"),
        (OpError::Delayed, _) => format!("failed to lock key {key:?} due to lock delay"),
        (OpError::NotHeld, _) => {
            let why = "lock isn't held, or is held by another session";
            format!("failed to unlock key {key:?}, {why}")
        }
        _ => format!("key {key:?} doesn't exist"),
    }
}

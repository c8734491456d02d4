//! What the catalog teaches the promise, and what the promise has to set right in the catalog.
//!
//! The catalog is the authority for instances that came by API: one that was removed there stays
//! removed. What the config file and the agent itself promise is set back. Rows that others put on
//! this node are never touched.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::{CheckKind, Health, Source};
use crate::state::{CatalogOp, CheckRow, State};

use super::plan::runs_a_program;
use super::promise::{Check, Edit, Promise, Service};

/// The output of a check that has no result in this life of the agent yet.
pub(super) const UNPROVEN: &str = "Not checked yet since the agent started";

/// Changes of the promise that follow from the catalog: API instances of an earlier life are
/// adopted, those that somebody removed are forgotten, overridden tags are taken over.
pub(super) fn learn(promise: &Promise, state: &State) -> Vec<Edit> {
    let node = &promise.folded;
    let mut edits = Vec::new();
    let mut forgotten = BTreeSet::new();
    // A node that vanished as a whole took everything with it: that is a loss, not a wish.
    let create = state.node(node.as_str()).map(|row| row.create);
    let lost = promise.node_create.is_some() && promise.node_create != create;
    for service in promise.services() {
        match state.instance(node, &service.def.id) {
            None if service.source == Source::Api && !lost => {
                forgotten.insert(service.def.id.clone());
                edits.push(Edit::RemoveService(service.def.id.clone()));
            }
            Some(row) if service.def.enable_tag_override && row.def.tags != service.def.tags => {
                let mut service = service.clone();
                service.def.tags = row.def.tags.clone();
                edits.push(Edit::PutService(service));
            }
            _ => {}
        }
    }
    for check in promise.checks().filter(|check| check.source == Source::Api && !lost) {
        let gone_with = check.def.service_id.as_ref().is_some_and(|id| forgotten.contains(id));
        if !gone_with && state.check(node, &check.def.id).is_none() {
            edits.push(Edit::RemoveCheck(check.def.id.clone()));
        }
    }
    adopt(promise, state, &mut edits);
    edits
}

fn adopt(promise: &Promise, state: &State, edits: &mut Vec<Edit>) {
    let node = &promise.folded;
    let mut adopted: BTreeSet<Arc<str>> = BTreeSet::new();
    for row in state.instances_on_node(node).filter(|row| row.source == Source::Api) {
        if promise.service(&row.def.id).is_none() {
            adopted.insert(row.def.id.clone());
            edits.push(Edit::PutService(Service { def: row.def.clone(), source: Source::Api }));
        }
    }
    for row in state.checks_on_node(node).filter(|row| row.source == Source::Api) {
        let subject = row.def.service_id.as_ref();
        let ours = subject.is_none_or(|id| adopted.contains(id) || promise.service(id).is_some());
        let allowed = promise.exec_checks || !runs_a_program(&row.def);
        if ours && allowed && promise.check(&row.def.id).is_none() {
            edits.push(Edit::PutCheck(unproven(row)));
        }
    }
}

/// A check of an earlier life: critical until it is proven good, unless nothing runs it.
fn unproven(row: &CheckRow) -> Check {
    let (status, output) = match row.def.kind {
        CheckKind::Static | CheckKind::Maintenance | CheckKind::Presence => {
            (row.status, row.output.clone())
        }
        _ => (Health::Critical, UNPROVEN.to_owned()),
    };
    Check { def: row.def.clone(), source: row.source, status, output }
}

/// What has to be done so that the catalog shows the promise: empty when it does.
pub(super) fn diff(promise: &Promise, state: &State) -> Vec<CatalogOp> {
    let node = &promise.folded;
    let mut ops = Vec::new();
    if state.node(node.as_str()).is_none_or(|row| row.def != promise.node) {
        ops.push(CatalogOp::PutNode(promise.node.clone()));
    }
    for service in promise.services() {
        let row = state.instance(node, &service.def.id);
        if row.is_none_or(|row| row.def != service.def || row.source != service.source) {
            ops.push(Edit::PutService(service.clone()).op(node));
        }
    }
    ops.extend(promise.checks().filter_map(|check| check_op(promise, check, state)));
    for row in state.instances_on_node(node).filter(|row| is_left_over(row.source)) {
        if promise.service(&row.def.id).is_none() {
            ops.push(Edit::RemoveService(row.def.id.clone()).op(node));
        }
    }
    for row in state.checks_on_node(node).filter(|row| is_left_over(row.source)) {
        if promise.check(&row.def.id).is_none() {
            ops.push(Edit::RemoveCheck(row.def.id.clone()).op(node));
        }
    }
    ops
}

/// What brings one check's row up to date; none if it is, or if its instance has none yet.
pub(super) fn check_op(promise: &Promise, check: &Check, state: &State) -> Option<CatalogOp> {
    let node = &promise.folded;
    match state.check(node, &check.def.id) {
        Some(row) if row.def == check.def && row.source == check.source => {
            let same = row.status == check.status && row.output == check.output;
            (!same).then(|| check.report(node))
        }
        _ => Some(check.put(node)),
    }
}

/// Rows that only the agent itself makes: without a promise they are of an earlier config.
fn is_left_over(source: Source) -> bool {
    matches!(source, Source::Config | Source::System)
}

//! One command under way to the catalog, and who waits for it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::model::{Folded, limits};
use crate::state::{CatalogOp, State};

use super::PresenceError;
use super::handle::Answer;
use super::plan::{Wish, changes, plan, weight};
use super::promise::{Edit, Promise};

/// A wish in the queue. The agent's own wishes have nobody to answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) wish: Wish,
    pub(super) answer: Option<Answer>,
}

impl Pending {
    pub(super) fn answer(self, result: Result<(), PresenceError>) {
        if let Some(answer) = self.answer {
            // The client may have left; its wish was done all the same.
            let _ = answer.send(result);
        }
    }
}

/// What a command carries. All of it happens, or nothing.
#[derive(Debug, Default)]
pub(super) struct Flight {
    pub(super) ops: Vec<CatalogOp>,
    weight: usize,
    /// What the promise becomes once the catalog has it.
    pub(super) edits: Vec<Edit>,
    pub(super) wishes: Vec<Pending>,
    /// Checks whose status is told.
    pub(super) reported: BTreeSet<Arc<str>>,
    /// Who waits for a report.
    pub(super) reports: Vec<Answer>,
    /// It sets rows right that a comparison with the catalog found.
    pub(super) repairs: bool,
    pub(super) withdraws: bool,
    touched: BTreeSet<Subject>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Service(Arc<str>),
    Check(Arc<str>),
    Everything,
}

impl Flight {
    pub(super) fn is_full(&self) -> bool {
        self.weight >= limits::PRESENCE_COMMAND
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
            && self.wishes.is_empty()
            && self.reports.is_empty()
            && self.edits.is_empty()
    }

    pub(super) fn load(&mut self, op: CatalogOp) {
        self.weight += weight(&op);
        self.ops.push(op);
    }

    /// Takes wishes off the queue, at most `most`, until the command is full or a wish needs to
    /// see the effect of one that is on board. A wish that cannot be is answered at once.
    pub(super) fn board(
        &mut self,
        queue: &mut VecDeque<Pending>,
        most: usize,
        promise: &Promise,
        state: &State,
    ) {
        while self.wishes.len() < most && !self.is_full() && !self.withdraws {
            let Some(pending) = queue.pop_front() else { return };
            let edits = match plan(promise, state, &pending.wish) {
                Ok(edits) => edits,
                // It may be possible once those on board have landed.
                Err(_) if !self.wishes.is_empty() => {
                    queue.push_front(pending);
                    return;
                }
                Err(error) => {
                    pending.answer(Err(error));
                    continue;
                }
            };
            let mut subjects = subjects(&edits);
            let leaves = matches!(pending.wish, Wish::Leave);
            if leaves || matches!(pending.wish, Wish::Withdraw) {
                subjects.insert(Subject::Everything);
                if !self.touched.is_empty() {
                    queue.push_front(pending);
                    return;
                }
                self.withdraws = true;
            }
            if !subjects.is_disjoint(&self.touched) {
                queue.push_front(pending);
                return;
            }
            self.touched.append(&mut subjects);
            self.wishes.push(pending);
            self.take(edits, &promise.folded, state);
            if leaves && state.node(promise.folded.as_str()).is_some() {
                self.load(CatalogOp::RemoveNode(promise.folded.clone()));
            }
        }
    }

    fn take(&mut self, edits: Vec<Edit>, node: &Folded, state: &State) {
        for edit in edits {
            let op = edit.op(node);
            if changes(&op, state) {
                self.load(op);
            }
            self.edits.push(edit);
        }
    }
}

fn subjects(edits: &[Edit]) -> BTreeSet<Subject> {
    let mut subjects = BTreeSet::new();
    for edit in edits {
        match edit {
            Edit::PutService(service) => {
                subjects.insert(Subject::Service(service.def.id.clone()));
            }
            Edit::RemoveService(id) => {
                subjects.insert(Subject::Service(id.clone()));
            }
            Edit::PutCheck(check) => {
                subjects.insert(Subject::Check(check.def.id.clone()));
                subjects.extend(check.def.service_id.clone().map(Subject::Service));
            }
            Edit::RemoveCheck(id) => {
                subjects.insert(Subject::Check(id.clone()));
            }
        }
    }
    subjects
}

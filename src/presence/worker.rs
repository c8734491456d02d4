//! Keeps the promise: one command at a time, with everything in it that has come up meanwhile.

use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::cluster::{Cluster, ProposeError};
use crate::health::{Finding, Runner, expired};
use crate::lifecycle::{Backoff, Gate, Level, Life};
use crate::model::{CheckKind, Folded, Health, NodeId, Source, limits};
use crate::replica::{Topic, Watch};
use crate::state::{CatalogOp, Command, Outcome, Refusal, State};

use super::clockwork::Clockwork;
use super::diff::{check_op, diff, learn};
use super::flight::{Flight, Pending};
use super::handle::{Answer, Request};
use super::meters::Meters;
use super::plan::Wish;
use super::promise::{Check, Edit, Promise};
use super::resting::Resting;
use super::{PresenceError, alias};

const SUBJECT: &str = "presence";
/// A comparison with the catalog costs a few look-ups per row. The next one waits this long per
/// row, so that a burst of changes on a node of thousands does not make them quadratic.
const PAUSE_PER_ROW: Duration = Duration::from_micros(20);
/// What is taken in before the next command departs: a burst shares one.
const AT_ONCE: usize = 512;

type Landing = Pin<Box<dyn Future<Output = Result<Outcome, ProposeError>> + Send>>;

pub(super) struct Inputs {
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) findings: mpsc::Receiver<Finding>,
    pub(super) gone: Arc<Notify>,
}

pub(super) struct Worker {
    cluster: Cluster,
    life: Life,
    promise: Promise,
    clock: Clockwork,
    runner: Runner,
    queue: VecDeque<Pending>,
    /// Wishes that fly alone, because a command with several was refused.
    alone: usize,
    /// Checks whose status the catalog may not have.
    dirty: BTreeSet<Arc<str>>,
    /// Who waits for a dirty check.
    reports: Vec<Answer>,
    sight: Sight,
    /// The catalog knows that this agent has left.
    left: bool,
    meters: Meters,
}

/// When to compare the promise with the catalog, and when to try again.
struct Sight {
    /// The node's rows may have changed.
    look: bool,
    /// The leader counts this agent as dead, whatever the catalog says here.
    insist: bool,
    /// The earliest next comparison.
    rested: Instant,
    /// The earliest next try after a failure.
    retry: Instant,
    backoff: Backoff,
}

impl Worker {
    pub(super) fn new(
        cluster: Cluster,
        life: Life,
        promise: Promise,
        runner: Runner,
        (meters, resting): (Meters, Resting),
    ) -> Worker {
        let now = Instant::now();
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let mut worker = Worker {
            cluster,
            life,
            promise,
            clock: Clockwork::new(resting),
            runner,
            queue: VecDeque::new(),
            alone: 0,
            dirty: BTreeSet::new(),
            reports: Vec::new(),
            sight: Sight { look: true, insist: false, rested: now, retry: now, backoff },
            left: false,
            meters,
        };
        let checks: Vec<Arc<str>> =
            worker.promise.checks().map(|check| check.def.id.clone()).collect();
        checks.iter().for_each(|id| worker.mind(id));
        worker
    }

    /// Ends with the shutdown, or once a withdrawal is in the catalog.
    pub(super) async fn run(mut self, mut inputs: Inputs) {
        let shutdown = self.life.shutdown.clone();
        let mut watched = self.nodes_to_watch();
        let mut watch = self.watch(&watched);
        let mut airborne: Option<(Flight, Landing)> = None;
        let (mut requests, mut findings) = (Vec::new(), Vec::new());
        loop {
            // The select below may look at what has departed first.
            if shutdown.has_begun() {
                return;
            }
            if airborne.is_none() {
                airborne = self.depart();
            }
            if self.left {
                return;
            }
            let nodes = self.nodes_to_watch();
            if nodes != watched {
                watch = self.watch(&nodes);
                watched = nodes;
                self.mirror();
            }
            let alarm = self.alarm(airborne.is_some());
            tokio::select! {
                () = shutdown.begun() => return,
                result = land(&mut airborne) => {
                    let Some((flight, _)) = airborne.take() else { continue };
                    self.landed(flight, result);
                }
                heard = inputs.requests.recv_many(&mut requests, AT_ONCE), if self.has_room() => {
                    if heard == 0 {
                        return;
                    }
                    requests.drain(..).for_each(|request| self.hear(request));
                }
                _ = inputs.findings.recv_many(&mut findings, AT_ONCE) => {
                    findings.drain(..).for_each(|finding| self.find(finding));
                }
                () = watch.changed() => {
                    self.sight.look = true;
                    self.mirror();
                }
                () = inputs.gone.notified() => {
                    self.sight.look = true;
                    self.sight.insist = true;
                }
                () = wait_until(alarm) => self.tick(Instant::now()),
            }
        }
    }

    /// Its own node, and those that its aliases are about.
    fn nodes_to_watch(&self) -> BTreeSet<Folded> {
        let own = &self.promise.folded;
        let others = self.promise.aliases().filter_map(|check| alias::subject(&check.def, own));
        others.chain([own.clone()]).collect()
    }

    fn watch(&self, nodes: &BTreeSet<Folded>) -> Watch {
        self.cluster.watch(nodes.iter().cloned().map(Topic::Node))
    }

    /// The aliases say what the checks behind them say now.
    fn mirror(&mut self) {
        let (state, own) = (self.cluster.snapshot(), &self.promise.folded);
        let look = |check: &Check| {
            let (status, output) = alias::look(&check.def, own, &state);
            (check.def.id.clone(), status, output)
        };
        let seen: Vec<_> = self.promise.aliases().map(look).collect();
        for (id, status, output) in seen {
            let Some(check) = self.promise.check_mut(&id) else { continue };
            if self.clock.take(check, status, output, Instant::now()) {
                self.dirty.insert(id);
            }
        }
    }

    fn hear(&mut self, request: Request) {
        match request {
            Request::Wish(wish, answer) => {
                self.queue.push_back(Pending { wish, answer: Some(answer) });
            }
            Request::Report { check, status, output, answer } => {
                self.report(&check, status, output, answer);
            }
        }
    }

    /// An app's word on its TTL check.
    fn report(&mut self, id: &Arc<str>, status: Health, output: String, answer: Answer) {
        let now = Instant::now();
        let Some(check) = self.promise.check_mut(id) else {
            let _ = answer.send(Err(PresenceError::UnknownCheck(id.to_string())));
            return;
        };
        let CheckKind::Ttl { ttl } = check.def.kind else {
            let _ = answer.send(Err(PresenceError::NotTtl(id.to_string())));
            return;
        };
        self.clock.heard(id, ttl, now);
        let changed = self.clock.take(check, status, output, now);
        let state = self.cluster.snapshot();
        let shown = state.check(&self.promise.folded, id).map(|row| row.status);
        if changed || shown != Some(status) {
            self.dirty.insert(id.clone());
            self.reports.push(answer);
        } else {
            let _ = answer.send(Ok(()));
        }
    }

    /// A probe's verdict or a new output of it.
    fn find(&mut self, finding: Finding) {
        if !self.runner.is_current(&finding) {
            return;
        }
        let Some(check) = self.promise.check_mut(&finding.check) else { return };
        if self.clock.take(check, finding.status, finding.output, Instant::now()) {
            self.dirty.insert(finding.check);
        }
    }

    /// Whoever asks while a command is under way waits in the channel once this queue is full.
    fn has_room(&self) -> bool {
        self.queue.len() + self.reports.len() < limits::PRESENCE_QUEUE
    }

    /// When something becomes due by itself.
    fn alarm(&self, flying: bool) -> Option<Instant> {
        let sight = &self.sight;
        let look = (sight.look && !flying).then(|| sight.rested.max(sight.retry));
        let tell = (!self.dirty.is_empty() && !flying).then_some(sight.retry);
        [self.clock.next(), look, tell].into_iter().flatten().min()
    }

    fn tick(&mut self, now: Instant) {
        let due = self.clock.take_due(now);
        for id in due.silent {
            let Some(check) = self.promise.check_mut(&id) else { continue };
            let output = expired(&self.clock.newest(check));
            if self.clock.take(check, Health::Critical, output, now) {
                self.dirty.insert(id);
            }
        }
        for (id, output) in due.rested {
            let Some(check) = self.promise.check_mut(&id) else { continue };
            let status = check.status;
            if self.clock.take(check, status, output, now) {
                self.dirty.insert(id);
            }
        }
        for id in due.given_up {
            let service = self.promise.check(&id).and_then(|check| check.def.service_id.clone());
            if let Some(service) = service {
                tracing::info!(%service, check = %id, "critical for too long: deregistered");
                self.queue.push_back(Pending { wish: Wish::Deregister(service), answer: None });
            }
        }
    }
}

impl Worker {
    /// Puts into one command what the catalog has to be told now; none if that is nothing.
    fn depart(&mut self) -> Option<(Flight, Landing)> {
        let now = Instant::now();
        let asked = !self.queue.is_empty() || !self.reports.is_empty();
        let own = now >= self.sight.retry && (self.sight.look || !self.dirty.is_empty());
        if !asked && !own {
            return None;
        }
        let standing = self.cluster.standing();
        if !standing.synced || standing.id == NodeId::default() {
            self.put_off(now);
            self.turn_away(&ProposeError::NotSynced);
            return None;
        }
        let state = self.cluster.snapshot();
        self.promise.identify(state.identity().cluster, standing.id, standing.role);
        let mut flight = Flight::default();
        let unknown = state.node(self.promise.folded.as_str()).is_none();
        if self.sight.look && (now >= self.sight.rested || (asked && unknown)) {
            self.compare(&mut flight, &state, now);
        }
        self.tell(&mut flight, &state);
        let most = if self.alone > 0 { 1 } else { usize::MAX };
        flight.board(&mut self.queue, most, &self.promise, &state);
        flight.reports = std::mem::take(&mut self.reports);
        if flight.ops.is_empty() {
            if !flight.is_empty() {
                self.done(flight);
            }
            return None;
        }
        let cluster = self.cluster.clone();
        let command = Command::Catalog(flight.ops.clone());
        Some((flight, Box::pin(async move { cluster.propose(command).await })))
    }

    /// Loads what differs between the promise and the catalog.
    fn compare(&mut self, flight: &mut Flight, state: &State, now: Instant) {
        for edit in learn(&self.promise, state) {
            self.edit(edit);
        }
        self.promise.node_create = state.node(self.promise.folded.as_str()).map(|row| row.create);
        let mut ops = diff(&self.promise, state);
        let rows = self.promise.service_count() + self.promise.check_count();
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        self.sight.rested = now + PAUSE_PER_ROW * rows;
        self.sight.look = false;
        if ops.is_empty() && !self.sight.insist {
            self.life.gates.open(Gate::Registered);
            self.life.board.clear(SUBJECT);
            return;
        }
        if self.sight.insist {
            ops.insert(0, CatalogOp::PutNode(self.promise.node.clone()));
            let alive = self.promise.checks().filter(|check| check.source == Source::System);
            ops.extend(alive.map(|check| check.put(&self.promise.folded)));
        }
        flight.repairs = true;
        for op in ops {
            if flight.is_full() {
                break;
            }
            flight.load(op);
        }
    }

    /// Loads the statuses that the catalog may not have.
    fn tell(&mut self, flight: &mut Flight, state: &State) {
        while !flight.is_full() {
            let Some(id) = self.dirty.pop_first() else { return };
            let Some(check) = self.promise.check(&id) else { continue };
            // A row that is gone is no report's business but the comparison's.
            if state.check(&self.promise.folded, &id).is_some()
                && let Some(op) = check_op(&self.promise, check, state)
            {
                flight.load(op);
                flight.reported.insert(id);
            }
        }
    }

    fn landed(&mut self, mut flight: Flight, result: Result<Outcome, ProposeError>) {
        let now = Instant::now();
        let error = match result {
            Ok(Outcome::Refused(refusal)) => self.refused(&mut flight, refusal),
            Ok(_) => {
                self.sight.retry = now;
                self.sight.backoff.reset();
                self.done(flight);
                return;
            }
            Err(error) => PresenceError::Cluster(error),
        };
        self.dirty.append(&mut flight.reported);
        // An unknown outcome may turn up in the catalog; a known failure left work to do.
        self.sight.look = true;
        self.life.board.set(SUBJECT, Level::Warning, error.to_string());
        self.meters.failures.inc();
        self.put_off(now);
        for report in flight.reports {
            let _ = report.send(Err(error.clone()));
        }
        self.alone = self.alone.saturating_sub(flight.wishes.len());
        for pending in flight.wishes {
            self.fail(pending, &error);
        }
    }

    /// A refusal of several wishes may be the fault of one: they are tried again one by one.
    fn refused(&mut self, flight: &mut Flight, refusal: Refusal) -> PresenceError {
        if flight.wishes.len() > 1 {
            self.alone += flight.wishes.len();
            for pending in flight.wishes.drain(..).rev() {
                self.queue.push_front(pending);
            }
        }
        PresenceError::Refused(refusal)
    }

    /// The catalog shows what the command carried.
    fn done(&mut self, flight: Flight) {
        self.alone = self.alone.saturating_sub(flight.wishes.len());
        for edit in flight.edits {
            self.edit(edit);
        }
        if flight.repairs {
            self.sight.insist = false;
            self.sight.look = true;
        }
        let state = self.cluster.snapshot();
        self.promise.node_create = state.node(self.promise.folded.as_str()).map(|row| row.create);
        flight.wishes.into_iter().for_each(|pending| pending.answer(Ok(())));
        for report in flight.reports {
            let _ = report.send(Ok(()));
        }
        self.left = flight.withdraws;
    }

    /// A wish that was not fulfilled is answered; one of the agent's own is tried again.
    fn fail(&mut self, pending: Pending, error: &PresenceError) {
        let (Wish::Deregister(service), None) = (&pending.wish, &pending.answer) else {
            return pending.answer(Err(error.clone()));
        };
        let checks: Vec<Arc<str>> = self.promise.checks_of(service).cloned().collect();
        for check in checks.iter().filter_map(|id| self.promise.check(id)) {
            self.clock.give_up_later(check, self.sight.retry);
        }
    }

    fn edit(&mut self, edit: Edit) {
        for id in self.promise.edit(edit) {
            self.mind(&id);
        }
        self.mirror();
        let services = i64::try_from(self.promise.service_count()).unwrap_or(i64::MAX);
        self.meters.services.set(services);
    }

    /// A check was added, redefined or removed: probes and deadlines follow.
    fn mind(&mut self, id: &Arc<str>) {
        match self.promise.check(id) {
            Some(check) => {
                self.clock.watch(check, Instant::now());
                self.runner.put(&check.def);
            }
            None => {
                self.clock.forget(id);
                self.runner.remove(id);
                self.dirty.remove(id);
            }
        }
    }

    fn turn_away(&mut self, error: &ProposeError) {
        let error = PresenceError::from(error.clone());
        for pending in std::mem::take(&mut self.queue) {
            self.fail(pending, &error);
        }
        for report in self.reports.drain(..) {
            let _ = report.send(Err(error.clone()));
        }
    }

    fn put_off(&mut self, now: Instant) {
        self.sight.retry = now + self.sight.backoff.next_delay();
    }
}

async fn land(airborne: &mut Option<(Flight, Landing)>) -> Result<Outcome, ProposeError> {
    match airborne {
        Some((_, landing)) => landing.await,
        None => std::future::pending().await,
    }
}

async fn wait_until(alarm: Option<Instant>) {
    match alarm {
        Some(alarm) => tokio::time::sleep_until(alarm).await,
        None => std::future::pending().await,
    }
}

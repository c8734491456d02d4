//! What a client's wish changes: pure, from the promise as it is to a list of edits.

use std::sync::Arc;

use crate::model::{CheckDef, CheckKind, Health, ServiceDef, Source, Target};
use crate::state::{CatalogOp, State};

use super::configure::{Configured, configure};
use super::naming::name_checks;
use super::promise::{Check, Edit, Promise, Service};
use super::{PresenceError, validate};

/// The output of the agent's own check once it has left in good order.
const LEFT: &str = "Agent has left";

#[derive(Debug, Clone)]
pub(super) enum Wish {
    Register {
        def: ServiceDef,
        checks: Vec<CheckDef>,
        replace_checks: bool,
    },
    Deregister(Arc<str>),
    RegisterCheck(CheckDef),
    DeregisterCheck(Arc<str>),
    /// The services of the config file, read again.
    Configure(Configured),
    Withdraw,
    /// The node goes out of the catalog, with all that is on it.
    Leave,
}

/// The edits that fulfil a wish, in the order in which the catalog has to see them.
pub(super) fn plan(
    promise: &Promise,
    state: &State,
    wish: &Wish,
) -> Result<Vec<Edit>, PresenceError> {
    match wish {
        Wish::Register { def, checks, replace_checks } => {
            register(promise, def, checks, *replace_checks)
        }
        Wish::Deregister(id) => deregister(promise, state, id),
        Wish::RegisterCheck(def) => register_check(promise, def),
        Wish::DeregisterCheck(id) => deregister_check(promise, state, id),
        Wish::Configure(services) => configure(promise, services),
        Wish::Withdraw => Ok(withdraw(promise)),
        // No edit of a promise: it ends.
        Wish::Leave => Ok(Vec::new()),
    }
}

fn register(
    promise: &Promise,
    def: &ServiceDef,
    checks: &[CheckDef],
    replace_checks: bool,
) -> Result<Vec<Edit>, PresenceError> {
    validate::service(def)?;
    let known = promise.service(&def.id);
    // A configured service stays one: it comes back as configured at the next start.
    let source = known.map_or(Source::Api, |known| known.source);
    let mut edits = vec![Edit::PutService(Service { def: def.clone(), source })];
    let checks = name_checks(def, checks.to_vec());
    if replace_checks {
        let listed = |id: &Arc<str>| checks.iter().any(|check| check.id == *id);
        let stale = promise.checks_of(&def.id).filter(|id| !listed(id));
        edits.extend(stale.map(|id| Edit::RemoveCheck(id.clone())));
    }
    let new_checks = checks.iter().filter(|check| promise.check(&check.id).is_none()).count();
    let services = promise.service_count() + usize::from(known.is_none());
    validate::counts(services, promise.check_count() + new_checks)?;
    for check in checks {
        edits.push(Edit::PutCheck(renewed(promise, check, source)?));
    }
    Ok(edits)
}

/// The check with its new definition; one that exists keeps its status and output (as in Consul).
fn renewed(promise: &Promise, def: CheckDef, source: Source) -> Result<Check, PresenceError> {
    validate::check(&def)?;
    if runs_a_program(&def) && !promise.exec_checks {
        return Err(PresenceError::NoPrograms(def.id.to_string()));
    }
    match promise.check(&def.id) {
        Some(old) if old.source == Source::System => {
            Err(PresenceError::Reserved(def.id.to_string()))
        }
        Some(old) => Ok(Check { status: old.status, output: old.output.clone(), def, source }),
        None => Ok(Check::new(def, source)),
    }
}

fn deregister(promise: &Promise, state: &State, id: &Arc<str>) -> Result<Vec<Edit>, PresenceError> {
    match promise.service(id) {
        Some(known) if known.source == Source::System => {
            Err(PresenceError::Reserved(id.to_string()))
        }
        Some(_) => Ok(vec![Edit::RemoveService(id.clone())]),
        // Not run by this agent, but put on its node through the catalog.
        None if state.instance(&promise.folded, id).is_some() => {
            Ok(vec![Edit::RemoveService(id.clone())])
        }
        None => Err(PresenceError::UnknownService(id.to_string())),
    }
}

fn register_check(promise: &Promise, def: &CheckDef) -> Result<Vec<Edit>, PresenceError> {
    let mut def = def.clone();
    if def.id.is_empty() {
        def.id = def.name.clone();
    }
    if let Some(service) = &def.service_id
        && promise.service(service).is_none()
    {
        return Err(PresenceError::UnknownService(service.to_string()));
    }
    let check = renewed(promise, def, Source::Api)?;
    let new = usize::from(promise.check(&check.def.id).is_none());
    validate::counts(promise.service_count(), promise.check_count() + new)?;
    Ok(vec![Edit::PutCheck(check)])
}

fn deregister_check(
    promise: &Promise,
    state: &State,
    id: &Arc<str>,
) -> Result<Vec<Edit>, PresenceError> {
    match promise.check(id) {
        Some(known) if known.source == Source::System => {
            Err(PresenceError::Reserved(id.to_string()))
        }
        None if state.check(&promise.folded, id).is_none() => {
            Err(PresenceError::UnknownCheck(id.to_string()))
        }
        _ => Ok(vec![Edit::RemoveCheck(id.clone())]),
    }
}

/// The node leaves the healthy view with all that is on it; only API rows stay, to be found again.
fn withdraw(promise: &Promise) -> Vec<Edit> {
    let own = |source: Source| matches!(source, Source::Config | Source::System);
    let mut edits = Vec::new();
    for check in promise.checks().filter(|check| own(check.source)) {
        if check.source == Source::System {
            let left = Check { status: Health::Critical, output: LEFT.to_owned(), ..check.clone() };
            edits.push(Edit::PutCheck(left));
        } else if check.def.service_id.is_none() {
            edits.push(Edit::RemoveCheck(check.def.id.clone()));
        }
    }
    let services = promise.services().filter(|service| own(service.source));
    edits.extend(services.map(|service| Edit::RemoveService(service.def.id.clone())));
    edits
}

/// Whoever may register such a check has this agent run what they like.
pub(super) fn runs_a_program(def: &CheckDef) -> bool {
    let CheckKind::Probe { target, .. } = &def.kind else { return false };
    matches!(**target, Target::Exec { .. })
}

/// Whether an operation would change anything: repeated registrations cost no log entry.
pub(super) fn changes(op: &CatalogOp, state: &State) -> bool {
    match op {
        CatalogOp::PutInstance { node, def, source } => {
            state.instance(node, &def.id).is_none_or(|row| row.def != *def || row.source != *source)
        }
        CatalogOp::PutCheck { node, def, status, output, source } => {
            state.check(node, &def.id).is_none_or(|row| {
                row.def != *def
                    || row.status != *status
                    || row.output != *output
                    || row.source != *source
            })
        }
        _ => true,
    }
}

/// Roughly how many bytes an operation has in the log.
pub(super) fn weight(op: &CatalogOp) -> usize {
    let text = match op {
        CatalogOp::PutInstance { def, .. } => {
            let tags: usize = def.tags.iter().map(|tag| tag.len()).sum();
            let meta: usize = def.meta.iter().map(|(key, value)| key.len() + value.len()).sum();
            tags + meta + def.id.len() + def.name.len()
        }
        CatalogOp::PutCheck { def, output, .. } => {
            let words = output.len() + def.notes.len() + def.name.len() + def.id.len();
            def.kind.weight() + words
        }
        CatalogOp::Report { output, .. } => output.len(),
        _ => 0,
    };
    text + 128
}

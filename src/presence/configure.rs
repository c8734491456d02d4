//! What a config file that was read again changes: pure, from the promise to a list of edits.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::{CheckDef, ServiceDef, Source};

use super::naming::name_checks;
use super::promise::{Check, Edit, Promise, Service};
use super::{PresenceError, validate};

/// Services of the config, each with its checks.
pub(super) type Configured = Vec<(ServiceDef, Vec<CheckDef>)>;

/// The services of the file are as in the file, those that have gone from it go, and what came by
/// API stays. Checks that were there keep their status.
pub(super) fn configure(
    promise: &Promise,
    services: &Configured,
) -> Result<Vec<Edit>, PresenceError> {
    let (mut edits, mut named) = (Vec::new(), Named::default());
    for (def, checks) in services {
        validate::service(def)?;
        let field = format!("services[{}]", def.id);
        if !named.services.insert(def.id.clone()) {
            return Err(PresenceError::invalid(field, "another service has this id"));
        }
        edits.push(Edit::PutService(Service { def: def.clone(), source: Source::Config }));
        for def in name_checks(def, checks.clone()) {
            validate::check(&def)?;
            let elsewhere = |old: &Check| old.def.service_id != def.service_id;
            let taken = promise.check(&def.id).is_some_and(elsewhere);
            if taken || !named.checks.insert(def.id.clone()) {
                let reason = format!("another check has the id {:?}", def.id);
                return Err(PresenceError::invalid(field, reason));
            }
            let new = Check::new(def, Source::Config);
            edits.push(Edit::PutCheck(match promise.check(&new.def.id) {
                Some(old) => Check { status: old.status, output: old.output.clone(), ..new },
                None => new,
            }));
        }
    }
    let of_config = |source| source == Source::Config;
    let left = promise.services().filter(|service| of_config(service.source));
    for service in left.filter(|service| !named.services.contains(&service.def.id)) {
        edits.push(Edit::RemoveService(service.def.id.clone()));
    }
    for check in promise.checks().filter(|check| of_config(check.source)) {
        let kept = check.def.service_id.as_ref().is_some_and(|id| named.services.contains(id));
        if kept && !named.checks.contains(&check.def.id) {
            edits.push(Edit::RemoveCheck(check.def.id.clone()));
        }
    }
    let mut after = promise.clone();
    edits.iter().for_each(|edit| drop(after.edit(edit.clone())));
    validate::counts(after.service_count(), after.check_count())?;
    Ok(edits)
}

/// Ids that the file has used.
#[derive(Default)]
struct Named {
    services: BTreeSet<Arc<str>>,
    checks: BTreeSet<Arc<str>>,
}

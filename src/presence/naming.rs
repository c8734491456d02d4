//! Which ids and names the checks of a service get, be they from the config file or the API.

use crate::model::{CheckDef, ServiceDef};

/// Binds the checks to their service. One without an id is `service:<id>`, or `service:<id>:<n>`
/// (from 1) where the service has several; one without a name is `Service '<name>' check`.
pub(super) fn name_checks(service: &ServiceDef, checks: Vec<CheckDef>) -> Vec<CheckDef> {
    let several = checks.len() > 1;
    let named = checks.into_iter().enumerate().map(|(at, mut check)| {
        if check.id.is_empty() {
            check.id = match several {
                true => format!("service:{}:{}", service.id, at + 1).into(),
                false => format!("service:{}", service.id).into(),
            };
        }
        if check.name.is_empty() {
            check.name = format!("Service '{}' check", service.name).into();
        }
        check.service_id = Some(service.id.clone());
        check
    });
    named.collect()
}

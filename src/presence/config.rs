//! What this agent is told to promise: its node, and the services of the config file.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::model::{CheckDef, Health, NodeName, ServiceDef, Source};
use crate::state::{NodeDef, PRESENT, presence_check};

use super::PresenceError;
use super::naming::name_checks;
use super::promise::{Check, Edit, Promise, Service};
use super::validate;

#[derive(Debug, Clone)]
pub struct Config {
    pub node: NodeName,
    /// Where others reach this node's instances: an IP address or a host name.
    pub address: String,
    pub meta: BTreeMap<String, String>,
    /// How long this agent may be silent before its node turns critical. At least a second.
    pub presence_ttl: Duration,
    /// Services of the config file, each with its checks; ids that are empty are assigned.
    pub services: Vec<(ServiceDef, Vec<CheckDef>)>,
    /// The port of the service `consul`, whose instances are the servers.
    pub peer_port: u16,
    /// Whether checks that come by API may run programs on this host.
    pub exec_checks: bool,
}

impl Config {
    /// The promise before anything is known of the cluster.
    pub(super) fn promise(self) -> Result<Promise, PresenceError> {
        if self.presence_ttl < Duration::from_secs(1) {
            return Err(PresenceError::invalid("presence_ttl", "must be at least 1s"));
        }
        validate::meta("meta", &self.meta)?;
        let node = NodeDef {
            name: self.node.as_str().into(),
            agent: None,
            uuid: String::new(),
            address: self.address.as_str().into(),
            tagged_addresses: tagged(&self.address),
            meta: self.meta,
            presence_ttl: self.presence_ttl,
        };
        let mut promise = Promise::new(node, self.peer_port, self.exec_checks);
        promise.edit(Edit::PutCheck(Check {
            def: presence_check(),
            source: Source::System,
            status: Health::Passing,
            output: PRESENT.to_owned(),
        }));
        for (def, checks) in self.services {
            add_configured(&mut promise, def, checks)?;
        }
        Ok(promise)
    }
}

fn add_configured(
    promise: &mut Promise,
    def: ServiceDef,
    checks: Vec<CheckDef>,
) -> Result<(), PresenceError> {
    validate::service(&def)?;
    let field = format!("services[{}]", def.id);
    if promise.service(&def.id).is_some() {
        return Err(PresenceError::invalid(field, "another service has this id"));
    }
    let checks = name_checks(&def, checks);
    promise.edit(Edit::PutService(Service { def, source: Source::Config }));
    for def in checks {
        validate::check(&def)?;
        if promise.check(&def.id).is_some() {
            let reason = format!("another check has the id {:?}", def.id);
            return Err(PresenceError::invalid(field, reason));
        }
        promise.edit(Edit::PutCheck(Check::new(def, Source::Config)));
    }
    validate::counts(promise.service_count(), promise.check_count())
}

/// The addresses under the names that Consul gives them.
fn tagged(address: &str) -> BTreeMap<String, String> {
    let family = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => Some("ipv4"),
        Ok(IpAddr::V6(_)) => Some("ipv6"),
        Err(_) => None,
    };
    let mut tagged = BTreeMap::new();
    for side in ["lan", "wan"] {
        tagged.insert(side.to_owned(), address.to_owned());
        if let Some(family) = family {
            tagged.insert(format!("{side}_{family}"), address.to_owned());
        }
    }
    tagged
}

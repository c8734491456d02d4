//! Turns the bodies of the agent's registrations into definitions of services and checks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    CheckDef, CheckKind, Flaps, Health, ServiceDef, TaggedAddress, Target, Weights, limits,
};

use super::decode::{self, DecodeError, Fields};
use super::entry::{port, tagged_address};
use super::error::Failure;
use super::probe::Asked;

/// Checks are not run more often than this.
const INTERVAL_LEAST: Duration = Duration::from_secs(1);
/// How long an app may take to answer, where nothing else is said; a program has longer.
const TIMEOUT: Duration = Duration::from_secs(10);
const EXEC_TIMEOUT: Duration = Duration::from_secs(30);

fn undecodable(error: DecodeError) -> Failure {
    Failure::bad(format!("Request decode failed: {error}"))
}

/// The body of `agent/service/register`. Checks without an id or name get theirs from presence.
pub fn service(body: &[u8]) -> Result<(ServiceDef, Vec<CheckDef>), Failure> {
    let mut fields =
        decode::object_of_type(body, "", "structs.ServiceDefinition").map_err(undecodable)?;
    let (def, weights, checks) = read_service(&mut fields).map_err(undecodable)?;
    fields.finish().map_err(undecodable)?;
    if def.name.is_empty() {
        return Err(Failure::bad("Missing service name"));
    }
    if matches!(&*def.address, "0.0.0.0" | "::" | "[::]") {
        return Err(Failure::bad("Invalid service address"));
    }
    let mut def = def;
    if let Some((passing, warning)) = weights {
        def.weights = shares(passing, warning)?;
    }
    check_meta(&def.meta)?;
    checks.iter().try_for_each(Check::reconcile)?;
    let mut verified = Vec::new();
    for check in checks {
        verified.push(check.verify("Status for checks must 'passing', 'warning', 'critical'")?);
    }
    check_tagged(&def)?;
    fill_tagged(&mut def);
    Ok((def, verified))
}

type Shares = Option<(i64, i64)>;

fn read_service(fields: &mut Fields) -> Result<(ServiceDef, Shares, Vec<Check>), DecodeError> {
    let (id, name) = (fields.string(&["ID"])?, fields.string(&["Name"])?);
    let mut def = ServiceDef::new(if id.is_empty() { &name } else { &id }, &name);
    def.tags = fields.strings(&["Tags"])?.into_iter().map(Arc::from).collect();
    def.meta = fields.map(&["Meta"])?;
    def.address = fields.string(&["Address"])?.into();
    def.port = port(fields)?;
    def.enable_tag_override = fields.boolean(&["EnableTagOverride", "enable_tag_override"])?;
    for (name, mut to) in fields
        .objects_by_name(&["TaggedAddresses", "tagged_addresses"], "structs.ServiceAddress")?
    {
        def.tagged_addresses.insert(name, tagged_address(&mut to)?);
        to.finish()?;
    }
    let weights = match fields.object(&["Weights"], "structs.Weights")? {
        None => None,
        Some(mut given) => {
            let passing = given.integer(&["Passing"])?.unwrap_or_default();
            let warning = given.integer(&["Warning"])?.unwrap_or_default();
            given.finish()?;
            Some((passing, warning))
        }
    };
    let mut given = fields.objects(&["Checks"], "structs.CheckType")?;
    given.extend(fields.object(&["Check"], "structs.CheckType")?);
    let mut checks = Vec::new();
    for check in given.into_iter().filter(|check| !check.is_empty()) {
        checks.push(Check::read(check)?);
    }
    fields.skip(&["Kind", "Proxy", "Connect", "Locality", "SocketPath", "Token"]);
    Ok((def, weights, checks))
}

fn check_meta(meta: &BTreeMap<String, String>) -> Result<(), Failure> {
    let bad = |text: String| Err(Failure::bad(format!("Invalid Service Meta: {text}")));
    if meta.len() > limits::META_PAIRS {
        let most = limits::META_PAIRS;
        return bad(format!("Node metadata cannot contain more than {most} key/value pairs"));
    }
    for (key, value) in meta {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let why = if key.is_empty() {
            "Key cannot be blank".to_owned()
        } else if !key.chars().all(plain) {
            "Key contains invalid characters".to_owned()
        } else if key.len() > limits::META_KEY {
            format!("Key is too long (limit: {} characters)", limits::META_KEY)
        } else if key.starts_with("consul-") {
            "Key prefix 'consul-' is reserved for internal use".to_owned()
        } else if value.len() > limits::META_VALUE {
            format!("Value is too long (limit: {} characters)", limits::META_VALUE)
        } else {
            continue;
        };
        return bad(format!("Couldn't load metadata pair ('{key}', '{value}'): {why}"));
    }
    Ok(())
}

fn shares(passing: i64, warning: i64) -> Result<Weights, Failure> {
    if passing < 1 {
        return Err(Failure::bad("Invalid Weights: Passing must be greater than 0"));
    }
    match (u16::try_from(passing), u16::try_from(warning)) {
        (Ok(passing), Ok(warning)) => Ok(Weights { passing, warning }),
        _ => Err(Failure::bad("Invalid Weights: DNS Weight must be between 0 and 65535")),
    }
}

/// Names that promise a family of addresses keep it.
fn check_tagged(def: &ServiceDef) -> Result<(), Failure> {
    for (name, tagged) in &def.tagged_addresses {
        let ip = tagged.address.parse::<IpAddr>().ok();
        let family = match &**name {
            "lan_ipv4" | "wan_ipv4" if !ip.is_some_and(|ip| ip.is_ipv4()) => "ipv4",
            "lan_ipv6" | "wan_ipv6" if !ip.is_some_and(|ip| ip.is_ipv6()) => "ipv6",
            _ => continue,
        };
        return Err(Failure::internal(format!(
            "Service tagged address {name:?} must be a valid {family} address"
        )));
    }
    Ok(())
}

/// An address that is an IP address stands under the names of its family too.
fn fill_tagged(def: &mut ServiceDef) {
    let names = match def.address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => ["lan_ipv4", "wan_ipv4"],
        Ok(IpAddr::V6(_)) => ["lan_ipv6", "wan_ipv6"],
        Err(_) => return,
    };
    for name in names {
        let own = TaggedAddress { address: def.address.to_string(), port: def.port };
        def.tagged_addresses.entry(name.to_owned()).or_insert(own);
    }
}

/// The body of `agent/check/register`.
pub fn check(body: &[u8]) -> Result<CheckDef, Failure> {
    let fields =
        decode::object_of_type(body, "", "structs.CheckDefinition").map_err(undecodable)?;
    let check = Check::read(fields).map_err(undecodable)?;
    if check.def.name.is_empty() {
        return Err(Failure::bad("Missing check name"));
    }
    let mut def = check.verify("Bad check status")?;
    if def.id.is_empty() {
        def.id = def.name.clone();
    }
    Ok(def)
}

/// The body of `agent/check/update`.
pub fn update(body: &[u8]) -> Result<(Health, String), Failure> {
    let mut fields = decode::object(body, "agent.checkUpdate").map_err(undecodable)?;
    let status = fields.string(&["Status"]).map_err(undecodable)?;
    let output = fields.string(&["Output"]).map_err(undecodable)?;
    fields.finish().map_err(undecodable)?;
    match status.parse() {
        Ok(status) => Ok((status, output)),
        Err(_) => Err(Failure::bad(format!("Invalid check status: '{status}'"))),
    }
}

/// A check as it was asked for, not looked at yet.
struct Check {
    def: CheckDef,
    status: String,
    /// In nanoseconds, for they may be negative.
    interval: i64,
    ttl: i64,
    timeout: Option<Duration>,
    output_max: i64,
    /// Failures before a warning, and before critical.
    failures: [Option<i64>; 2],
    asked: Asked,
}

impl Check {
    fn read(mut fields: Fields) -> Result<Check, DecodeError> {
        let (id, own) = (fields.string(&["CheckID"])?, fields.string(&["ID"])?);
        let name = fields.string(&["Name"])?;
        let mut def =
            CheckDef::new(if id.is_empty() { &own } else { &id }, &name, CheckKind::Static);
        def.notes = fields.string(&["Notes"])?;
        let service = fields.string(&["ServiceID", "service_id"])?;
        def.service_id = (!service.is_empty()).then(|| service.into());
        let after = ["DeregisterCriticalServiceAfter", "deregister_critical_service_after"];
        def.deregister_after = fields.duration(&after)?.filter(|after| !after.is_zero());
        let warning = fields.integer(&["FailuresBeforeWarning"])?;
        let critical = fields.integer(&["FailuresBeforeCritical"])?;
        def.flaps = Flaps {
            rise: count(fields.integer(&["SuccessBeforePassing"])?).unwrap_or(1),
            warn: count(warning),
            fall: count(critical).unwrap_or(1),
        };
        let check = Check {
            def,
            status: fields.string(&["Status"])?,
            interval: fields.nanoseconds(&["Interval"])?,
            ttl: fields.nanoseconds(&["TTL"])?,
            timeout: fields.duration(&["Timeout"])?,
            output_max: fields.integer(&["OutputMaxSize"])?.unwrap_or_default(),
            failures: [warning, critical],
            asked: Asked::read(&mut fields)?,
        };
        fields.skip(&["Token", "ExposedPort", "ProxyHTTP", "ProxyGRPC", "Type"]);
        fields.finish()?;
        Ok(check)
    }

    /// The definition, if it can be run; `bad_status` is said of an unknown status.
    fn verify(self, bad_status: &'static str) -> Result<CheckDef, Failure> {
        self.reconcile()?;
        let invalid = |text: &str| Err(Failure::bad(format!("Invalid check: {text}")));
        let initial = match &*self.status {
            "" => Health::Critical,
            status => status.parse().map_err(|_| Failure::bad(bad_status))?,
        };
        let mut def = self.def;
        def.initial = initial;
        if let Ok(most @ 1..) = usize::try_from(self.output_max) {
            def.output_max = most.min(limits::CHECK_OUTPUT);
        }
        let nanoseconds = |n: i64| Duration::from_nanos(u64::try_from(n).unwrap_or_default());
        def.kind = match self.asked {
            Asked::Nothing => CheckKind::Ttl { ttl: nanoseconds(self.ttl) },
            Asked::Probe(target) => {
                let long = matches!(target, Target::Exec { .. });
                let default = if long { EXEC_TIMEOUT } else { TIMEOUT };
                let timeout = self.timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(default);
                let interval = nanoseconds(self.interval).max(INTERVAL_LEAST);
                CheckKind::probe(target, interval, timeout)
            }
            Asked::Alias { node, service } => CheckKind::Alias { node, service },
            Asked::Unable(kind) => return invalid(&format!("this agent runs no {kind} checks")),
        };
        Ok(def)
    }

    /// What of its members cannot stand beside each other.
    fn reconcile(&self) -> Result<(), Failure> {
        let invalid = |text: &str| Err(Failure::bad(format!("Invalid check: {text}")));
        if self.ttl > 0 && self.interval > 0 {
            return invalid("Interval and TTL cannot both be specified");
        }
        match self.asked {
            Asked::Alias { .. } if self.ttl != 0 => {
                return invalid("TTL must be not be set for Alias checks");
            }
            Asked::Nothing if self.ttl <= 0 => {
                return invalid("TTL must be > 0 for TTL checks");
            }
            Asked::Probe(_) | Asked::Unable(_) if self.interval <= 0 => {
                return invalid(
                    "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks",
                );
            }
            _ => {}
        }
        if self.output_max < 0 {
            return invalid("MaxOutputMaxSize must be positive");
        }
        if let [Some(warning), critical] = self.failures
            && warning > critical.unwrap_or_default()
        {
            return invalid("FailuresBeforeWarning can't be higher than FailuresBeforeCritical");
        }
        Ok(())
    }
}

/// A count of results; less than 1 is none.
fn count(number: Option<i64>) -> Option<u32> {
    u32::try_from(number?).ok().filter(|count| *count > 0)
}

//! `remora register -f FILE`: puts a service of this agent into the catalog.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::api::ApiArgs;
use super::output::{self, OutputArgs};
use super::{Failure, Result};
use crate::agent::config::{Service, parse_service};
use crate::model::{CheckDef, CheckKind, Target, TlsTarget, limits};

#[derive(clap::Args)]
pub(super) struct Args {
    /// YAML or JSON of one service, written as under `services:` in the config; `-` reads it from
    /// standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(args: &Args) -> Result {
    let text = read(&args.file)?;
    let service = parse_service(&args.file, &text).map_err(Failure::usage)?;
    let body = definition(&service);
    let api = args.api.open()?;
    api.put("/v1/agent/service/register", body.to_string().into_bytes())?.success()?;
    if args.output.json {
        return output::print_json(&body);
    }
    let id = output::printable(&service.def.id);
    output::print(&format!("registered {id}; take it out again with `remora deregister {id}`"))
}

fn read(file: &Path) -> Result<String> {
    let what = || format!("cannot read {}", file.display());
    let mut text = String::new();
    let most = limits::HTTP_BODY as u64;
    if file == Path::new("-") {
        std::io::stdin().take(most).read_to_string(&mut text).with_context(what)?;
    } else {
        let opened = std::fs::File::open(file).with_context(what)?;
        opened.take(most).read_to_string(&mut text).with_context(what)?;
    }
    Ok(text)
}

/// The body of Consul's `agent/service/register`.
fn definition(service: &Service) -> Value {
    let def = &service.def;
    json!({
        "ID": def.id,
        "Name": def.name,
        "Tags": def.tags,
        "Meta": def.meta,
        "Address": def.address,
        "Port": def.port,
        "Weights": { "Passing": def.weights.passing, "Warning": def.weights.warning },
        "EnableTagOverride": def.enable_tag_override,
        "Checks": service.checks.iter().map(check).collect::<Vec<_>>(),
    })
}

fn check(def: &CheckDef) -> Value {
    let mut body = json!({
        "CheckID": def.id,
        "Name": def.name,
        "Notes": def.notes,
        "Status": def.initial.as_str(),
        "SuccessBeforePassing": def.flaps.rise,
        "FailuresBeforeWarning": def.flaps.warn,
        "FailuresBeforeCritical": def.flaps.fall,
        "OutputMaxSize": def.output_max,
    });
    let kind = match &def.kind {
        CheckKind::Ttl { ttl } => json!({ "TTL": duration(*ttl) }),
        CheckKind::Probe { target, interval, timeout } => {
            let mut probe = asked(target);
            probe["Interval"] = json!(duration(*interval));
            probe["Timeout"] = json!(duration(*timeout));
            probe
        }
        CheckKind::Alias { node, service } => {
            json!({ "AliasNode": node, "AliasService": service })
        }
        CheckKind::Presence | CheckKind::Static | CheckKind::Maintenance => json!({}),
    };
    let after = def
        .deregister_after
        .map(|after| json!({ "DeregisterCriticalServiceAfter": duration(after) }));
    if let Value::Object(body) = &mut body {
        for part in [Some(kind), after].into_iter().flatten() {
            if let Value::Object(part) = part {
                body.extend(part);
            }
        }
    }
    body
}

/// What a probe asks, in the members of Consul's API.
fn asked(target: &Target) -> Value {
    let over = |mut probe: Value, uses: &str, tls: Option<&TlsTarget>| {
        probe[uses] = json!(tls.is_some());
        if let Some(tls) = tls {
            probe["TLSServerName"] = json!(tls.server_name);
            probe["TLSSkipVerify"] = json!(tls.skip_verify);
        }
        probe
    };
    match target {
        Target::Http(http) => json!({
            "HTTP": http.url,
            "Method": http.method,
            "Header": http.headers,
            "Body": http.body,
            "DisableRedirects": !http.redirects,
            "TLSServerName": http.tls.server_name,
            "TLSSkipVerify": http.tls.skip_verify,
        }),
        Target::Tcp { address, tls } => over(json!({ "TCP": address }), "TCPUseTLS", tls.as_ref()),
        Target::Udp { address } => json!({ "UDP": address }),
        Target::Grpc { address, service, tls } => {
            let whole = match service.is_empty() {
                true => address.clone(),
                false => format!("{address}/{service}"),
            };
            over(json!({ "GRPC": whole }), "GRPCUseTLS", tls.as_ref())
        }
        Target::H2Ping { address, tls } => {
            over(json!({ "H2PING": address }), "H2PingUseTLS", tls.as_ref())
        }
        Target::Exec { argv } => json!({ "Args": argv }),
    }
}

/// As Go writes it; milliseconds are as fine as checks are.
fn duration(duration: std::time::Duration) -> String {
    format!("{}ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_sent_as_consul_wants_it() {
        let text = "name: web\nport: 8080\ntags: [v1]\nmeta: { zone: eu }\nchecks:\n\
                    \x20 - { http: \"http://127.0.0.1:8080/\", interval: 5s, timeout: 1s }\n\
                    \x20 - { ttl: 15s, deregister_after: 2m, fall: 3 }\n";
        let service = parse_service(Path::new("web.yaml"), text).expect("a service");
        let body = definition(&service);
        assert_eq!(body["ID"], "web");
        assert_eq!(body["Port"], 8080);
        assert_eq!(body["Tags"], json!(["v1"]));
        assert_eq!(body["Meta"], json!({ "zone": "eu" }));
        assert_eq!(body["Checks"][0]["HTTP"], "http://127.0.0.1:8080/");
        assert_eq!(body["Checks"][0]["Interval"], "5000ms");
        assert_eq!(body["Checks"][1]["TTL"], "15000ms");
        assert_eq!(body["Checks"][1]["FailuresBeforeCritical"], 3);
        assert_eq!(body["Checks"][1]["DeregisterCriticalServiceAfter"], "120000ms");
    }
}

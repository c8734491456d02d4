//! `remora register -f FILE`: puts a service of this agent into the catalog.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::api::ApiArgs;
use super::output::{self, OutputArgs};
use super::{Failure, Result};
use crate::agent::config::{Service, parse_service};
use crate::model::{CheckDef, CheckKind, limits};

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
        "SuccessBeforePassing": def.rise,
        "FailuresBeforeCritical": def.fall,
    });
    let kind = match &def.kind {
        CheckKind::Ttl { ttl } => json!({ "TTL": duration(*ttl) }),
        CheckKind::Http { url, method, headers, body, interval, timeout, tls_skip_verify } => {
            json!({
                "HTTP": url,
                "Method": method,
                "Header": headers,
                "Body": body,
                "Interval": duration(*interval),
                "Timeout": duration(*timeout),
                "TLSSkipVerify": tls_skip_verify,
            })
        }
        CheckKind::Tcp { address, interval, timeout } => json!({
            "TCP": address,
            "Interval": duration(*interval),
            "Timeout": duration(*timeout),
        }),
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

//! A real Consul that is asked first, so that its answers take the place of recorded ones.

use std::path::{Path, PathBuf};

use ::http::StatusCode;
use serde_json::{Map, Value, json};

use super::names::Names;
use super::rules::Expected;
use super::transcript::{Answer, Block};

/// Where its program is. Without it the record is what answers are held against.
pub fn program() -> Option<PathBuf> {
    std::env::var_os("REPLAY_CONSUL").map(PathBuf::from)
}

/// What an agent of a profile was configured with when the record was made, and its arguments.
pub fn config(profile: &str, name: &str, place: &str, port: u16, dir: &Path) -> (Value, bool) {
    let mut config = json!({
        "node_name": name,
        "datacenter": "dc1",
        "server": true,
        "bootstrap_expect": 1,
        "data_dir": dir.join(format!("consul-{name}")),
        "bind_addr": place,
        "client_addr": place,
        "disable_host_node_id": true,
        "disable_update_check": true,
        "log_level": "warn",
        "leave_on_terminate": false,
        "performance": { "raft_multiplier": 1 },
        "ports": {
            "http": port,
            "dns": port + 1,
            "server": port + 2,
            "serf_lan": port + 3,
            "serf_wan": port + 4,
            "grpc": -1,
        },
    });
    let more = match profile {
        "default" => json!({
            "enable_script_checks": true,
            "node_meta": { "rack": "r1", "os": "linux" },
        }),
        "acl" => json!({ "acl": {
            "enabled": true,
            "default_policy": "deny",
            "down_policy": "deny",
            "token_ttl": "0s",
            "policy_ttl": "0s",
        } }),
        "tuned" => tuned(place),
        "cluster" => in_cluster(name, place),
        "lost" => json!({
            "bootstrap_expect": 3,
            "retry_join": [format!("{place}:18503")],
            "retry_interval": "1s",
        }),
        "noleader" => json!({ "bootstrap_expect": 3 }),
        "dev" => {
            // The flag says the rest.
            let dev = ["node_name", "bind_addr", "client_addr", "disable_host_node_id"];
            let kept = dev.into_iter().chain(["disable_update_check", "log_level", "ports"]);
            let kept = kept.map(|key| (key.to_owned(), config[key].take()));
            return (Value::Object(kept.collect()), true);
        }
        other => panic!("no profile {other}"),
    };
    merge(config.as_object_mut().unwrap(), more);
    (config, false)
}

fn tuned(place: &str) -> Value {
    json!({
        "domain": "corp.test.",
        "alt_domain": "alt.test.",
        "recursors": [format!("{place}:18991")],
        "translate_wan_addrs": true,
        "advertise_addr_wan": place,
        "ui": true,
        "session_ttl_min": "2s",
        "limits": { "kv_max_value_size": 100, "txn_max_req_len": 300 },
        "telemetry": { "prometheus_retention_time": "60s", "disable_hostname": true },
        "http_config": {
            "response_headers": { "X-Extra": "yes" },
            "block_endpoints": ["/v1/event", "/v1/agent/host"],
        },
        "dns_config": {
            "node_ttl": "30s",
            "service_ttl": { "*": "5s", "web": "10s", "pre*": "20s" },
            "only_passing": true,
            "enable_truncate": true,
            "udp_answer_limit": 2,
            "a_record_limit": 4,
            "disable_compression": true,
            "soa": { "refresh": 1800, "retry": 300, "expire": 43200, "min_ttl": 60 },
        },
    })
}

fn in_cluster(name: &str, place: &str) -> Value {
    let zone = match name {
        "c1" => "a",
        "c2" => "b",
        _ => return json!({ "primary_datacenter": "dc1" }),
    };
    json!({
        "primary_datacenter": "dc1",
        "server": false,
        "bootstrap_expect": null,
        "retry_join": [format!("{place}:18503")],
        "retry_interval": "1s",
        "node_meta": { "zone": zone },
    })
}

/// What is null is left out.
fn merge(config: &mut Map<String, Value>, more: Value) {
    for (key, value) in more.as_object().unwrap() {
        match value {
            Value::Null => config.remove(key),
            value => config.insert(key.clone(), value.clone()),
        };
    }
}

/// What says that an agent of a profile may be asked: paths, and what their answers hold.
pub fn signs_of_life(profile: &str, name: &str) -> Vec<(String, String)> {
    match profile {
        // Until its ACLs are on the answer is another.
        "acl" => vec![("/v1/acl/policies".to_owned(), "Permission denied".to_owned())],
        // Known, told all of itself, and measured.
        _ => vec![
            (format!("/v1/health/node/{name}"), "serfHealth".to_owned()),
            (format!("/v1/catalog/node/{name}"), "lan_ipv4".to_owned()),
            ("/v1/coordinate/nodes".to_owned(), format!("\"Node\":\"{name}\"")),
        ],
    }
}

/// The block as it is expected where no rule is looked at.
pub fn as_it_is(block: &Block) -> Expected {
    Expected { block: block.clone(), any: false, fits: None }
}

/// The block with an answer of a live Consul, written as the record would have it.
pub fn retold(block: &Block, answered: &Answer, names: &Names) -> Block {
    let mut block = block.clone();
    if block.is_dns() || answered.status.starts_with("0 ") {
        block.answer.status.clone_from(&answered.status);
    } else if block.answer.status.split(' ').next() != Some(answered.status.as_str()) {
        let code = answered.status.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
        let reason = code.and_then(|code| code.canonical_reason()).unwrap_or_default();
        block.answer.status = format!("{} {reason}", answered.status);
    }
    block.answer.how.clone_from(&answered.how);
    block.answer.body = names.in_the_record(&answered.body);
    let uncompared = ["date", "content-length", "connection", "transfer-encoding"];
    let recorded = std::mem::take(&mut block.answer.headers);
    let place = |name: &str| {
        let mut known = recorded.iter();
        known.position(|(other, _)| other.eq_ignore_ascii_case(name)).unwrap_or(recorded.len())
    };
    let headers = answered.headers.iter().filter(|(name, _)| !uncompared.contains(&name.as_str()));
    let mut headers: Vec<_> = headers
        .map(|(name, value)| {
            let known = recorded.get(place(name)).map(|(known, _)| known.clone());
            (known.unwrap_or_else(|| titled(name)), names.in_the_record(value))
        })
        .collect();
    headers.sort_by_key(|(name, _)| place(name));
    block.answer.headers = headers;
    block
}

/// `content-type` as `Content-Type`; names of DNS stay as they are.
fn titled(name: &str) -> String {
    if ["edns", "counts", "size"].contains(&name) {
        return name.to_owned();
    }
    let words = name.split('-').map(|word| match word.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    });
    words.collect::<Vec<_>>().join("-")
}

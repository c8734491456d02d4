//! What the recorder did without writing it down: keys before the first block, clients that wait
//! in the background, agents with other settings.

use serde_json::{Value, json};

use super::body::base64;
use super::house::AgentSpec;

/// The agent that a file is played against; `http.hosts` lets the bare requests in, which name
/// their host `x`.
pub fn spec(topic: &str) -> AgentSpec {
    let spec = AgentSpec::server(topic);
    match topic {
        "http" => {
            let listen = format!("listen: [\"{}\"], hosts: [x]", spec.place.http());
            AgentSpec { http: listen, ..spec }
        }
        "cluster" | "maintenance" => advertised(spec),
        "limits" => spec.with("limits: { request: 4KiB, txn_ops: 4, quota: 16MiB }"),
        _ => spec,
    }
}

/// One that says where clients reach it.
pub fn advertised(spec: AgentSpec) -> AgentSpec {
    let place = spec.place.http();
    AgentSpec { http: format!("listen: [\"{place}\"]"), ..spec }
}

/// Something that is done beside the blocks.
#[derive(Debug)]
pub enum Act {
    /// A request whose answer nobody looks at.
    Ask(&'static str, Value),
    /// Keys are put, in any order.
    Put(Vec<Value>),
    /// The same, until one is refused.
    Fill(Vec<Value>),
    /// A client sends the request of that block, and its answer is that block's.
    Wait(&'static str),
    /// As soon as that server says that it leads.
    UntilLeads(&'static str),
    /// As soon as a prefix has so many keys.
    Until(&'static str, usize),
}

fn ask(path: &'static str, body: Value) -> Act {
    Act::Ask(path, body)
}

fn key(key: &str, value: &str) -> Value {
    json!({"key": base64(key), "value": base64(value)})
}

fn put(name: &str, value: &str) -> Act {
    ask("/v3/kv/put", key(name, value))
}

fn revoke(lease: i64) -> Act {
    ask("/v3/lease/revoke", json!({"ID": lease}))
}

/// What comes before a block.
pub fn before(block: &str) -> Vec<Act> {
    match block {
        "range-001" => {
            let keys = [("c", "5"), ("a", "3"), ("b", "4"), ("a", "9"), ("d", "1"), ("a", "2")];
            let keys = keys.iter().chain(&[("c", "7")]);
            let below = keys.map(|(key, value)| put(&format!("r/{key}"), value));
            below.chain([put("q", "q"), put("s", "s")]).collect()
        }
        "lease-012" => [204, 205, 206].map(revoke).into(),
        "lease-019" => vec![revoke(209)],
        "lock-007" => vec![Act::Until("lk/", 1)],
        "lock-022" => vec![Act::Wait("lock-024"), Act::Until("q/", 2)],
        "lock-027" => vec![Act::Wait("lock-029"), Act::Until("q/", 2)],
        "election-020" => vec![Act::Until("el/", 1)],
        "election-021" => vec![Act::Wait("election-022"), Act::Until("el/", 2)],
        "limits-011" => {
            let value = "y".repeat(3900);
            vec![Act::Put((0..250).map(|i| key(&format!("l/f{i:03}"), &value)).collect())]
        }
        "limits-013" => {
            let value = "z".repeat(3900);
            vec![Act::Fill((0..9000).map(|i| key(&format!("l/q{i}"), &value)).collect())]
        }
        "maintenance-003" => (0..3).map(|i| put(&format!("m/{i}"), &format!("v{i}"))).collect(),
        "maintenance-007" => {
            vec![ask("/v3/kv/compaction", json!({"revision": "3", "physical": true}))]
        }
        "auth-055" => {
            let secret = json!({"key": base64("secret2"), "value": base64("s"), "lease": 401});
            let grant = ask("/v3/lease/grant", json!({"TTL": 600, "ID": 401}));
            vec![put("secret", "s"), put("ro", "r"), grant, ask("/v3/kv/put", secret)]
        }
        "cluster3-028" => vec![Act::UntilLeads("follower1")],
        "http-115" => vec![Act::Until("h/l/", 1)],
        _ => Vec::new(),
    }
}

/// What has happened before a client that waits for an answer gives up.
pub fn before_hanging_up(block: &str) -> Vec<Act> {
    match block {
        "lock-006" => vec![Act::Until("lk/", 2)],
        "election-019" => vec![Act::Until("el/", 2)],
        _ => Vec::new(),
    }
}

/// What comes after a block.
pub fn after(block: &str) -> Vec<Act> {
    match block {
        "errors-051" => vec![ask("/v3/auth/user/delete", json!({"name": "\u{fffd}"}))],
        // Put by the client of the WebSocket.
        "http-108" => vec![put("h/ws", "1")],
        _ => Vec::new(),
    }
}

//! etcd's own client on real agents: keys over gRPC, on a server and through an edge.

use crate::house::{Agent, AgentSpec, run};

fn etcdctl(agent: &Agent, args: &[&str]) -> Result<String, String> {
    let endpoint = format!("--endpoints=http://{}", agent.spec.place.http());
    let mut all = vec![endpoint.as_str(), "--command-timeout=10s"];
    all.extend(args);
    run("etcdctl", &all)
}

#[test]
fn etcdctl_puts_gets_and_deletes_through_any_agent() {
    let server = Agent::start(AgentSpec::server("server"));
    let edge = Agent::start(AgentSpec::edge("edge", vec![server.spec.place.peer()]));
    assert_eq!(etcdctl(&server, &["put", "app/a", "one"]).unwrap(), "OK\n");
    assert_eq!(etcdctl(&edge, &["put", "app/b", "two"]).unwrap(), "OK\n");
    let both = etcdctl(&server, &["get", "--prefix", "app/"]).unwrap();
    assert_eq!(both, "app/a\none\napp/b\ntwo\n");
    assert_eq!(etcdctl(&edge, &["get", "--print-value-only", "app/a"]).unwrap(), "one\n");
    let backwards = etcdctl(&edge, &["get", "--keys-only", "--prefix", "app/", "--order=DESCEND"]);
    assert_eq!(backwards.unwrap(), "app/b\n\napp/a\n\n");
    let before = etcdctl(&server, &["put", "--prev-kv", "app/a", "three"]).unwrap();
    assert_eq!(before, "OK\napp/a\none\n");
    assert_eq!(etcdctl(&server, &["del", "--prefix", "app/"]).unwrap(), "2\n");
    assert_eq!(etcdctl(&edge, &["get", "--prefix", "app/"]).unwrap(), "");
    let raw = server.client().get("/v1/kv/app/a?raw").unwrap();
    assert_eq!(raw.status, 404, "one store behind both APIs");
}

#[test]
fn what_is_refused_carries_etcds_code_and_text() {
    let server = Agent::start(AgentSpec::server("server"));
    let past = etcdctl(&server, &["get", "a", "--rev=99"]).unwrap_err();
    assert!(past.contains("mvcc: required revision is a future revision"), "{past}");
    let lease = etcdctl(&server, &["put", "a", "b", "--lease=1234"]).unwrap_err();
    assert!(lease.contains("requested lease not found"), "{lease}");
    let unknown = etcdctl(&server, &["compaction", "1"]).unwrap_err();
    assert!(unknown.contains("code = Unimplemented"), "{unknown}");
}

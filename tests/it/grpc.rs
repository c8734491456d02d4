//! etcd's own client on real agents: keys over gRPC, on a server and through an edge.

use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::house::{Agent, AgentSpec, eventually, run, run_with};

fn etcdctl(agent: &Agent, args: &[&str]) -> Result<String, String> {
    let endpoint = format!("--endpoints=http://{}", agent.spec.place.http());
    let mut all = vec![endpoint.as_str(), "--command-timeout=10s"];
    all.extend(args);
    run("etcdctl", &all)
}

/// `etcdctl watch`, until it is dropped.
struct Watching {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watching {
    fn start(agent: &Agent, args: &[&str]) -> Watching {
        let endpoint = format!("--endpoints=http://{}", agent.spec.place.http());
        let mut command = Command::new("etcdctl");
        command.args([&*endpoint, "watch"]).args(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Watching { child, lines }
    }

    /// The next so many lines.
    fn next(&mut self, count: usize) -> Vec<String> {
        self.lines.by_ref().take(count).map(Result::unwrap).collect()
    }

    /// Why it ended by itself.
    fn ended(mut self) -> String {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
fn etcdctl_grants_leases_that_end_when_nobody_renews_them() {
    let server = Agent::start(AgentSpec::server("server"));
    let edge = Agent::start(AgentSpec::edge("edge", vec![server.spec.place.peer()]));
    let granted = etcdctl(&edge, &["lease", "grant", "2"]).unwrap();
    let id = granted.split_whitespace().nth(1).unwrap().to_owned();
    assert_eq!(granted, format!("lease {id} granted with TTL(2s)\n"));
    let lease = format!("--lease={id}");
    assert_eq!(etcdctl(&server, &["put", "app/lock", "held", &lease]).unwrap(), "OK\n");
    let left = etcdctl(&edge, &["lease", "timetolive", "--keys", &id]).unwrap();
    assert!(left.starts_with(&format!("lease {id} granted with TTL(2s), remaining(")), "{left}");
    assert!(left.ends_with("attached keys([app/lock])\n"), "{left}");
    let once = etcdctl(&server, &["lease", "keep-alive", "--once", &id]).unwrap();
    assert_eq!(once, format!("lease {id} keepalived with TTL(2)\n"));
    assert!(etcdctl(&server, &["lease", "list"]).unwrap().contains(&id));
    eventually("the lease has ended", Duration::from_secs(20), || {
        let left = etcdctl(&edge, &["lease", "timetolive", &id])?;
        if left.contains("already expired") { Ok(()) } else { Err(left) }
    });
    assert_eq!(etcdctl(&server, &["get", "app/lock"]).unwrap(), "");
    let gone = etcdctl(&server, &["lease", "revoke", &id]).unwrap_err();
    assert!(gone.contains("requested lease not found"), "{gone}");
}

fn txn(agent: &Agent, script: &str) -> String {
    let endpoint = format!("--endpoints=http://{}", agent.spec.place.http());
    run_with("etcdctl", &[&endpoint, "txn"], script).unwrap()
}

#[test]
fn etcdctl_compares_and_swaps_and_compacts() {
    let server = Agent::start(AgentSpec::server("server"));
    let edge = Agent::start(AgentSpec::edge("edge", vec![server.spec.place.peer()]));
    let swap = "value(\"app/owner\") = \"\"\n\nput app/owner a\nget app/owner\n\nput app/owner b\nget app/owner\n\n";
    let create =
        "create(\"app/owner\") = \"0\"\n\nput app/owner a\nget app/owner\n\nget app/owner\n\n";
    assert_eq!(txn(&edge, create), "SUCCESS\n\nOK\n\napp/owner\na\n");
    assert_eq!(txn(&server, create), "FAILURE\n\napp/owner\na\n");
    assert_eq!(txn(&edge, swap), "FAILURE\n\nOK\n\napp/owner\nb\n");
    assert_eq!(
        etcdctl(&server, &["get", "app/owner", "--rev=2", "--print-value-only"]).unwrap(),
        "a\n"
    );
    assert_eq!(etcdctl(&edge, &["compaction", "3"]).unwrap(), "compacted revision 3\n");
    let past = etcdctl(&server, &["get", "app/owner", "--rev=2"]).unwrap_err();
    assert!(past.contains("required revision has been compacted"), "{past}");
}

#[test]
fn etcdctl_watches_what_was_and_what_comes() {
    let server = Agent::start(AgentSpec::server("server"));
    etcdctl(&server, &["put", "app/a", "old"]).unwrap();
    let mut watch = Watching::start(&server, &["--prefix", "app/", "--rev=2"]);
    assert_eq!(watch.next(3), ["PUT", "app/a", "old"]);
    etcdctl(&server, &["put", "app/b", "new"]).unwrap();
    assert_eq!(watch.next(3), ["PUT", "app/b", "new"]);
    etcdctl(&server, &["del", "app/a"]).unwrap();
    assert_eq!(watch.next(2), ["DELETE", "app/a"]);
}

/// An edge keeps the newest revisions alone: what came before it is asked of a server.
#[test]
fn an_edge_tells_of_the_past() {
    let server = Agent::start(AgentSpec::server("server"));
    for n in 2..=5 {
        etcdctl(&server, &["put", "app/a", &format!("v{n}")]).unwrap();
    }
    let edge = Agent::start(AgentSpec::edge("edge", vec![server.spec.place.peer()]));
    assert_eq!(etcdctl(&edge, &["get", "app/a", "--rev=3"]).unwrap(), "app/a\nv3\n");
    let past = etcdctl(&edge, &["get", "--prefix", "app/", "--rev=4", "-w=fields"]);
    assert!(past.unwrap().contains("\"Count\" : 1"));
    assert_eq!(txn(&edge, "\nget app/a --rev=2\n\n\n"), "SUCCESS\n\napp/a\nv2\n");

    let mut watch = Watching::start(&edge, &["app/a", "--rev=2", "--prev-kv"]);
    assert_eq!(watch.next(3), ["PUT", "app/a", "v2"]);
    assert_eq!(watch.next(5), ["PUT", "app/a", "v2", "app/a", "v3"]);
    assert_eq!(watch.next(10)[..5], ["PUT", "app/a", "v3", "app/a", "v4"]);
    etcdctl(&edge, &["del", "app/a"]).unwrap();
    assert_eq!(watch.next(4), ["DELETE", "app/a", "v5", "app/a"]);

    etcdctl(&edge, &["compaction", "5"]).unwrap();
    let gone = etcdctl(&edge, &["get", "app/a", "--rev=4"]).unwrap_err();
    assert!(gone.contains("mvcc: required revision has been compacted"), "{gone}");
    let late = Watching::start(&edge, &["app/a", "--rev=3"]);
    let said = late.ended();
    assert!(said.contains("compacted"), "{said}");
}

#[test]
fn etcdctl_locks_elects_and_lists_the_members() {
    let server = Agent::start(AgentSpec::server("server"));
    let edge = Agent::start(AgentSpec::edge("edge", vec![server.spec.place.peer()]));
    let held = ["lock", "job", "--", "sh", "-c", "echo $ETCD_LOCK_KEY is held at $ETCD_LOCK_REV"];
    let first = etcdctl(&server, &held).unwrap();
    assert!(first.starts_with("job/") && first.contains(" is held at "), "{first}");
    assert_eq!(etcdctl(&server, &["get", "--prefix", "job/"]).unwrap(), "", "it is unlocked");
    for agent in [&server, &edge] {
        let members = etcdctl(agent, &["member", "list"]).unwrap();
        let line = format!("1, started, server, https://{}, ", server.spec.place.peer());
        assert!(members.starts_with(&line), "{members}");
        assert!(members.ends_with(", false\n"), "{members}");
    }
    let refused = etcdctl(&server, &["member", "add", "x", "--peer-urls=http://127.0.0.1:1"]);
    assert!(refused.unwrap_err().contains("remora join-token"));
}

/// Debian's etcdctl sends the whole URL as the authority of these.
#[test]
fn etcdctl_asks_one_endpoint_by_its_url() {
    let server = Agent::start(AgentSpec::server("server"));
    let url = format!("http://{}", server.spec.place.http());
    let status = etcdctl(&server, &["endpoint", "status"]).unwrap();
    assert!(status.starts_with(&format!("{url}, 1, ")), "{status}");
    let empty = etcdctl(&server, &["endpoint", "hashkv"]).unwrap();
    assert!(empty.starts_with(&format!("{url}, ")), "{empty}");
    etcdctl(&server, &["put", "app/a", "one"]).unwrap();
    assert_ne!(etcdctl(&server, &["endpoint", "hashkv"]).unwrap(), empty);
}

#[test]
fn curl_watches_line_by_line() {
    let server = Agent::start(AgentSpec::server("server"));
    etcdctl(&server, &["put", "a", "1"]).unwrap();
    let url = format!("http://{}/v3/watch", server.spec.place.http());
    let body = r#"{"create_request":{"key":"YQ==","start_revision":"2"}}"#;
    let mut curl = Command::new("curl");
    curl.args(["-sN", "-d", body, &url]).stdout(Stdio::piped());
    let mut curl = curl.spawn().unwrap();
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["result"]["created"], true);
    assert_eq!(next()["result"]["events"][0]["kv"]["value"], "MQ==");
    etcdctl(&server, &["del", "a"]).unwrap();
    assert_eq!(next()["result"]["events"][0]["type"], "DELETE");
    curl.kill().unwrap();
    curl.wait().unwrap();
}

#[test]
fn what_is_refused_carries_etcds_code_and_text() {
    let server = Agent::start(AgentSpec::server("server"));
    let past = etcdctl(&server, &["get", "a", "--rev=99"]).unwrap_err();
    assert!(past.contains("mvcc: required revision is a future revision"), "{past}");
    let lease = etcdctl(&server, &["put", "a", "b", "--lease=1234"]).unwrap_err();
    assert!(lease.contains("requested lease not found"), "{lease}");
}

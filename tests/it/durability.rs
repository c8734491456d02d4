//! No acknowledged write is lost: the leader killed under load, everything stopped and started, a
//! disk that fails.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::house::{Agent, AgentSpec, Client, Cluster, Load, dig, eventually};

const SOON: Duration = Duration::from_secs(20);

fn keys(client: &Client, prefix: &str, how: &str) -> Result<Vec<u64>, String> {
    let answer = client.get(&format!("/v1/kv/{prefix}?keys{how}"))?;
    if answer.status != 200 {
        return Err(format!("{}: {}", answer.status, answer.text()));
    }
    let keys = answer.json();
    let number = |key: &serde_json::Value| key.as_str().unwrap()[prefix.len()..].parse().unwrap();
    Ok(keys.as_array().ok_or("no array")?.iter().map(number).collect())
}

fn expect_all(found: &[u64], acknowledged: impl IntoIterator<Item = u64>) -> Result<(), String> {
    let found: std::collections::BTreeSet<u64> = found.iter().copied().collect();
    let lost: Vec<u64> = acknowledged.into_iter().filter(|n| !found.contains(n)).collect();
    if lost.is_empty() { Ok(()) } else { Err(format!("lost {lost:?}")) }
}

#[test]
fn a_killed_leader_loses_nothing_and_the_edge_answers_throughout() {
    let mut cluster = Cluster::of(3);
    let first = cluster.servers[0].client();
    let body = r#"{"Node":"ext","Address":"10.9.8.7","Service":{"Service":"db","Port":5432}}"#;
    assert_eq!(first.put("/v1/catalog/register", body).unwrap().status, 200);
    let edge = Agent::start(AgentSpec::edge("edge", cluster.peers()));
    let ip = edge.spec.place.0;
    eventually("the edge follows", SOON, || match dig(ip, "db.service.remora", "A").as_slice() {
        [address] if address == "10.9.8.7" => Ok(()),
        other => Err(format!("{other:?}")),
    });

    let done = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicU64::new(0));
    let watcher = std::thread::spawn({
        let (done, asked) = (done.clone(), asked.clone());
        move || {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(dig(ip, "db.service.remora", "A"), ["10.9.8.7"]);
                asked.fetch_add(1, Ordering::Relaxed);
            }
        }
    });

    let leader = cluster.leader();
    let others: Vec<String> = (0..3)
        .filter(|i| *i != leader)
        .map(|i| cluster.servers[i].spec.place.http())
        .chain([edge.spec.place.http()])
        .collect();
    let load = Load::start("load/", &others, 200);
    eventually("load before the fault", SOON, || match load.tally().acknowledged.len() {
        n if n >= 100 => Ok(()),
        n => Err(format!("{n} acknowledged of {}", load.tally().sent)),
    });
    cluster.servers[leader].kill();
    let before = load.tally();
    eventually("writes go on", SOON, || {
        let sent_after = load.tally().acknowledged.iter().filter(|n| **n > before.sent).count();
        if sent_after >= 200 { Ok(()) } else { Err(format!("{sent_after} since the kill")) }
    });
    let tally = load.stop();
    for i in (0..3).filter(|i| *i != leader) {
        let client = cluster.servers[i].client();
        let found = keys(&client, "load/", "").unwrap();
        expect_all(&found, tally.acknowledged.iter().copied()).unwrap();
    }

    cluster.servers[leader].start_again();
    let client = cluster.servers[leader].client();
    eventually("the killed one catches up", SOON, || {
        expect_all(&keys(&client, "load/", "&stale")?, tally.acknowledged.iter().copied())
    });
    cluster.wait_voters(3);
    done.store(true, Ordering::Relaxed);
    watcher.join().expect("the edge answered every question");
    assert!(asked.load(Ordering::Relaxed) > 20, "the edge was asked all along");
}

#[test]
fn stopped_and_started_everything_is_there() {
    let mut cluster = Cluster::of(3);
    let client = cluster.servers[1].client();
    for n in 0..50 {
        let answer = client.put(&format!("/v1/kv/keep/{n}?flags={n}"), format!("value {n}"));
        assert_eq!(answer.unwrap().text().trim(), "true");
    }
    client.delete("/v1/kv/keep/7").unwrap();
    let service = r#"{"Name":"api","ID":"api-1","Port":9000,"Tags":["x"],"Check":{"TTL":"60s"}}"#;
    assert_eq!(client.put("/v1/agent/service/register", service).unwrap().status, 200);
    client.put("/v1/agent/check/pass/service:api-1", "").unwrap();
    let before = client.get("/v1/kv/keep/?recurse").unwrap().json();

    for server in &mut cluster.servers {
        assert!(server.stop().success(), "a clean stop exits with 0: {}", server.log());
    }
    for server in &mut cluster.servers {
        server.launch_again();
    }
    for server in &cluster.servers {
        server.wait_ready();
    }
    cluster.wait_voters(3);
    for server in &cluster.servers {
        let after = server.client().get("/v1/kv/keep/?recurse").unwrap().json();
        assert_eq!(after, before, "keys, flags and indexes as they were");
    }
    // The instance that came by API is still there, critical until its app proves that it lives.
    let checks = client.get("/v1/health/checks/api").unwrap().json();
    assert_eq!(checks[0]["Status"], "critical", "{checks}");
    assert_eq!(client.put("/v1/agent/check/pass/service:api-1", "").unwrap().status, 200);
    eventually("proven", SOON, || {
        let rows = client.get("/v1/health/service/api?passing")?.json();
        if rows.as_array().is_some_and(|rows| rows.len() == 1) {
            Ok(())
        } else {
            Err(rows.to_string())
        }
    });
}

#[test]
fn a_lone_server_killed_in_the_middle_of_writes_keeps_what_it_acknowledged() {
    let mut server = Agent::start(AgentSpec::server("alone"));
    for round in 0..3 {
        let prefix = format!("round-{round}/");
        let load = Load::start(&prefix, &[server.spec.place.http()], 500);
        eventually("load before the fault", SOON, || match load.tally().acknowledged.len() {
            n if n >= 100 => Ok(()),
            n => Err(format!("{n} acknowledged")),
        });
        server.kill();
        let tally = load.stop();
        server.start_again();
        let found = keys(&server.client(), &prefix, "").unwrap();
        expect_all(&found, tally.acknowledged.iter().copied()).unwrap();
    }
}

/// strace on a process, whose calls to sync files fail from now on; it goes with this.
struct FailingSyncs(Child);

impl FailingSyncs {
    fn of(agent: &Agent) -> FailingSyncs {
        let pid = agent.pid().to_string();
        let tracer = Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=fdatasync,fsync"])
            .args(["-e", "inject=fdatasync,fsync:error=EIO", "-p", &pid])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let tracer = FailingSyncs(tracer);
        eventually("strace holds every thread", SOON, || {
            for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
                let status = fs::read_to_string(task.unwrap().path().join("status"));
                let status = status.map_err(|error| error.to_string())?;
                if status.lines().any(|line| line == "TracerPid:\t0") {
                    return Err(status);
                }
            }
            Ok(())
        });
        tracer
    }
}

impl Drop for FailingSyncs {
    fn drop(&mut self) {
        // It has ended already where its agent has.
        let _ = Command::new("kill").arg(self.0.id().to_string()).output();
        let _ = self.0.wait();
    }
}

#[test]
fn a_sync_that_fails_ends_the_agent_and_what_was_under_way_is_not_acknowledged() {
    let mut server = Agent::start(AgentSpec::server("failing"));
    let client = server.client();
    assert_eq!(client.put("/v1/kv/before", "v").unwrap().text().trim(), "true");
    let tracer = FailingSyncs::of(&server);
    if let Ok(answer) = client.put("/v1/kv/pending", "v") {
        assert_ne!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(server.ended().code(), Some(1), "{}", server.log());
    drop(tracer);
    let log = server.log();
    let said = log.lines().find(|line| line.contains("the log has failed"));
    let said = said.unwrap_or_else(|| panic!("{log}"));
    let wal = server.path("data").join("wal").display().to_string();
    assert!(said.contains("ERROR") && said.contains(&wal) && said.contains("os error 5"), "{said}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("log cannot be written any more"), "{last}");
    server.start_again();
    assert_eq!(client.get("/v1/kv/before?raw").unwrap().text(), "v");
}

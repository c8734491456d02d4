//! Members and upkeep as etcd's own client does them, on one server and on three.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::house::{Agent, AgentSpec, Cluster, eventually, run, run_with};

const SOON: Duration = Duration::from_secs(30);

fn ask(agent: &Agent, args: &[&str]) -> Result<String, String> {
    let endpoint = format!("--endpoints={}", agent.spec.place.http());
    run("etcdctl", &[&[&*endpoint, "--command-timeout=10s"], args].concat())
}

fn told(agent: &Agent, args: &[&str]) -> String {
    ask(agent, args).unwrap_or_else(|error| panic!("{args:?}: {error}"))
}

fn refused(agent: &Agent, args: &[&str]) -> String {
    ask(agent, args).expect_err(&format!("{args:?}"))
}

/// Of the one endpoint.
fn json(agent: &Agent, args: &[&str]) -> Value {
    let said = told(agent, &[args, &["-w=json"]].concat());
    serde_json::from_str::<Value>(&said).unwrap()
}

fn status(agent: &Agent) -> Value {
    json(agent, &["endpoint", "status"])[0]["Status"].clone()
}

fn hash(agent: &Agent, revision: i64) -> Value {
    let revision = format!("--rev={revision}");
    json(agent, &["endpoint", "hashkv", &revision])[0]["HashKV"].clone()
}

fn gateway(agent: &Agent, call: &str, body: &Value) -> Value {
    agent.client().post(&format!("/v3/{call}"), body.to_string()).unwrap().json()
}

#[test]
fn one_server_tells_how_it_is() {
    let server = Agent::start(AgentSpec::server("server"));
    let empty = status(&server);
    for n in 0..20 {
        told(&server, &["put", &format!("k{n:02}"), "value"]);
    }
    let full = status(&server);
    // What is zero is left out.
    assert_eq!((&empty["dbSize"], &full["dbSize"]), (&Value::Null, &json!(20 * (128 + 3 + 5))));
    assert_eq!(full["raftIndex"], full["raftAppliedIndex"]);
    assert!(full["raftIndex"].as_i64() >= empty["raftIndex"].as_i64().map(|index| index + 20));
    assert_eq!(full["leader"], full["header"]["member_id"]);
    told(&server, &["endpoint", "health"]);
    assert!(told(&server, &["defrag"]).starts_with("Finished defragmenting"));

    let (now, past) = (hash(&server, 0), hash(&server, 5));
    assert_ne!(now["hash"], past["hash"]);
    assert_eq!(now["compact_revision"], -1);
    told(&server, &["compaction", "10"]);
    assert_eq!(hash(&server, 0)["hash"], now["hash"]);
    assert_eq!(hash(&server, 0)["compact_revision"], 10);
    assert!(refused(&server, &["endpoint", "hashkv", "--rev=5"]).contains("has been compacted"));
    assert!(refused(&server, &["move-leader", "77"]).contains("bad leader transferee"));
}

#[test]
fn alarms_are_listed_and_disarmed() {
    let server = Agent::start(AgentSpec::server("server"));
    assert_eq!(told(&server, &["alarm", "list"]), "");
    let on = json!({"action": "ACTIVATE", "alarm": "NOSPACE", "memberID": "7"});
    gateway(&server, "maintenance/alarm", &on);
    assert_eq!(told(&server, &["alarm", "list"]), "memberID:7 alarm:NOSPACE \n");
    assert!(refused(&server, &["put", "k", "v"]).contains("database space exceeded"));
    let refused = server.client().put("/v1/kv/k", "v").unwrap();
    assert!(refused.status == 500 && refused.text().starts_with("no space"), "{}", refused.text());
    let health = server.client().get("/health").unwrap();
    assert_eq!(health.status, 503);
    assert_eq!(health.text(), "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n");
    assert_eq!(server.client().get("/readyz").unwrap().status, 200);
    assert_eq!(told(&server, &["alarm", "disarm"]), "memberID:7 alarm:NOSPACE \n");
    assert_eq!(told(&server, &["put", "k", "v"]), "OK\n");
}

/// The alarm that the quota raises ends by itself, and the past goes before anything is refused.
#[test]
fn a_quota_that_is_reached_says_so_and_recovers() {
    let spec = AgentSpec::server("server").with("limits: { quota: 1MiB }\n");
    let server = Agent::start(spec);
    let client = server.client();
    let value = "x".repeat(10_000);
    for n in 0..300 {
        let put = client.put("/v1/kv/same", format!("{n}{value}")).unwrap();
        assert_eq!(put.text().trim(), "true");
    }
    let quota = 1024 * 1024;
    let size = status(&server)["dbSize"].as_i64().unwrap();
    assert!(size < quota + quota / 16 && size > quota / 2, "{size} of {quota}");
    let mut fitted = 0;
    while client.put(&format!("/v1/kv/k{fitted}"), &value).unwrap().status == 200 {
        fitted += 1;
        assert!(fitted < 200, "the quota is never reached");
    }
    assert!(fitted > 90, "{fitted}: the past has made room");
    let raised = told(&server, &["alarm", "list"]);
    assert!(raised.contains("alarm:NOSPACE"), "{raised}");
    let error = status(&server)["errors"][0].as_str().unwrap().to_owned();
    assert!(error.contains("NOSPACE"), "{error}");
    assert!(refused(&server, &["lease", "grant", "60"]).contains("database space exceeded"));
    assert_eq!(told(&server, &["del", "--prefix", "k1"]), format!("{}\n", deleted(fitted)));
    assert_eq!(told(&server, &["alarm", "list"]), "");
    assert_eq!(told(&server, &["put", "again", "v"]), "OK\n");
    // Another quota, without a restart.
    let raise = client.post("/admin/servers/set", r#"{"quota": 4194304}"#).unwrap();
    assert_eq!(raise.status, 200, "{}", raise.text());
    for n in 0..200 {
        assert_eq!(client.put(&format!("/v1/kv/more{n}"), &value).unwrap().status, 200, "{n}");
    }
    // The file asks for another one still, which the status says.
    let shown = client.get("/status").unwrap().text();
    let differs = format!("limits.quota is {quota} bytes in the config file, and 4194304 in");
    assert!(shown.contains(&differs), "{shown}");
}

/// How many of `k0` to `k<count - 1>` begin with `k1`.
fn deleted(count: usize) -> usize {
    (0..count).filter(|n| n.to_string().starts_with('1')).count()
}

#[test]
fn a_snapshot_that_etcds_client_saves_is_restored_by_ours() {
    let server = Agent::start(AgentSpec::server("server"));
    for n in 0..300 {
        let value = format!("{n}").repeat(500);
        server.client().put(&format!("/v1/kv/k{n}"), value).unwrap();
    }
    let file = server.path("etcd.snap");
    let file = file.to_str().unwrap();
    let said = told(&server, &["snapshot", "save", file]);
    assert!(said.contains("Snapshot saved"), "{said}");
    assert_eq!(std::fs::metadata(file).unwrap().len() % 512, 32, "as newer clients look at it");
    let remora = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_remora")).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), said + &String::from_utf8_lossy(&output.stderr))
    };
    let (good, said) = remora(&["snapshot", "inspect", file]);
    assert!(good && said.contains("300"), "{said}");
    let other = Agent::start(AgentSpec::server("other"));
    let address = other.spec.place.http();
    let (good, said) = remora(&["snapshot", "restore", file, "--http-addr", &address]);
    assert!(good && said.contains("300 keys"), "{said}");
    assert_eq!(told(&other, &["get", "k7", "--print-value-only"]).trim(), "7".repeat(500));
    let mut bytes = std::fs::read(file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(file, bytes).unwrap();
    let (good, said) = remora(&["snapshot", "inspect", file]);
    assert!(!good && said.contains("checksum"), "{said}");
}

#[test]
fn three_servers_agree_and_members_change() {
    let cluster = Cluster::of(3);
    cluster.wait_voters(3);
    let agents = &cluster.servers;
    let leader = cluster.leader();
    told(&agents[leader], &["put", "k", "v"]);
    told(&agents[leader], &["put", "k", "w"]);
    for agent in agents {
        let (theirs, ours) = (hash(agent, 3), hash(&agents[leader], 3));
        assert_eq!((&theirs["hash"], &theirs["compact_revision"]), (&ours["hash"], &json!(-1)));
    }
    let id = |agent: &Agent| status(agent)["header"]["member_id"].as_u64().unwrap();
    let ids: Vec<u64> = agents.iter().map(id).collect();
    let (first, second) = ((leader + 1) % 3, (leader + 2) % 3);
    let hex = |id: u64| format!("{id:x}");

    // An alarm that one raises is everybody's.
    let on = json!({"action": "ACTIVATE", "alarm": "NOSPACE", "memberID": ids[first].to_string()});
    gateway(&agents[leader], "maintenance/alarm", &on);
    assert!(refused(&agents[second], &["put", "k", "v"]).contains("database space exceeded"));
    told(&agents[first], &["alarm", "disarm"]);
    told(&agents[second], &["put", "k", "x"]);

    let to = json!({"targetID": ids[first].to_string()});
    let not_leader = gateway(&agents[first], "maintenance/transfer-leadership", &to);
    assert_eq!(not_leader["message"], "etcdserver: not leader");
    let said = told(&agents[leader], &["move-leader", &hex(ids[first])]);
    assert!(said.contains("Leadership transferred"), "{said}");
    eventually("the other one leads", SOON, || match status(&agents[first])["leader"].as_u64() {
        Some(leader) if leader == ids[first] => Ok(()),
        other => Err(format!("{other:?} leads")),
    });

    // Fewer vote: one stands by, and is promoted as a learner of etcd's.
    let fewer = agents[first].client().post("/admin/servers/set", r#"{"voters": 1}"#).unwrap();
    assert_eq!(fewer.status, 200, "{}", fewer.text());
    eventually("one votes", SOON, || {
        let list = told(&agents[first], &["member", "list"]);
        if list.matches("true").count() == 2 { Ok(()) } else { Err(list) }
    });
    eventually("it is promoted", SOON, || {
        ask(&agents[first], &["member", "promote", &hex(ids[second])])
    });
    eventually("two vote", SOON, || {
        let list = told(&agents[second], &["member", "list"]);
        if list.matches("true").count() == 1 { Ok(()) } else { Err(list) }
    });
    let twice = refused(&agents[first], &["member", "promote", &hex(ids[second])]);
    assert!(twice.contains("can only promote a learner member"), "{twice}");

    let said = told(&agents[first], &["member", "remove", &hex(ids[leader])]);
    assert!(said.contains("removed from cluster"), "{said}");
    let gone = refused(&agents[first], &["member", "remove", &hex(ids[leader])]);
    assert!(gone.contains("member not found"), "{gone}");
    let add = refused(&agents[first], &["member", "add", "n9", "--peer-urls=http://127.0.0.1:1"]);
    assert!(add.contains("remora join-token"), "{add}");
}

#[test]
fn an_edge_tells_of_itself_and_has_a_server_do_the_rest() {
    let server = Agent::start(AgentSpec::server("server"));
    let edge = Agent::start(AgentSpec::edge("edge", vec![server.spec.place.peer()]));
    let (ours, theirs) = (status(&edge), status(&server));
    assert_ne!(ours["header"]["member_id"], theirs["header"]["member_id"]);
    assert_eq!(ours["leader"], theirs["header"]["member_id"]);
    assert_eq!(ours["raftTerm"], theirs["raftTerm"]);
    told(&server, &["put", "key", "value"]);
    eventually("the edge has heard of it", SOON, || {
        let got = told(&edge, &["get", "key", "--consistency=s"]);
        if got.contains("value") { Ok(()) } else { Err(got) }
    });
    let hash = |agent: &Agent| {
        let said = told(agent, &["endpoint", "hashkv"]);
        said.rsplit_once(", ").unwrap().1.to_owned()
    };
    assert_eq!(hash(&edge), hash(&server));

    let file = edge.path("etcd.snap");
    let file = file.to_str().unwrap();
    let said = told(&edge, &["snapshot", "save", file]);
    assert!(said.contains("Snapshot saved"), "{said}");
    let mut inspect = Command::new(env!("CARGO_BIN_EXE_remora"));
    assert!(inspect.args(["snapshot", "inspect", file]).output().unwrap().status.success());

    let raise = r#"{"action":"ACTIVATE","memberID":"7","alarm":"CORRUPT"}"#;
    assert_eq!(edge.client().post("/v3/maintenance/alarm", raise).unwrap().status, 200);
    let raised = "memberID:7 alarm:CORRUPT \n";
    assert_eq!(told(&server, &["alarm", "list"]), raised);
    assert!(refused(&server, &["put", "key", "other"]).contains("corrupt cluster"));
    assert_eq!(told(&edge, &["alarm", "disarm"]), raised);
    assert_eq!(told(&server, &["alarm", "list"]), "");
    let remove = refused(&edge, &["member", "remove", "1"]);
    assert!(remove.contains("this agent is none: ask server"), "{remove}");
}

#[test]
fn what_operators_alert_on_has_etcds_names() {
    let server = Agent::start(AgentSpec::server("server"));
    let number = |name: &str| -> f64 {
        let page = server.client().get("/metrics").unwrap().text();
        let line = page.lines().find(|line| line.starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("no {name} in {page}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert_eq!(number("etcd_server_has_leader"), 1.0);
    assert_eq!(number("etcd_server_is_leader"), 1.0);
    assert_eq!(number("etcd_server_leader_changes_seen_total"), 1.0);
    let (size, applied) =
        (number("etcd_mvcc_db_total_size_in_bytes"), number("etcd_server_proposals_applied_total"));
    let syncs = number("etcd_disk_wal_fsync_duration_seconds_count");
    told(&server, &["put", "key", "value"]);
    assert_eq!(number("etcd_mvcc_db_total_size_in_bytes"), size + 128.0 + 8.0);
    assert!(number("etcd_server_proposals_applied_total") > applied);
    assert!(number("etcd_disk_wal_fsync_duration_seconds_count") > syncs && syncs > 0.0);
    assert_eq!(number("etcd_debugging_mvcc_keys_total"), 1.0);
    assert_eq!(number("etcd_debugging_mvcc_current_revision"), 2.0);

    let names = ["mvcc_range", "mvcc_put", "mvcc_delete", "mvcc_txn", "debugging_lease_granted"];
    let done = || names.map(|name| number(&format!("etcd_{name}_total")));
    assert_eq!(done(), [0.0, 1.0, 0.0, 0.0, 0.0]);
    told(&server, &["get", "key"]);
    told(&server, &["del", "key"]);
    told(&server, &["lease", "grant", "60"]);
    let url = format!("--endpoints=http://{}", server.spec.place.http());
    run_with("etcdctl", &[&url, "txn"], "\nput a 1\nput b 2\nget a\n\n\n").unwrap();
    assert_eq!(done(), [2.0, 3.0, 1.0, 1.0, 1.0]);
    assert_eq!(number("etcd_server_proposals_pending"), 0.0);
    assert_eq!(number("etcd_debugging_mvcc_watcher_total"), 0.0);
}

#[test]
fn grpcs_own_health_is_served_and_what_is_not_served_is_named() {
    let server = Agent::start(AgentSpec::server("server"));
    let empty = server.path("empty");
    std::fs::write(&empty, [0; 5]).unwrap();
    let data = format!("@{}", empty.display());
    let call = |path: &str| {
        let url = format!("http://{}{path}", server.spec.place.http());
        let kind = "content-type: application/grpc";
        let args =
            ["-si", "--http2-prior-knowledge", "-H", kind, "-H", "te: trailers", "--data-binary"];
        let answer = Command::new("curl").args(args).args([&data, &url]).output().unwrap();
        assert!(answer.status.success(), "{}", answer.status);
        String::from_utf8_lossy(&answer.stdout).into_owned()
    };
    let health = call("/grpc.health.v1.Health/Check");
    assert!(health.contains("grpc-status: 0") && health.contains("\u{8}\u{1}"), "{health:?}");
    let refusals = [
        ("/no.Such/Call", "grpc-message: unknown service no.Such"),
        ("/etcdserverpb.KV/No", "grpc-message: unknown method No for service etcdserverpb.KV"),
    ];
    // A refusal that came before the request was read was lost now and then.
    for (path, text) in refusals.repeat(20) {
        let said = call(path).replace("%20", " ");
        assert!(said.contains("grpc-status: 12") && said.contains(text), "{said}");
    }
}

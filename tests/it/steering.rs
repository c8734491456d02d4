//! A running agent is told to leave, to read its config again, to show its log, to look around.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::house::{Agent, AgentSpec, Cluster, eventually};

const SOON: Duration = Duration::from_secs(15);

/// The service ids that an agent shows as its own.
fn services(agent: &Agent) -> Vec<String> {
    let told = agent.client().get("/v1/agent/services").unwrap().json();
    told.as_object().unwrap().keys().cloned().collect()
}

fn nodes(agent: &Agent) -> Vec<String> {
    let told = agent.client().get("/v1/catalog/nodes").unwrap().json();
    let names = told.as_array().unwrap().iter().map(|node| node["Node"].as_str().unwrap());
    names.map(str::to_owned).collect()
}

#[test]
fn an_edge_that_leaves_takes_its_node_along_and_ends() {
    let server = Agent::start(AgentSpec::server("stays"));
    let mut edge = Agent::start(AgentSpec::edge("leaves", vec![server.spec.place.peer()]));
    edge.client().put("/v1/agent/service/register", r#"{"Name":"web"}"#).unwrap();
    assert_eq!(nodes(&server), ["leaves", "stays"]);
    let answered = edge.client().put("/v1/agent/leave", "").unwrap();
    assert_eq!((answered.status, answered.text().as_str()), (200, ""));
    assert!(edge.ended().success(), "{}", edge.log());
    assert_eq!(nodes(&server), ["stays"]);
    let left = server.client().get("/v1/catalog/service/web").unwrap();
    assert_eq!(left.text(), "[]");
    // It is known to have left, until the leader forgets it or somebody has it forgotten.
    let members = || server.client().get("/v1/agent/members").unwrap().json();
    let status = |name: &str| {
        let members = members();
        let mut all = members.as_array().unwrap().iter();
        all.find(|member| member["Name"] == name).map(|member| member["Status"].clone())
    };
    assert_eq!(status("leaves"), Some(3.into()));
    let pruned = server.client().put("/v1/agent/force-leave/leaves?prune", "").unwrap();
    assert_eq!((pruned.status, status("leaves")), (200, None));
}

#[test]
fn a_server_that_leaves_is_no_server_any_more_and_the_others_go_on() {
    let mut cluster = Cluster::of(3);
    let at = cluster.leader();
    let mut leaving = cluster.servers.remove(at);
    let answered = leaving.client().put("/v1/agent/leave", "").unwrap();
    assert_eq!(answered.status, 200, "{}", answered.text());
    assert!(leaving.ended().success(), "{}", leaving.log());
    cluster.wait_voters(2);
    let other = &cluster.servers[0];
    assert!(!nodes(other).contains(&leaving.spec.name));
    assert_eq!(other.client().put("/v1/kv/a", "1").unwrap().text(), "true");
}

#[test]
fn who_is_alone_just_stops_and_keeps_what_it_has() {
    let mut agent = Agent::start(AgentSpec::server("alone"));
    agent.client().put("/v1/kv/kept", "1").unwrap();
    agent.client().put("/v1/agent/service/register", r#"{"Name":"web"}"#).unwrap();
    assert_eq!(agent.client().put("/v1/agent/leave", "").unwrap().status, 200);
    assert!(agent.ended().success(), "{}", agent.log());
    agent.start_again();
    assert_eq!(agent.client().get("/v1/kv/kept?raw").unwrap().text(), "1");
    assert_eq!(services(&agent), ["web"]);
}

#[test]
fn the_services_of_a_config_that_is_read_again_are_taken_in() {
    let spec = AgentSpec::server("told");
    let agent = Agent::start(spec.with("services: [{ name: a }, { name: b, port: 1 }]"));
    let client = agent.client();
    client.put("/v1/agent/service/register", r#"{"Name":"by-api"}"#).unwrap();
    let file = agent.path("remora.yaml");
    let before = fs::read_to_string(&file).unwrap();
    let rewrite = |to: &str| {
        let text = before.replace("{ name: a }, { name: b, port: 1 }", to);
        fs::write(&file, text).unwrap();
    };
    rewrite("{ name: b, port: 2 }, { name: c, checks: [{ ttl: 1m }] }");
    let answered = client.put("/v1/agent/reload", "").unwrap();
    assert_eq!((answered.status, answered.text().as_str()), (200, ""));
    assert_eq!(services(&agent), ["b", "by-api", "c"]);
    let b = client.get("/v1/catalog/service/b").unwrap().json();
    assert_eq!(b[0]["ServicePort"], 2);
    assert!(client.get("/v1/agent/checks").unwrap().text().contains("service:c"));
    // The same by a signal, and what needs a restart is named.
    rewrite("{ name: c }]\nexec_checks: true\nmeta: { a: b }\nupstreams: [");
    let pid = agent.pid().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    eventually("the second change", SOON, || {
        let now = services(&agent);
        if now == ["by-api", "c"] { Ok(()) } else { Err(format!("{now:?}: {}", agent.log())) }
    });
    let status = client.get("/status").unwrap().text();
    assert!(status.contains("meta, exec_checks: changed in the file"), "{status}");
    assert_eq!(client.get("/v1/agent/checks").unwrap().text(), "{}");
    // What is wrong changes nothing.
    rewrite("{ name: c, port: nonsense }");
    let refused = client.put("/v1/agent/reload", "").unwrap();
    assert!(refused.status == 500 && refused.text().contains("port"), "{}", refused.text());
    assert_eq!(services(&agent), ["by-api", "c"]);
}

#[test]
fn join_says_whether_who_is_there_belongs_to_the_cluster() {
    let server = Agent::start(AgentSpec::server("here"));
    let edge = Agent::start(AgentSpec::edge("edge", vec![server.spec.place.peer()]));
    let stranger = Agent::start(AgentSpec::server("elsewhere"));
    let join = |from: &Agent, to: &str| {
        let answered = from.client().put(&format!("/v1/agent/join/{to}"), "").unwrap();
        (answered.status, answered.text())
    };
    let peer = |agent: &Agent| agent.spec.place.peer();
    for from in [&server, &edge] {
        assert_eq!(join(from, &peer(&server)), (200, String::new()));
        let ip = server.spec.place.0.to_string();
        assert_eq!(join(from, &ip), (200, String::new()), "the port goes without saying");
        let (status, text) = join(from, &peer(&stranger));
        assert!(status == 500 && text.contains("* Failed to join"), "{text}");
        let (status, text) = join(from, &format!("{ip}:1"));
        let refused = format!("Failed to join {ip}: dial tcp {ip}:1: connect: connection refused");
        assert!(status == 500 && text.contains(&refused), "{text}");
    }
}

#[test]
fn the_log_is_shown_as_it_is_written_as_verbose_as_it_is_wanted() {
    let agent = Agent::start(AgentSpec::server("talks").with_args(&["--log", "warn"]));
    let url = format!("http://{}/v1/agent/monitor?loglevel=info", agent.spec.place.http());
    let mut watch = Command::new("curl")
        .args(["-sSN", "--max-time", "20", &url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let asking = std::thread::spawn({
        let (client, edges) = (agent.client(), vec![agent.spec.place.peer()]);
        move || {
            // An agent that is let in is worth a line.
            let edge = Agent::start(AgentSpec::edge("guest", edges));
            let shown = client.get("/v1/agent/members").unwrap().text();
            (edge, shown)
        }
    });
    let told = lines.map_while(Result::ok).find(|line| line.contains("let in"));
    let told = told.expect("a line about the guest");
    assert!(told.contains("Z [INFO]  cluster.registrar: let in: ") && told.contains("name=guest"));
    drop(asking.join().unwrap());
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(!agent.log().contains("let in"), "its own log is as quiet as before");
}

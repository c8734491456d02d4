//! What listens beyond loopback without being secured is wanted explicitly, and seen.

use serde_json::{Value, json};

use crate::house::{Agent, AgentSpec};

/// What `status` shows of listeners with this name: whether each is insecure.
fn insecure(status: &Value, name: &str) -> Vec<Value> {
    let listeners = status["listeners"].as_array().unwrap().iter();
    listeners.filter(|at| at["name"] == name).map(|at| at["insecure"].clone()).collect()
}

#[test]
fn every_insecure_listener_shows_in_the_log_the_status_and_a_metric() {
    let mut spec = AgentSpec::server("open").with(
        "upstreams: [{ service: web, listen: \"0.0.0.0:0\", insecure: true },\
         { service: web, listen: \"127.0.0.1:0\" }]",
    );
    spec.http = format!("listen: [\"{}\", \"0.0.0.0:0\"], insecure: true", spec.place.http());
    let agent = Agent::start(spec);
    let status = agent.client().get("/status").unwrap().json();
    assert_eq!(status["insecure"], true, "{status}");
    assert_eq!(insecure(&status, "http"), [json!(false), json!(true)], "{status}");
    assert_eq!(insecure(&status, "dns"), [json!(false)], "{status}");
    assert_eq!(insecure(&status, "upstreams[0]"), [json!(true)], "{status}");
    assert_eq!(insecure(&status, "upstreams[1]"), [json!(false)], "{status}");
    let metrics = agent.client().get("/metrics").unwrap().text();
    for (name, value) in [("http", 1), ("dns", 0), ("upstreams[0]", 1), ("upstreams[1]", 0)] {
        let line = format!("\nremora_listener_insecure{{listener=\"{name}\"}} {value}\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
    let board = status["board"].as_array().unwrap();
    for part in ["http/insecure/0.0.0.0:", "upstreams[0]/insecure/0.0.0.0:"] {
        let told = |entry: &&Value| entry["subject"].as_str().unwrap().starts_with(part);
        assert_eq!(board.iter().filter(told).count(), 1, "{part}: {status}");
    }
    let warned = agent.log().lines().filter(|line| line.contains("without TLS")).count();
    assert_eq!(warned, 2, "{}", agent.log());
}

#[test]
fn the_agents_port_is_secure_wherever_it_listens() {
    let server = Agent::start(AgentSpec::server("exposed").exposed());
    let status = server.client().get("/status").unwrap().json();
    assert_eq!(status["insecure"], false, "{status}");
    assert_eq!(insecure(&status, "cluster"), [json!(false)], "{status}");
}

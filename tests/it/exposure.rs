//! What listens beyond loopback without being secured is wanted explicitly, and seen.

use crate::house::{Agent, AgentSpec};

#[test]
fn an_insecure_peer_port_shows_in_the_log_the_status_and_a_metric() {
    let server = Agent::start(AgentSpec::server("exposed").exposed());
    let client = server.client();
    let status = client.get("/status").unwrap().json();
    assert_eq!(status["insecure"], true, "{status}");
    let board = status["board"].as_array().unwrap();
    assert!(board.iter().any(|entry| entry["subject"] == "cluster/insecure"), "{status}");
    let metrics = client.get("/metrics").unwrap().text();
    assert!(metrics.contains("\nremora_cluster_insecure 1\n"), "{metrics}");
    assert!(server.log().contains("cluster.insecure"), "{}", server.log());

    let safe = Agent::start(AgentSpec::server("safe"));
    assert_eq!(safe.client().get("/status").unwrap().json()["insecure"], false);
    let metrics = safe.client().get("/metrics").unwrap().text();
    assert!(metrics.contains("\nremora_cluster_insecure 0\n"), "{metrics}");
}

//! Agents that die, stop, pause and move: what the others see, and how soon.

use std::time::Duration;

use crate::house::{Agent, AgentSpec, App, Client, Cluster, dig, eventually};

/// The presence TTL that the test house configures.
const TTL: Duration = Duration::from_secs(2);
/// TTL + 2 s, as promised, and what a look takes.
const DEAD: Duration = Duration::from_millis(4000 + 500);
/// The same, plus a failover and a fresh TTL, where the leader died with it.
const DEAD_WITH_LEADER: Duration = Duration::from_secs(4 + 3 + 2);
const SOON: Duration = Duration::from_secs(15);
const AT_ONCE: Duration = Duration::from_secs(1);

const SERVICE: &str =
    "services:\n  - { name: web, port: 80, checks: [{ ttl: 60s, initial: passing }] }";

fn healthy(client: &Client) -> Result<usize, String> {
    let rows = client.get("/v1/health/service/web?passing&stale")?.json();
    rows.as_array().map(Vec::len).ok_or_else(|| rows.to_string())
}

fn expect(count: usize, client: &Client) -> Result<(), String> {
    match healthy(client)? {
        found if found == count => Ok(()),
        found => Err(format!("{found} healthy instances instead of {count}")),
    }
}

#[test]
fn an_agent_that_dies_leaves_the_answers_and_comes_back() {
    let cluster = Cluster::of(1);
    let client = cluster.servers[0].client();
    let mut edge = Agent::start(AgentSpec::edge("edge", cluster.peers()).with(SERVICE));
    eventually("registered", SOON, || expect(1, &client));

    edge.kill();
    assert_eq!(healthy(&client), Ok(1), "a heartbeat is given its time");
    eventually("gone after its TTL", DEAD, || expect(0, &client));
    let nodes = client.get("/v1/catalog/nodes").unwrap().text();
    assert!(nodes.contains("\"edge\""), "the node stays for its grace time: {nodes}");

    edge.start_again();
    eventually("back under the same name", SOON, || expect(1, &client));
}

#[test]
fn an_agent_that_stops_cleanly_is_gone_at_once() {
    let cluster = Cluster::of(1);
    let client = cluster.servers[0].client();
    let mut edge = Agent::start(AgentSpec::edge("edge", cluster.peers()).with(SERVICE));
    eventually("registered", SOON, || expect(1, &client));
    assert!(edge.stop().success());
    eventually("withdrawn", AT_ONCE, || expect(0, &client));
}

#[test]
fn a_paused_agent_leaves_and_returns() {
    let cluster = Cluster::of(1);
    let client = cluster.servers[0].client();
    let edge = Agent::start(AgentSpec::edge("edge", cluster.peers()).with(SERVICE));
    eventually("registered", SOON, || expect(1, &client));
    edge.pause();
    eventually("gone after its TTL", DEAD, || expect(0, &client));
    edge.resume();
    eventually("back", SOON, || expect(1, &client));
}

#[test]
fn an_edge_moves_when_its_upstream_dies_and_its_services_stay() {
    let mut cluster = Cluster::of(3);
    let edge = Agent::start(AgentSpec::edge("edge", cluster.peers()).with(SERVICE));
    let client = edge.client();
    eventually("registered", SOON, || expect(1, &client));
    let upstream = client.get("/status").unwrap().json()["upstream"].clone();
    let upstream = upstream.as_str().expect("an edge says whom it follows").to_owned();
    let at = cluster.peers().iter().position(|peer| *peer == upstream).unwrap();
    cluster.servers[at].kill();

    eventually("it follows another", SOON, || {
        let now = client.get("/status")?.json()["upstream"].clone();
        if now.as_str().is_some_and(|now| now != upstream) { Ok(()) } else { Err(now.to_string()) }
    });
    eventually("it writes through the other", SOON, || {
        match client.put("/v1/kv/after", "moved")?.text().trim() {
            "true" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    assert_eq!(client.get("/v1/kv/after?raw").unwrap().text(), "moved", "it reads its own write");
    let survivor = cluster.servers[(at + 1) % 3].client();
    eventually("its instance lives on", DEAD_WITH_LEADER, || expect(1, &survivor));
    assert_eq!(dig(edge.spec.place.0, "web.service.remora", "SRV").len(), 1);
}

#[test]
fn a_server_that_dies_with_its_leadership_leaves_the_answers() {
    let mut cluster = Cluster::with(3, |_, spec| spec.with(SERVICE));
    let leader = cluster.leader();
    let survivor = cluster.servers[(leader + 1) % 3].client();
    eventually("three registered", SOON, || expect(3, &survivor));
    cluster.servers[leader].kill();
    eventually("its instance is gone", DEAD_WITH_LEADER, || expect(2, &survivor));
    // And the others stay: a new leader gives everyone a fresh TTL.
    std::thread::sleep(TTL * 2);
    expect(2, &survivor).unwrap();
    cluster.servers[leader].start_again();
    eventually("back", SOON, || expect(3, &survivor));
}

#[test]
fn an_edge_answers_and_balances_without_a_cluster_and_says_how_stale_it_is() {
    let mut cluster = Cluster::of(1);
    let spec = AgentSpec::edge("edge", cluster.peers());
    let ip = spec.place.0;
    let _app = App::start("app", ip, 8081);
    let edge = Agent::start(spec.with(&format!(
        "services:\n  - {{ name: web, port: 8081, checks: [{{ tcp: \"{ip}:8081\" }}] }}\n\
         upstreams:\n  - {{ service: web, listen: \"{ip}:9001\", protocol: http }}"
    )));
    let client = edge.client();
    eventually("registered", SOON, || expect(1, &client));
    cluster.servers[0].kill();
    eventually("it knows that it is alone", SOON, || {
        let answer = client.get("/v1/health/service/web?stale")?;
        let contact = answer.header("X-Consul-LastContact").unwrap_or_default().to_owned();
        match (answer.header("X-Consul-KnownLeader"), contact.parse::<u64>()) {
            (Some("false"), Ok(ms)) if ms > 0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(dig(ip, "web.service.remora", "SRV").len(), 1);
    let balanced = Client::new(&format!("{ip}:9001")).get("/who").unwrap();
    assert_eq!((balanced.status, balanced.text()), (200, "app".to_owned()));
    let write = client.put("/v1/kv/x", "1").unwrap();
    assert_eq!(write.status, 500, "{}", write.text());
}

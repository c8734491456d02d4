//! The agents' port, knocked at; tokens that do not count; certificates that renew under load.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use remora::identity::Offline;

use crate::house::{Agent, AgentSpec, Cluster, eventually, run, tokens};

const SOON: Duration = Duration::from_secs(15);

/// What openssl makes of the port.
fn handshake(peer: &str, version: &str) -> String {
    let done = Command::new("openssl")
        .args(["s_client", "-connect", peer, version, "-brief"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

#[test]
fn strangers_who_knock_at_the_agents_port_get_nowhere_and_are_seen() {
    let server = Agent::start(AgentSpec::server("knocked-at"));
    let peer = server.spec.place.peer();
    let mut plain = TcpStream::connect(&peer).unwrap();
    plain.set_read_timeout(Some(SOON)).unwrap();
    plain.write_all(b"GET /v1/kv/secret HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // A reset counts: the server closed with bytes of ours unread.
    let _ = plain.read_to_end(&mut answer);
    assert!(answer.len() <= 7, "an alert of TLS at most: {answer:?}");
    let old = handshake(&peer, "-tls1_2");
    assert!(old.contains("alert") && !old.contains("CONNECTION ESTABLISHED"), "{old}");
    let new = handshake(&peer, "-tls1_3");
    assert!(new.contains("CONNECTION ESTABLISHED"), "TLS 1.3 is spoken: {new}");
    for words in ["no TLS", "TLS 1.3"] {
        eventually(words, SOON, || match server.log() {
            log if log.contains(words) => Ok(()),
            log => Err(log),
        });
    }
    assert_eq!(server.client().put("/v1/kv/k", "v").unwrap().status, 200, "nobody else notices");
}

#[test]
fn a_wrong_token_lets_nobody_in_and_no_token_is_ever_shown() {
    let server = Agent::start(AgentSpec::server("host"));
    let mut spec = AgentSpec::edge("intruder", vec![server.spec.place.peer()]);
    spec.token = Offline::generate().unwrap().edge;
    let intruder = Agent::launch(spec);
    let client = intruder.client();
    let waits = eventually("it says why it waits", SOON, || {
        let status = client.get("/status")?.text();
        if status.contains("waiting to join") { Ok(status) } else { Err(status) }
    });
    assert!(waits.contains("do not lead up to the authority"), "{waits}");
    let welcome = Agent::start(AgentSpec::edge("welcome", vec![server.spec.place.peer()]));
    for agent in [&server, &intruder, &welcome] {
        let shown = [
            agent.log(),
            agent.client().get("/status").unwrap().text(),
            agent.client().get("/metrics").unwrap().text(),
        ];
        for token in [&tokens().server, &tokens().edge, &intruder.spec.token] {
            let text = token.reveal();
            let secret = text.rsplit('-').next().unwrap();
            assert!(shown.iter().all(|page| !page.contains(secret)), "{}", agent.spec.name);
        }
    }
    let status = server.client().get("/status").unwrap().json();
    let names: Vec<_> = status["members"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
    assert_eq!(names, ["host", "welcome"], "{status}");
}

#[test]
fn a_revoked_edge_is_cut_and_without_a_token_that_counts_it_stays_out() {
    let server = Agent::start(AgentSpec::server("keeper"));
    let join = vec![server.spec.place.peer()];
    let edge = Agent::start(AgentSpec::edge("guest", join.clone()));
    let http = server.spec.place.http();
    let remora = |args: &[&str]| {
        let told = [args, &["--http-addr", http.as_str()]].concat();
        run(env!("CARGO_BIN_EXE_remora"), &told).unwrap()
    };
    remora(&["join-token", "retire", &tokens().server.id().to_string()]);
    remora(&["revoke", "guest"]);
    eventually("it is cut off", Duration::from_secs(2), || {
        let status = edge.client().get("/status")?.json();
        if status["upstream"].is_null() { Ok(()) } else { Err(status.to_string()) }
    });
    let says = |agent: &Agent, what: &str| {
        eventually(what, SOON, || match agent.client().get("/status")?.text() {
            status if status.contains(what) => Ok(()),
            status => Err(status),
        });
    };
    says(&edge, "not let in again");
    // The founding key is known to nobody here any more.
    let late = Agent::launch(AgentSpec::edge("late", join));
    says(&late, "do not lead up to the authority");
    let members = server.client().get("/status").unwrap().json()["members"].to_string();
    assert!(members.contains("keeper") && !members.contains("guest"), "{members}");
}

#[test]
fn certificates_renew_while_the_cluster_works_and_no_request_fails() {
    let short = |_: usize, spec: AgentSpec| spec.with_cluster("certificate_ttl: 5s");
    let cluster = Cluster::with(3, short);
    let edge = AgentSpec::edge("edge", cluster.peers()).with_cluster("certificate_ttl: 5s");
    let edge = Agent::start(edge);
    let ends = |agent: &Agent| {
        let status = agent.client().get("/status").unwrap().json();
        status["certificate_ends"].as_str().expect("it has one").to_owned()
    };
    let agents = || cluster.servers.iter().chain([&edge]);
    let first: Vec<String> = agents().map(ends).collect();
    let begun = Instant::now();
    let mut n = 0;
    while begun.elapsed() < Duration::from_secs(12) {
        for agent in agents() {
            let put = agent.client().put(&format!("/v1/kv/k{n}"), "v").unwrap();
            assert_eq!((put.status, put.text().trim()), (200, "true"), "{}", agent.spec.name);
            n += 1;
        }
    }
    for (agent, first) in agents().zip(first) {
        assert!(ends(agent) > first, "{} has renewed", agent.spec.name);
        let metrics = agent.client().get("/metrics").unwrap().text();
        let left = metrics.lines().find_map(|line| {
            line.strip_prefix("remora_cluster_certificate_seconds ")?.parse::<i64>().ok()
        });
        assert!(left.is_some_and(|left| (0..=5).contains(&left)), "{left:?}");
    }
}

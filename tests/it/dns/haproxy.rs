//! HAProxy's `server-template` over SRV: it fills, drains and fills again, with the weights given.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::house::{Agent, AgentSpec, App, Client, Haproxy, eventually, run};

const SOON: Duration = Duration::from_secs(20);

/// Prints what HAProxy knows of its servers.
const SERVERS: &str = r#"
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"show servers state web\n")
while text := s.recv(65536):
    sys.stdout.write(text.decode())
"#;

fn config(ip: std::net::Ipv4Addr, dir: &std::path::Path) -> String {
    format!(
        "global\n  stats socket {dir}/haproxy.sock level admin\n\
         defaults\n  mode http\n  timeout connect 2s\n  timeout client 10s\n  \
         timeout server 10s\n  option redispatch\n\
         resolvers remora\n  nameserver agent {ip}:8600\n  accepted_payload_size 8192\n  \
         timeout resolve 200ms\n  timeout retry 200ms\n  hold valid 200ms\n  hold obsolete 0s\n  \
         hold nx 0s\n\
         frontend web\n  bind {ip}:9090\n  default_backend web\n\
         backend web\n  balance roundrobin\n  \
         server-template web 6 _web._tcp.service.consul resolvers remora resolve-prefer ipv4 \
         init-addr none check inter 200ms\n",
        dir = dir.display(),
    )
}

fn answering(client: &Client) -> Result<BTreeSet<String>, String> {
    let mut seen = BTreeSet::new();
    for _ in 0..30 {
        let answer = client.get("/who")?;
        seen.insert(if answer.status == 200 { answer.text() } else { answer.status.to_string() });
    }
    Ok(seen)
}

#[test]
fn its_servers_follow_the_catalog() {
    let spec = AgentSpec::server("n1").with_dns("weight_scale: 256");
    let agent = Agent::start(spec);
    let (ip, client) = (agent.spec.place.0, agent.client());
    let _apps = [("one", 8081), ("two", 8082)].map(|(name, port)| App::start(name, ip, port));
    let file = agent.path("haproxy.cfg");
    let socket = agent.path("haproxy.sock");
    fs::write(&file, config(ip, agent.path("").as_path())).unwrap();
    let _haproxy = Haproxy::start(&file);
    let front = Client::new(&format!("{ip}:9090"));
    let register = |name: &str, port: u16, weight: u16| {
        let body = format!(
            "{{\"ID\": \"{name}\", \"Name\": \"web\", \"Port\": {port}, \
             \"Weights\": {{\"Passing\": {weight}, \"Warning\": 1}}}}"
        );
        assert_eq!(client.put("/v1/agent/service/register", body).unwrap().status, 200);
    };
    let deregister = |name: &str| {
        let path = format!("/v1/agent/service/deregister/{name}");
        assert_eq!(client.put(&path, "").unwrap().status, 200);
    };
    let becomes = |what: &str, want: &[&str]| {
        let want: BTreeSet<String> = want.iter().map(|name| (*name).to_owned()).collect();
        eventually(what, SOON, || {
            let seen = answering(&front)?;
            if seen == want { Ok(()) } else { Err(format!("{seen:?} instead of {want:?}")) }
        });
    };
    becomes("nothing is there", &["503"]);
    register("one", 8081, 10);
    register("two", 8082, 40);
    becomes("it fills", &["one", "two"]);
    let shown = run("python3", &["-c", SERVERS, &socket.display().to_string()]).unwrap();
    // Columns of the state: address, ..., the weight of the user, then of the resolver.
    let mut weights: Vec<(&str, &str)> = shown
        .lines()
        .filter(|line| line.contains(&ip.to_string()))
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .map(|columns| (columns[18], columns[7]))
        .collect();
    weights.sort_unstable();
    assert_eq!(weights, [("8081", "10"), ("8082", "40")], "{shown}");
    deregister("one");
    becomes("one has gone", &["two"]);
    deregister("two");
    becomes("it drains", &["503"]);
    register("one", 8081, 10);
    becomes("it fills again", &["one"]);
}

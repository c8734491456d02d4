//! Bad configs, bad requests and garbage: a clear error each, nothing lost, nothing crashed.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use remora::identity::JoinToken;
use remora::model::Role;

use crate::house::{Agent, AgentSpec, Place, dig, tokens};

/// Runs the agent on a config that must not start; its exit code and what it said.
fn refused(yaml: &str) -> (i32, String) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let config = dir.path().join("remora.yaml");
    fs::write(&config, yaml).unwrap();
    let output = Command::new("timeout")
        .args(["20", env!("CARGO_BIN_EXE_remora"), "agent", "-c"])
        .arg(&config)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

#[test]
fn a_bad_config_is_refused_with_the_line_and_the_key() {
    let cases: [(&str, &[&str]); 18] = [
        ("nodee: x\n", &["remora.yaml:1:", "nodee"]),
        ("node: a\ndns:\n  listn: []\n", &["remora.yaml:3:", "listn"]),
        ("services:\n  - name: web\n    port: eighty\n", &["remora.yaml:3:", "services[0].port"]),
        ("services:\n  - { name: web, port: 99999 }\n", &["remora.yaml:2:", "services[0].port"]),
        ("services:\n  - { port: 80 }\n", &["remora.yaml:2:", "services[0]", "name"]),
        (
            "services:\n  - name: web\n    checks:\n      - { interval: 5s }\n",
            &[
                "remora.yaml:4:",
                "services[0].checks[0]",
                "http, tcp, udp, grpc, h2ping, exec, alias and ttl",
            ],
        ),
        (
            "services:\n  - name: web\n    checks: [{ ttl: 15 }]\n",
            &["remora.yaml:3:", "services[0].checks[0]", "duration"],
        ),
        ("node: 'a b'\n", &["remora.yaml:1:", "node", "' '"]),
        ("upstreams: [{ service: x, listen: nowhere }]\n", &["upstreams[0].listen", "nowhere"]),
        ("http: { listen: [\"0.0.0.0:8500\"] }\n", &["http.listen", "http.insecure"]),
        ("http: { listen: [\"https://0.0.0.0:1\"] }\n", &["http.listen[0]", "needs http.tls"]),
        ("http: { tls: { cert: a, key: b } }\n", &["http.tls", "https://"]),
        ("http: { tls: { cert: a } }\n", &["remora.yaml:1:", "http.tls", "key"]),
        ("http: { listen: [\"unix:x\"] }\n", &["remora.yaml:1:", "http.listen[0]", "unix:/"]),
        ("dns: { listen: [\"0.0.0.0:8600\"] }\n", &["dns.listen", "dns.insecure"]),
        ("cluster: { insecure: true }\n", &["remora.yaml:1:", "insecure"]),
        (
            "data_dir: /nowhere\ncluster: { certificate_ttl: 1s }\n",
            &["cluster.certificate_ttl", "5s"],
        ),
        ("data_dir: /nowhere\ncluster: { token_file: /none }\n", &["cluster.token_file", "/none"]),
    ];
    for (yaml, expected) in cases {
        let (code, said) = refused(yaml);
        assert_eq!(code, 2, "{yaml}: {said}");
        for part in expected {
            assert!(said.contains(part), "{yaml}: {part:?} is not in: {said}");
        }
    }
}

#[test]
fn servers_that_would_found_together_need_the_offline_server_token() {
    let place = Place::new();
    let ip = place.0;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (data, token) = (dir.path().join("data"), dir.path().join("token"));
    let config = |token: &str| {
        format!(
            "node: one\ndata_dir: {}\ncluster:\n  bind: {ip}:8300\n  expect: 3\n  \
             join: [\"{ip}:8301\"]\n{token}http: {{ listen: [\"{ip}:8500\"] }}\n\
             dns: {{ listen: [\"{ip}:8600\"] }}\n",
            data.display()
        )
    };
    let (code, said) = refused(&config(""));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("cluster.token_file") && said.contains("join token"), "{said}");
    let printed = JoinToken::generate(Role::Server, tokens().server.digest()).unwrap();
    for wrong in [&tokens().edge, &printed] {
        fs::write(&token, wrong.reveal().as_str()).unwrap();
        let (code, said) = refused(&config(&format!("  token_file: {}\n", token.display())));
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("cluster.expect"), "{said}");
        assert!(said.contains("remora join-token --offline"), "{said}");
        assert!(!data.join("identity").exists(), "nothing was begun");
    }
}

#[test]
fn a_config_that_is_not_there_or_not_yaml_is_refused() {
    let absent = Command::new(env!("CARGO_BIN_EXE_remora"))
        .args(["agent", "-c", "/nonexistent/remora.yaml"])
        .output()
        .unwrap();
    assert_eq!(absent.status.code(), Some(2));
    let said = String::from_utf8_lossy(&absent.stderr).into_owned();
    assert!(said.contains("/nonexistent/remora.yaml"), "{said}");
    let (code, said) = refused("{ [ not yaml");
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("remora.yaml:1:"), "{said}");
}

#[test]
fn a_taken_port_and_an_unwritable_data_dir_are_named() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind(place.http()).unwrap();
    let ip = place.0;
    let rest = format!(
        "cluster: {{ bind: \"{ip}:8300\" }}\nhttp: {{ listen: [\"{ip}:8500\"] }}\n\
         dns: {{ listen: [\"{ip}:8600\"] }}\n"
    );
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (code, said) = refused(&format!("data_dir: {}\n{rest}", dir.path().join("data").display()));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("http.listen") && said.contains("in use"), "{said}");
    drop(taken);

    // Root may write anywhere, so the way is blocked by a file.
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let blocked = file.join("data");
    let (code, said) = refused(&format!("data_dir: {}\n{rest}", blocked.display()));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(blocked.to_str().unwrap()), "{said}");
}

#[test]
fn two_agents_cannot_share_a_data_dir() {
    let server = Agent::start(AgentSpec::server("first"));
    let place = Place::new();
    let ip = place.0;
    let (code, said) = refused(&format!(
        "node: first\ndata_dir: {}\ncluster: {{ bind: \"{ip}:8300\" }}\nhttp: {{ listen: [\"{ip}:8500\"] }}\n\
         dns: {{ listen: [\"{ip}:8600\"] }}\n",
        server.path("data").display()
    ));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("another"), "{said}");
    assert_eq!(server.client().get("/livez").unwrap().status, 200);
}

#[test]
fn bad_requests_get_a_status_and_a_reason() {
    let server = Agent::start(AgentSpec::server("asked"));
    let client = server.client();
    let register = "/v1/agent/service/register";
    let big = "x".repeat(512 * 1024 + 1);
    let cases: [(&str, &str, &str, u16, &str); 11] = [
        ("PUT", register, "", 400, "Request decode failed: EOF"),
        ("PUT", register, "{", 400, "unexpected EOF"),
        ("PUT", register, "{}", 400, "Missing service name"),
        ("PUT", register, r#"{"Name":"x","Nope":1}"#, 400, "unknown field \"Nope\""),
        ("PUT", register, r#"{"Name":"x","Port":"80"}"#, 400, "Port"),
        ("PUT", "/v1/agent/check/pass/none", "", 404, "none"),
        ("PUT", "/v1/kv/", "x", 400, "Missing key name"),
        ("PUT", "/v1/kv/big", &big, 413, "too large"),
        ("GET", "/v1/kv/a?index=x", "", 400, "Invalid index"),
        ("GET", "/v1/nothing", "", 404, "Invalid URL path"),
        ("POST", "/v3/kv/put", "{}", 400, "key is not provided"),
    ];
    for (method, path, body, status, part) in cases {
        let answer = match method {
            "PUT" => client.put(path, body),
            "POST" => client.post(path, body),
            _ => client.get(path),
        };
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert!(answer.text().contains(part), "{method} {path}: {}", answer.text());
    }
    assert_eq!(client.get("/v1/kv/big").unwrap().status, 404, "nothing of it was kept");
    assert_eq!(client.get("/livez").unwrap().status, 200);
}

/// Bytes that look random, the same in every run.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn garbage_on_every_port_crashes_nothing() {
    let server = Agent::start(AgentSpec::server("sturdy"));
    let place = server.spec.place;
    let socket = UdpSocket::bind((place.0, 0)).unwrap();
    for seed in 0..300 {
        let len = usize::try_from(seed).unwrap() % 700;
        socket.send_to(&noise(seed, len), (place.0, 8600)).unwrap();
    }
    for port in [8600, 8500, 8300] {
        for seed in 0..30 {
            let mut stream = TcpStream::connect((place.0, port)).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            // The agent may hang up at any byte.
            let _ = stream.write_all(&noise(seed, 2000));
            let _ = stream.read(&mut [0; 64]);
        }
    }
    let client = server.client();
    assert_eq!(client.get("/livez").unwrap().status, 200);
    assert_eq!(client.put("/v1/kv/alive", "yes").unwrap().text().trim(), "true");
    assert_eq!(dig(place.0, "consul.service.remora", "A"), [place.0.to_string()]);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

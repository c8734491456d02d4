//! Every kind of check against a real app: the agent itself, which speaks all that they ask.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::house::{Agent, AgentSpec, eventually, run};
use crate::tls::Site;

const PATIENCE: Duration = Duration::from_secs(30);

fn register(agent: &Agent, check: &str) -> Result<String, String> {
    let url = format!("http://{}/v1/agent/check/register", agent.spec.place.http());
    run("curl", &["-sS", "--fail-with-body", "-X", "PUT", "-d", check, &url])
}

/// Until the check has that status; then what it says.
fn becomes(agent: &Agent, id: &str, status: &str) -> String {
    let url = format!("http://{}/v1/agent/checks", agent.spec.place.http());
    let mut output = String::new();
    eventually(&format!("{id} is {status}"), PATIENCE, || {
        let checks: Value = serde_json::from_str(&run("curl", &["-sS", &url])?).unwrap();
        let check = &checks[id];
        output = check["Output"].as_str().unwrap_or_default().to_owned();
        if check["Status"] == status { Ok(()) } else { Err(check.to_string()) }
    });
    output
}

#[test]
fn every_kind_of_check_finds_out_how_an_app_is() {
    let site = Site::new("probed", false);
    let agent = &site.agent;
    let ip = agent.spec.place.0;
    let (http, https) = (format!("{ip}:8500"), format!("{ip}:8501"));
    let each = |id: &str, more: &str| {
        let check = format!(r#"{{"ID":"{id}","Name":"{id}","Interval":"1s",{more}}}"#);
        register(agent, &check).unwrap();
    };
    each("http", &format!(r#""HTTP":"http://{http}/v1/status/leader""#));
    each("missing", &format!(r#""HTTP":"http://{http}/nowhere""#));
    each("https", &format!(r#""HTTP":"https://{https}/v1/status/leader","TLSSkipVerify":true"#));
    each("stranger", &format!(r#""HTTP":"https://{https}/v1/status/leader""#));
    let named = r#""TLSSkipVerify":true,"TLSServerName":"localhost""#;
    each("named", &format!(r#""HTTP":"https://{https}/v1/status/leader",{named}"#));
    each("tcp", &format!(r#""TCP":"{http}""#));
    each("tls", &format!(r#""TCP":"{https}","TCPUseTLS":true,"TLSSkipVerify":true"#));
    each("udp", &format!(r#""UDP":"{ip}:8600""#));
    each("nobody", &format!(r#""UDP":"{ip}:9""#));
    each("grpc", &format!(r#""GRPC":"{http}""#));
    each("grpcs", &format!(r#""GRPC":"{https}","GRPCUseTLS":true,"TLSSkipVerify":true"#));
    each("service", &format!(r#""GRPC":"{http}/no.such.Service""#));
    each("ping", &format!(r#""H2PING":"{http}","H2PingUseTLS":false"#));
    each("pings", &format!(r#""H2PING":"{https}","TLSSkipVerify":true"#));
    for id in ["http", "https", "named", "tcp", "tls", "udp", "grpc", "grpcs", "ping", "pings"] {
        let said = becomes(agent, id, "passing");
        assert!(!said.is_empty(), "{id}");
    }
    for (id, why) in [
        ("missing", "404 Not Found"),
        ("stranger", "certificate"),
        ("nobody", "connection refused"),
        ("service", "rpc error: code = NotFound"),
    ] {
        // Critical is what a check is before it was run, too.
        eventually(id, PATIENCE, || {
            let said = becomes(agent, id, "critical");
            if said.contains(why) { Ok(()) } else { Err(said) }
        });
    }
}

#[test]
fn programs_run_where_the_config_says_so() {
    let spec = AgentSpec::server("closed");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mark = dir.path().join("mark");
    let check = format!("exec: [test, -e, {}], interval: 1s", mark.display());
    let services =
        format!("services:\n  - {{ name: web, port: 80, checks: [{{ id: marked, {check} }}] }}");
    let agent = Agent::start(spec.with(&services));
    becomes(&agent, "marked", "warning");
    fs::write(&mark, "").unwrap();
    becomes(&agent, "marked", "passing");
    let asked = r#"{"ID":"x","Name":"x","Args":["true"],"Interval":"1s"}"#;
    let refused = register(&agent, asked).unwrap_err();
    assert!(refused.contains("Scripts are disabled on this agent"), "{refused}");
    let open = Agent::start(AgentSpec::server("open").with("exec_checks: true"));
    register(&open, asked).unwrap();
    becomes(&open, "x", "passing");
}

//! `remora kv` as a person uses it: bytes in and out, watching, and keys on the move.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::house::{Agent, AgentSpec, eventually, run};

const SOON: Duration = Duration::from_secs(30);

fn kv(agent: &Agent) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remora"));
    command.env("REMORA_HTTP_ADDR", agent.spec.place.http()).arg("kv");
    command
}

/// Runs `remora kv ARGS` with `input` on its standard input.
fn given(agent: &Agent, args: &[&str], input: &[u8]) -> Output {
    let mut command = kv(agent);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

fn said(agent: &Agent, args: &[&str]) -> String {
    let output = given(agent, args, b"");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(agent: &Agent, args: &[&str]) -> (Option<i32>, String) {
    let output = given(agent, args, b"");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_is_exported_is_imported_elsewhere_byte_for_byte() {
    let (from, to) =
        (Agent::start(AgentSpec::server("from")), Agent::start(AgentSpec::server("to")));
    let bytes: Vec<u8> = (0..=255).collect();
    assert!(given(&from, &["put", "app/bytes", "-"], &bytes).status.success());
    said(&from, &["put", "app/empty", ""]);
    let url = format!("http://{}/v1/kv/app/flags?flags=42", from.spec.place.http());
    run("curl", &["-sf", "-X", "PUT", "-d", "x", &url]).unwrap();
    let endpoint = format!("--endpoints=http://{}", from.spec.place.http());
    run("etcdctl", &[&*endpoint, "put", "other", "y"]).unwrap();
    // A key that is no text, and one that no URL can name.
    let ask = |agent: &Agent, call: &str, body: Value| -> Value {
        let url = format!("http://{}/v3/kv/{call}", agent.spec.place.http());
        serde_json::from_str(&run("curl", &["-s", "-d", &body.to_string(), &url]).unwrap()).unwrap()
    };
    ask(&from, "put", json!({"key": "YXBwL/8=", "value": "eg=="}));
    ask(&from, "put", json!({"key": "YXBwLy4u", "value": "eg=="}));

    let dir = TempDir::new().unwrap();
    let file = dir.path().join("keys.json");
    let exported = said(&from, &["export", "app/"]);
    fs::write(&file, &exported).unwrap();
    let imported = said(&to, &["import", file.to_str().unwrap(), "--prefix", "copy/"]);
    assert_eq!(imported, "imported 5 keys\n");
    assert_eq!(given(&to, &["get", "copy/app/bytes"], b"").stdout, bytes);
    let back = said(&to, &["export", "copy/"]);
    let entries = |text: &str| serde_json::from_str::<Vec<Value>>(text).unwrap();
    let keys = |text: &str| -> Vec<Value> {
        entries(text).iter().map(|entry| json!([entry["value"], entry["flags"]])).collect()
    };
    assert_eq!(keys(&back), keys(&exported));
    assert!(entries(&exported).iter().any(|entry| entry["key64"] == "YXBwL/8="), "{exported}");
    assert!(
        entries(&exported).contains(&json!({"key": "app/flags", "flags": 42, "value": "eA=="}))
    );

    let bad =
        given(&to, &["import", "-"], br#"[{"key":"a","value":"eA=="},{"key":"b","value":"*"}]"#);
    let why = String::from_utf8(bad.stderr).unwrap();
    assert_eq!(bad.status.code(), Some(2));
    assert!(why.contains("entry 2: value is no base64"), "{why}");
    assert_eq!(refused(&to, &["get", "a"]).0, Some(1), "nothing of it was written");
}

#[test]
fn a_watch_tells_what_happens_and_goes_on_after_a_restart() {
    let mut agent = Agent::start(AgentSpec::server("server"));
    said(&agent, &["put", "app/a", "one"]);
    let mut command = kv(&agent);
    command.args(["watch", "--prefix", "app/", "--rev", "2"]).stdout(Stdio::piped());
    let mut watch = command.stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert_eq!(next(), "PUT app/a 2 one");
    said(&agent, &["put", "elsewhere", "x"]);
    said(&agent, &["del", "app/a"]);
    assert_eq!(next(), "DELETE app/a 4 ");
    agent.kill();
    agent.start_again();
    eventually("it takes writes again", SOON, || {
        let put = given(&agent, &["put", "app/b", "two"], b"");
        if put.status.success() { Ok(()) } else { Err(put.status.to_string()) }
    });
    assert_eq!(next(), "PUT app/b 5 two");
    watch.kill().unwrap();
    watch.wait().unwrap();

    run(
        "etcdctl",
        &[&format!("--endpoints=http://{}", agent.spec.place.http()), "compaction", "5"],
    )
    .unwrap();
    let (code, why) = refused(&agent, &["watch", "app/a", "--rev", "3"]);
    assert_eq!(code, Some(1));
    assert!(why.contains("revision 3 has been compacted: history begins at 5"), "{why}");
}

#[test]
fn a_command_runs_for_each_event() {
    let agent = Agent::start(AgentSpec::server("server"));
    said(&agent, &["put", "job", "one"]);
    said(&agent, &["put", "job", "stop"]);
    let script = "read -r value; echo $REMORA_EVENT $REMORA_KEY $REMORA_REVISION $value; \
                  [ $value != stop ] || exit 7";
    let watch = ["watch", "job", "--rev", "2", "--", "sh", "-c", script];
    let output = given(&agent, &watch, b"");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "PUT job 2 one\nPUT job 3 stop\n");
    assert_eq!(output.status.code(), Some(7), "the command's own");
}

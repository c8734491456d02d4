//! What the documentation says is true: the tour, the example config, the commands.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::house::{Agent, AgentSpec, eventually, run};

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The contents of the first block fenced as `language`.
fn block<'a>(text: &'a str, language: &str) -> &'a str {
    let opening = format!("```{language}\n");
    let start = text.find(&opening).expect("the README has such a block") + opening.len();
    let end = text[start..].find("```").expect("the block ends");
    &text[start..start + end]
}

/// A process that does not outlive a test that fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_tour_that_dev_prints_works_when_pasted() {
    let mut dev = Killed(
        Command::new(env!("CARGO_BIN_EXE_remora"))
            .args(["dev", "--log", "warn"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let stdout = BufReader::new(dev.0.stdout.take().unwrap());
    let mut lines = stdout.lines().map(Result::unwrap);
    lines.find(|line| line.starts_with("Try")).expect("dev prints what to try");
    let tour: Vec<String> = lines.by_ref().take(5).map(|line| line.trim().to_owned()).collect();

    let readme = readme();
    let told: Vec<&str> = block(&readme, "sh").lines().collect();
    assert_eq!(tour, told, "the README tells the same tour");

    let bin = Path::new(env!("CARGO_BIN_EXE_remora")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut said = Vec::new();
    for line in &tour {
        let output = Command::new("sh").args(["-c", line]).env("PATH", &path).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(output.status.success(), "{line}: {text}");
        said.push(text);
    }
    assert!(said[1].contains(" 8080 "), "the service is found by DNS: {said:?}");
    assert_eq!(said[3], "blue", "the key is read back: {said:?}");
    assert!(said[4].contains("leader"), "status says who leads: {said:?}");

    run("kill", &[&dev.0.id().to_string()]).unwrap();
    let status = eventually("dev stops", Duration::from_secs(10), || {
        dev.0.try_wait().unwrap().ok_or_else(|| "it still runs".to_owned())
    });
    assert!(status.success(), "{status}");
}

#[test]
fn the_example_config_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("remora.yaml");
    fs::write(&file, block(&readme(), "yaml")).unwrap();
    let said = run(env!("CARGO_BIN_EXE_remora"), &["check-config", file.to_str().unwrap()]);
    assert!(said.as_ref().is_ok_and(|text| text.contains("valid")), "{said:?}");
}

/// Needs no agent, and what is printed is what an agent reads.
#[test]
fn tokens_are_made_before_there_is_a_cluster() {
    let remora = env!("CARGO_BIN_EXE_remora");
    let said = run(remora, &["join-token", "--offline"]).unwrap();
    let tokens: Vec<&str> = said.lines().collect();
    assert_eq!(tokens.len(), 2, "{said}");
    assert!(tokens[0].starts_with("rmr1-server-") && tokens[1].starts_with("rmr1-edge-"));
    let digest = |token: &str| token.split('-').nth(2).unwrap().to_owned();
    assert_eq!(digest(tokens[0]), digest(tokens[1]));
    let json = run(remora, &["join-token", "--offline", "--role", "relay", "--json"]).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json["relay"].as_str().unwrap().starts_with("rmr1-relay-"));

    let dir = tempfile::tempdir().unwrap();
    let (file, token) = (dir.path().join("remora.yaml"), dir.path().join("token"));
    let config = format!("data_dir: /nowhere\ncluster: {{ token_file: {} }}\n", token.display());
    fs::write(&file, config).unwrap();
    let check = || {
        let output = Command::new(remora).arg("check-config").arg(&file).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    fs::write(&token, tokens[0]).unwrap();
    assert_eq!(check().0, Some(0));
    let secret = tokens[0].rsplit('-').next().unwrap();
    fs::write(&token, &tokens[0][..tokens[0].len() - 1]).unwrap();
    let (code, said) = check();
    assert_eq!(code, Some(2));
    assert!(said.contains("cluster.token_file") && said.contains("part 5"), "{said}");
    assert!(!said.contains(&secret[..16]), "{said}");
}

#[test]
fn commands_print_tables_and_json_and_exit_as_documented() {
    let server = Agent::start(AgentSpec::server("told"));
    let address = server.spec.place.http();
    let ask = |args: &[&str]| {
        let mut all = vec!["--http-addr", &address];
        all.splice(0..0, args.iter().copied());
        Command::new(env!("CARGO_BIN_EXE_remora")).args(all).output().unwrap()
    };
    let told = |args: &[&str]| {
        let output = ask(args);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}: {text}{output:?}");
        text
    };
    let json = |args: &[&str]| -> serde_json::Value {
        serde_json::from_str(&told(args)).unwrap_or_else(|error| panic!("{args:?}: {error}"))
    };

    assert!(told(&["members"]).contains("told"));
    assert!(json(&["members", "--json"]).to_string().contains("told"));
    assert!(told(&["status"]).contains("leader"));
    assert!(json(&["status", "--json"])["leader"].is_u64());

    let file = server.path("service.yaml");
    fs::write(
        &file,
        "name: web\nport: 8080\ntags: [v1]\nchecks: [{ ttl: 60s, initial: passing }]\n",
    )
    .unwrap();
    told(&["register", "-f", file.to_str().unwrap()]);
    assert!(told(&["services"]).contains("web"));
    assert!(told(&["services", "web"]).contains("8080"));
    assert!(told(&["lookup", "web"]).contains("8080"));
    assert!(told(&["lookup", "web", "--tag", "v1"]).contains("8080"));
    assert!(json(&["lookup", "web", "--json"]).to_string().contains("8080"));
    assert_eq!(ask(&["lookup", "absent"]).status.code(), Some(1));
    told(&["deregister", "web"]);
    assert!(!told(&["services"]).contains("web"));

    told(&["kv", "put", "a/b", "one"]);
    told(&["kv", "put", "a/c/d", "two"]);
    assert_eq!(told(&["kv", "get", "a/b"]), "one");
    assert!(told(&["kv", "ls", "a/"]).contains("a/c/"));
    assert!(told(&["kv", "tree", "a/"]).contains("two"));
    told(&["kv", "del", "a/b"]);
    assert_eq!(ask(&["kv", "get", "a/b"]).status.code(), Some(1));

    assert!(told(&["servers"]).contains("leader"));
    assert!(json(&["servers", "--json"])["servers"][0]["id"].is_u64());
    assert!(told(&["servers", "set", "--voters", "5"]).contains("5 vote"));
    assert_eq!(json(&["servers", "--json"])["voters"], 5);
    for refused in [
        &["servers", "remove", "told"][..],
        &["servers", "transfer-leader"],
        &["servers", "transfer-leader", "nobody"],
        &["revoke", "nobody"],
        &["revoke", "told"],
        &["join-token", "retire", "0123456789abcdef"],
    ] {
        let output = ask(refused);
        assert_eq!(output.status.code(), Some(1), "{refused:?}: {output:?}");
    }
    assert!(told(&["join-token", "list"]).contains("USES LEFT"));
    assert!(json(&["join-token", "list", "--json"]).is_array());
    for usage in [
        &["join-token", "retire", "nonsense"][..],
        &["join-token", "--role", "voter"],
        &["join-token", "--offline", "--uses", "1"],
        &["servers", "set"],
    ] {
        assert_eq!(ask(usage).status.code(), Some(2), "{usage:?}");
    }

    assert_eq!(ask(&["kv", "nonsense"]).status.code(), Some(2));
    let nobody = Command::new(env!("CARGO_BIN_EXE_remora"))
        .args(["status", "--http-addr", "127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(said.contains("127.0.0.1:1"), "{said}");
}

//! `remora lock` and `remora elect` with real agents and real commands.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::house::{Agent, AgentSpec, eventually, run};

const SOON: Duration = Duration::from_secs(30);

struct Stage {
    server: Agent,
    dir: TempDir,
}

impl Stage {
    fn new() -> Stage {
        Stage { server: Agent::start(AgentSpec::server("server")), dir: TempDir::new().unwrap() }
    }

    /// Starts `remora VERB... -- sh -c SCRIPT` through an agent.
    fn start(&self, agent: &Agent, verb: &[&str], script: &str) -> Child {
        let address = agent.spec.place.http();
        let mut command = Command::new(env!("CARGO_BIN_EXE_remora"));
        command.args(verb).args(["--http-addr", &address, "--ttl", "2s", "--", "sh", "-c", script]);
        command.current_dir(self.dir.path()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn etcdctl(&self, args: &[&str]) -> String {
        let endpoint = format!("--endpoints=http://{}", self.server.spec.place.http());
        run("etcdctl", &[&[&*endpoint], args].concat()).unwrap()
    }

    /// Until nobody stands in the queue, or so many do.
    fn queue(&self, name: &str, count: usize) {
        let prefix = format!("{name}/");
        eventually("the queue is that long", SOON, || {
            let keys = self.etcdctl(&["get", "--prefix", "--keys-only", &prefix]);
            let keys = keys.lines().filter(|line| !line.is_empty()).count();
            if keys == count { Ok(()) } else { Err(keys.to_string()) }
        });
    }
}

fn there(file: &Path) {
    eventually("the file is there", SOON, || fs::metadata(file).map_err(|e| e.to_string()));
}

fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn one_after_the_other_holds_a_lock_with_a_token_that_rises() {
    let stage = Stage::new();
    let edge = Agent::start(AgentSpec::edge("edge", vec![stage.server.spec.place.peer()]));
    let script = "echo in $REMORA_FENCE >> log; sleep 0.2; echo out $REMORA_FENCE >> log";
    let agents = [&stage.server, &edge, &stage.server, &edge];
    let all = agents.map(|agent| stage.start(agent, &["lock", "a/job"], script));
    for child in all {
        assert_eq!(ended(child), (Some(0), String::new()));
    }
    let log = fs::read_to_string(stage.file("log")).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    let mut fence = 0;
    assert_eq!(lines.len(), 8, "{log}");
    for pair in lines.chunks(2) {
        let token = pair[0].strip_prefix("in ").expect(&log);
        assert_eq!(pair[1].strip_prefix("out "), Some(token), "two at a time: {log}");
        let token: u64 = token.parse().unwrap();
        assert!(token > fence, "{log}");
        fence = token;
    }
    stage.queue("a/job", 0);
}

#[test]
fn a_semaphore_lets_so_many_in_and_no_more() {
    let stage = Stage::new();
    let until_told = "touch in.$REMORA_FENCE; while [ ! -e go ]; do sleep 0.05; done";
    let verb = ["lock", "gate", "--slots", "2"];
    let first = [(); 2].map(|()| stage.start(&stage.server, &verb, until_told));
    let inside = || {
        let names = fs::read_dir(stage.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("in.")).count()
    };
    eventually("two are in", SOON, || {
        let count = inside();
        if count == 2 { Ok(()) } else { Err(count.to_string()) }
    });
    let third = stage.start(&stage.server, &verb, "touch in.third");
    stage.queue("gate", 3);
    assert_eq!(inside(), 2);
    fs::write(stage.file("go"), "").unwrap();
    first.into_iter().for_each(|child| assert_eq!(ended(child).0, Some(0)));
    assert_eq!(ended(third).0, Some(0));
    assert_eq!(inside(), 3);
}

#[test]
fn a_command_ends_when_its_lease_is_lost_and_says_how_it_ended_by_itself() {
    let stage = Stage::new();
    let failing = stage.start(&stage.server, &["lock", "job"], "exit 7");
    let (code, said) = ended(failing);
    assert_eq!((code, &*said), (Some(7), "remora: the command ended with exit status: 7\n"));
    let stubborn = "trap 'touch told; exit' TERM; touch begun; while :; do sleep 0.05; done";
    let holder = stage.start(&stage.server, &["lock", "job"], stubborn);
    there(&stage.file("begun"));
    let key = stage.etcdctl(&["get", "--prefix", "--keys-only", "job/"]);
    let lease = key.trim().strip_prefix("job/").unwrap().to_owned();
    stage.etcdctl(&["lease", "revoke", &lease]);
    let (code, said) = ended(holder);
    assert_eq!(code, Some(1));
    assert!(said.contains("the lease was lost"), "{said}");
    assert!(stage.file("told").exists(), "it was asked to end");
}

#[test]
fn a_holder_that_dies_makes_room_when_its_lease_ends() {
    let stage = Stage::new();
    let mut holder = stage.start(
        &stage.server,
        &["elect", "boss", "--value", "one"],
        "touch one; exec sleep 20",
    );
    there(&stage.file("one"));
    assert_eq!(stage.etcdctl(&["get", "--prefix", "--print-value-only", "boss/"]), "one\n");
    let next = stage.start(&stage.server, &["elect", "boss"], "touch two");
    stage.queue("boss", 2);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(ended(next).0, Some(0));
    assert!(stage.file("two").exists());
}

#[test]
fn who_is_told_to_end_while_it_waits_leaves_the_queue() {
    let stage = Stage::new();
    let holder =
        stage.start(&stage.server, &["lock", "job"], "while [ ! -e go ]; do sleep 0.05; done");
    stage.queue("job", 1);
    let waits = stage.start(&stage.server, &["lock", "job"], "touch never");
    stage.queue("job", 2);
    run("kill", &["-TERM", &waits.id().to_string()]).unwrap();
    assert_eq!(ended(waits).0, Some(1));
    stage.queue("job", 1);
    fs::write(stage.file("go"), "").unwrap();
    assert_eq!(ended(holder).0, Some(0));
    assert!(!stage.file("never").exists());
}

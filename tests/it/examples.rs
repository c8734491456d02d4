//! The examples do what they say.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::house::{Agent, AgentSpec, eventually};

const SOON: Duration = Duration::from_secs(30);

/// One of the scripts of `examples/coordination`, killed when it is dropped.
struct Script {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Script {
    fn start(agent: &Agent, args: &[&str]) -> Script {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/coordination");
        let mut command = Command::new("python3");
        command.arg("-B").args(args).current_dir(dir).stdout(Stdio::piped());
        command.env("REMORA_HTTP_ADDR", agent.spec.place.http());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Script { child, lines }
    }

    fn next(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All that a script says until it ends.
fn said(agent: &Agent, args: &[&str]) -> String {
    let mut script = Script::start(agent, args);
    let lines: Vec<String> = script.lines.by_ref().map(Result::unwrap).collect();
    assert!(script.child.wait().unwrap().success(), "{args:?}");
    lines.join("\n")
}

#[test]
fn settings_are_published_to_who_subscribed() {
    let agent = Agent::start(AgentSpec::server("server"));
    said(&agent, &["configuration.py", "publish", "shop", "timeout", "30s"]);
    let mut subscriber = Script::start(&agent, &["configuration.py", "subscribe", "shop"]);
    assert_eq!(subscriber.next(), "settings {'timeout': '30s'}");
    said(&agent, &["configuration.py", "publish", "shop", "color", "red"]);
    assert_eq!(subscriber.next(), "settings {'timeout': '30s', 'color': 'red'}");
}

#[test]
fn a_report_goes_with_its_worker() {
    let agent = Agent::start(AgentSpec::server("server"));
    let show = || said(&agent, &["work_report.py", "show"]);
    let worker = Script::start(&agent, &["work_report.py", "work", "anna", "100"]);
    eventually("the worker reports", SOON, || match show() {
        shown if shown.starts_with("anna ") && shown.ends_with("/100") => Ok(()),
        shown => Err(shown),
    });
    drop(worker);
    eventually("its report is gone", SOON, || match show() {
        shown if shown.is_empty() => Ok(()),
        shown => Err(shown),
    });
}

#[test]
fn a_worker_acts_once_for_each_change() {
    let agent = Agent::start(AgentSpec::server("server"));
    let mut workers =
        ["w1", "w2"].map(|name| Script::start(&agent, &["scheduling.py", "work", name]));
    workers.iter_mut().for_each(|worker| assert_eq!(worker.next(), "working"));
    for _ in 0..3 {
        let done = said(&agent, &["scheduling.py", "run", "greet", "hello"]);
        assert!(["w1 HELLO", "w2 HELLO"].contains(&done.as_str()), "{done}");
    }
    let [first, second] = workers;
    drop(first);
    assert_eq!(said(&agent, &["scheduling.py", "run", "greet", "again"]), "w2 AGAIN");
    drop(second);
}

#[test]
fn a_queue_is_worked_off_in_order_and_what_a_dead_worker_held_comes_back() {
    let agent = Agent::start(AgentSpec::server("server"));
    said(&agent, &["work_queue.py", "put", "mail", "a", "b", "c"]);
    assert_eq!(said(&agent, &["work_queue.py", "list", "mail"]), "a b c");
    let mut slow = Script::start(&agent, &["work_queue.py", "work", "mail", "slow", "100"]);
    assert_eq!(slow.next(), "took a");
    let mut quick = Script::start(&agent, &["work_queue.py", "work", "mail", "quick", "0"]);
    let lines: Vec<String> = (0..4).map(|_| quick.next()).collect();
    assert_eq!(lines, ["took b", "did b", "took c", "did c"]);
    drop(slow);
    assert_eq!([quick.next(), quick.next()], ["took a", "did a"]);
    said(&agent, &["work_queue.py", "put", "mail", "d"]);
    assert_eq!([quick.next(), quick.next()], ["took d", "did d"]);
    assert_eq!(said(&agent, &["work_queue.py", "list", "mail"]), "");
}

#[test]
fn a_monitor_tells_who_comes_and_goes() {
    let agent = Agent::start(AgentSpec::server("server"));
    let mut monitor = Script::start(&agent, &["monitoring.py", "monitor"]);
    assert_eq!(monitor.next(), "up:");
    let machine = Script::start(&agent, &["monitoring.py", "report", "web-1"]);
    assert!(monitor.next().starts_with("web-1 is there {\"load\": "));
    drop(machine);
    assert_eq!(monitor.next(), "web-1 is gone");
}

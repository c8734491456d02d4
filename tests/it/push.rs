//! `/v1/watch` with curl: what it tells of a change and a failure, and how it goes on after a break.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::house::{Agent, AgentSpec, Cluster, eventually, run};

/// What a change needs to be told.
const SOON: Duration = Duration::from_secs(15);
const SERVICE: &str =
    "services:\n  - { name: web, port: 80, checks: [{ ttl: 60s, initial: passing }] }";

/// A stream that curl reads, line by line.
struct Curl {
    child: Child,
    lines: Receiver<String>,
}

#[derive(Debug)]
struct Event {
    kind: String,
    id: String,
    data: Value,
}

impl Curl {
    fn watch(agent: &Agent, query: &str, id: &str) -> Curl {
        let url = format!("http://{}/v1/watch?{query}", agent.spec.place.http());
        let mut curl = Command::new("curl");
        curl.args(["-sSN", "--fail", "-H", &format!("Last-Event-ID: {id}"), &url]);
        let mut child = curl.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut read = out.lines().map_while(Result::ok);
            // Nobody listens any more: the test is over.
            read.all(|line| sender.send(line).is_ok());
        });
        Curl { child, lines }
    }

    /// The next event; none where the stream ends before.
    fn next(&self, within: Duration) -> Option<Event> {
        let until = Instant::now() + within;
        let (mut kind, mut id) = (String::new(), String::new());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).ok()?;
            match line.split_once(": ") {
                Some(("event", value)) => kind = value.to_owned(),
                Some(("id", value)) => id = value.to_owned(),
                Some(("data", value)) => {
                    return Some(Event { kind, id, data: serde_json::from_str(value).unwrap() });
                }
                _ => {}
            }
        }
    }

    /// Reads until an event says so.
    fn until(&self, what: &str, holds: impl Fn(&Event) -> bool) -> Event {
        let until = Instant::now() + SOON;
        let mut last = None;
        while let Some(event) = self.next(until.saturating_duration_since(Instant::now())) {
            if holds(&event) {
                return event;
            }
            last = Some(event);
        }
        panic!("{what}: not within {SOON:?}; last: {last:?}")
    }

    /// Reads until the connection breaks.
    fn broken(&self) {
        let until = Instant::now() + SOON;
        while Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            if let Err(error) = self.lines.recv_timeout(left) {
                let gone = std::sync::mpsc::RecvTimeoutError::Disconnected;
                assert_eq!(error, gone, "the stream goes on");
                return;
            }
        }
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a service has one instance of which all checks are so.
fn is_all(event: &Event, status: &str) -> bool {
    let Some([row]) = event.data["Rows"].as_array().map(Vec::as_slice) else { return false };
    let checks = row["Checks"].as_array().unwrap();
    event.kind == "service" && checks.iter().all(|check| check["Status"] == status)
}

fn has_critical(event: &Event) -> bool {
    let checks = event.data["Rows"][0]["Checks"].as_array();
    checks.is_some_and(|checks| checks.iter().any(|check| check["Status"] == "critical"))
}

fn has_value(event: &Event, value: &str) -> bool {
    event.kind == "key" && event.data["Rows"][0]["Value"] == value
}

#[test]
fn a_stream_tells_of_changes_and_failures_and_goes_on_after_breaks() {
    let cluster = Cluster::of(1);
    let server = &cluster.servers[0];
    let mut app = Agent::start(AgentSpec::edge("app", cluster.peers()).with(SERVICE));
    let mut edge = Agent::start(AgentSpec::edge("edge", cluster.peers()));
    let query = "service=web&key=color&prefix=conf/";

    let stream = Curl::watch(&edge, query, "");
    stream.until("the instance", |event| is_all(event, "passing"));
    server.client().put("/v1/kv/color", "red").unwrap();
    stream.until("a key through the server", |event| has_value(event, "cmVk"));
    app.kill();
    let failed = stream.until("the failure", has_critical);
    // The client breaks off; what happens meanwhile is told to it when it is back.
    drop(stream);
    app.start_again();
    server.client().put("/v1/kv/color", "blue").unwrap();
    let stream = Curl::watch(&edge, query, &failed.id);
    // In one round or in two, as the edge comes to know them.
    let (well, blue) = (Cell::new(false), Cell::new(false));
    let last = stream.until("both changes", |event| {
        well.set(well.get() || is_all(event, "passing"));
        blue.set(blue.get() || has_value(event, "Ymx1ZQ=="));
        well.get() && blue.get()
    });

    // The edge itself goes down, and comes back without anything of before.
    edge.kill();
    stream.broken();
    server.client().put("/v1/kv/conf/size", "9").unwrap();
    edge.start_again();
    let stream = Curl::watch(&edge, query, &last.id);
    let of_edge = stream.until("the prefix", |event| event.kind == "prefix");
    assert_eq!(of_edge.data["Rows"][0]["Key"], "conf/size");
    // Another agent goes on where that one was.
    let stream = Curl::watch(server, query, &of_edge.id);
    server.client().put("/v1/kv/color", "green").unwrap();
    stream.until("a change elsewhere", |event| has_value(event, "Z3JlZW4="));
}

/// Numbers that are others each time.
fn masked(text: &str) -> String {
    let id = regex::Regex::new(r"\d+-\d+-[0-9a-f]+").unwrap().replace_all(text, "ID").into_owned();
    regex::Regex::new(r#"Index":\d+"#).unwrap().replace_all(&id, "Index\":N").into_owned()
}

#[test]
fn the_example_of_the_document_does_what_it_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
    let text = fs::read_to_string(path).unwrap();
    let section = text.split("### A stream of changes").nth(1).expect("the section");
    let block = |kind: &str| {
        let from = section.split(&format!("```{kind}\n")).nth(1).expect(kind);
        from.split("```").next().unwrap().to_owned()
    };
    let agent = Agent::start(AgentSpec::server("server"));
    let script = block("sh").replace("localhost:8500", &agent.spec.place.http());
    eventually("what the document shows", SOON, || {
        let said = run("sh", &["-euc", &script])?;
        let (said, shown) = (masked(said.trim()), masked(block("text").trim()));
        if said == shown { Ok(()) } else { Err(format!("{said}\ninstead of\n{shown}")) }
    });
}

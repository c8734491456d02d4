//! `remora kv watch`: tells what happens to keys, or runs a command for each event.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::shown_value;
use crate::cli::api::{Api, Lines};
use crate::cli::output::{self, Asked};
use crate::cli::{Failure, Result, ended_with};
use crate::lifecycle::Backoff;

/// Least and longest wait before an agent that is gone is asked again.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

#[derive(clap::Args)]
pub(super) struct Args {
    key: String,
    /// The key is a prefix: everything that starts with it
    #[arg(long)]
    prefix: bool,
    /// From this revision on, its own events included; default: what happens from now on
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    rev: Option<i64>,
    #[command(flatten)]
    asked: Asked,
    /// Run for each event, one after the other, with the value on its standard input and
    /// REMORA_EVENT (PUT or DELETE), REMORA_KEY and REMORA_REVISION set; the watch ends with the
    /// first that fails
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// One line of etcd's JSON gateway.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    result: Told,
    error: Option<Value>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Told {
    header: Header,
    canceled: bool,
    cancel_reason: String,
    compact_revision: String,
    events: Vec<Event>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Header {
    revision: String,
}

#[derive(Deserialize)]
struct Event {
    /// A put where nothing is said.
    #[serde(rename = "type", default = "put")]
    kind: String,
    kv: Row,
}

fn put() -> String {
    "PUT".to_owned()
}

#[derive(Deserialize)]
struct Row {
    /// Base64, as the value.
    key: String,
    #[serde(default)]
    value: String,
    mod_revision: String,
}

/// Why a stream is not read on.
enum Broken {
    /// Nothing more comes of it: another may do better.
    Off(Failure),
    /// What comes next has been compacted away, up to this revision.
    Compacted(i64),
}

pub(super) fn run(args: &Args) -> Result {
    let api = args.asked.api.open()?;
    api.block_on(follow(&api, args))
}

/// Goes on where it was whenever the agent comes back.
async fn follow(api: &Api, args: &Args) -> Result {
    let mut next = args.rev;
    let mut backoff = Backoff::new(AGAIN.0, AGAIN.1);
    let mut begun = false;
    loop {
        let broken = match open(api, args, next).await {
            Ok(lines) => {
                begun = true;
                backoff.reset();
                read(lines, args, &mut next).await?
            }
            // Whoever cannot begin is told at once.
            Err(failure) if !begun => return Err(failure),
            Err(failure) => Broken::Off(failure),
        };
        match broken {
            Broken::Compacted(to) if next == args.rev => {
                let from = next.unwrap_or(0);
                return Err(anyhow!(
                    "revision {from} has been compacted: history begins at {to} (--rev {to})"
                )
                .into());
            }
            Broken::Compacted(to) => {
                let from = next.unwrap_or(0);
                eprintln!("events of the revisions {from} to {} are lost: compacted", to - 1);
                next = Some(to);
            }
            Broken::Off(failure) => {
                eprintln!("the watch broke off and goes on: {:#}", failure.error);
                sleep(backoff.next_delay()).await;
            }
        }
    }
}

async fn open<'a>(api: &'a Api, args: &Args, from: Option<i64>) -> Result<Lines<'a>> {
    // What starts with nothing is everything.
    let (key, end) = match (args.prefix, args.key.is_empty()) {
        (false, true) => return Err(Failure::usage(anyhow!("a key must not be empty"))),
        (false, false) => (STANDARD.encode(&args.key), None),
        (true, true) => (STANDARD.encode([0]), Some(STANDARD.encode([0]))),
        (true, false) => (STANDARD.encode(&args.key), Some(STANDARD.encode(end_of(&args.key)))),
    };
    let create = json!({"key": key, "range_end": end, "start_revision": from.unwrap_or(0)});
    let body = json!({ "create_request": create }).to_string();
    api.lines("/v3/watch", body.into_bytes()).await
}

/// The first key after all that start with `prefix`.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // The bytes of UTF-8 are all below 0xff.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

async fn read(mut lines: Lines<'_>, args: &Args, next: &mut Option<i64>) -> Result<Broken> {
    loop {
        let line = match lines.next().await {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(Broken::Off(anyhow!("the agent ended it").into())),
            Err(failure) => return Ok(Broken::Off(failure)),
        };
        let line: Line = serde_json::from_slice(&line).context("an answer that makes no sense")?;
        if let Some(error) = line.error {
            return Ok(Broken::Off(anyhow!("{}", error["message"]).into()));
        }
        let told = line.result;
        if told.canceled {
            return match told.compact_revision.parse() {
                Ok(to) => Ok(Broken::Compacted(to)),
                Err(_) => Err(anyhow!("the watch was cancelled: {}", told.cancel_reason).into()),
            };
        }
        for event in &told.events {
            tell(event, args)?;
        }
        let last = told.events.last().map(|event| &event.kv.mod_revision);
        // Who asked for what comes from now on has missed nothing before the first answer.
        let known = last.or(next.is_none().then_some(&told.header.revision));
        if let Some(revision) = known.and_then(|revision| revision.parse::<i64>().ok()) {
            *next = Some(revision + 1);
        }
    }
}

fn tell(event: &Event, args: &Args) -> Result {
    let decode = |text: &str| STANDARD.decode(text).context("a key or value that is no base64");
    let (key, value) = (decode(&event.kv.key)?, decode(&event.kv.value)?);
    if let Some((program, arguments)) = args.command.split_first() {
        return react(program, arguments, event, &key, &value);
    }
    let revision = &event.kv.mod_revision;
    let text = std::str::from_utf8(&key);
    if args.asked.output.json {
        let mut row = json!({"event": event.kind, "revision": revision.parse::<i64>().ok()});
        match text {
            Ok(key) => row["key"] = key.into(),
            Err(_) => row["key64"] = event.kv.key.as_str().into(),
        }
        if event.kind == "PUT" {
            row["value"] = event.kv.value.as_str().into();
        }
        return output::print(&row.to_string());
    }
    let key = text.map_or_else(|_| shown_value(key.clone()), output::printable);
    output::print(&format!("{} {key} {revision} {}", event.kind, shown_value(value)))
}

/// Runs the command for one event.
fn react(program: &str, arguments: &[String], event: &Event, key: &[u8], value: &[u8]) -> Result {
    use std::os::unix::ffi::OsStrExt as _;
    let mut child = Command::new(program)
        .args(arguments)
        .env("REMORA_EVENT", &event.kind)
        .env("REMORA_KEY", std::ffi::OsStr::from_bytes(key))
        .env("REMORA_REVISION", &event.kv.mod_revision)
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program:?}"))?;
    if let Some(mut input) = child.stdin.take() {
        // A command need not read all of it, or any.
        let _ = input.write_all(value);
    }
    ended_with(child.wait()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_starts_with_a_prefix_ends_before_the_next() {
        assert_eq!(end_of("a/"), b"a0");
        assert_eq!(end_of("é"), [0xc3, 0xaa]);
    }

    #[test]
    fn a_line_of_the_gateway_is_understood() {
        let line = r#"{"result":{"header":{"revision":"7"},"events":[
            {"kv":{"key":"YQ==","mod_revision":"7","value":"Yg=="}},
            {"type":"DELETE","kv":{"key":"YQ==","mod_revision":"8"}}]}}"#;
        let line: Line = serde_json::from_str(line).expect("a line");
        let kinds: Vec<&str> = line.result.events.iter().map(|event| &*event.kind).collect();
        assert_eq!((kinds, line.result.header.revision.as_str()), (vec!["PUT", "DELETE"], "7"));
        let gone = r#"{"result":{"header":{},"canceled":true,"compact_revision":"5"}}"#;
        let gone: Line = serde_json::from_str(gone).expect("a line");
        assert_eq!((gone.result.canceled, &*gone.result.compact_revision), (true, "5"));
    }
}

//! `remora kv`: reads and writes keys.

mod transfer;
mod watch;

use std::fs::File;
use std::io::Read;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::api::{Api, escape, escape_path};
use super::output::{self, Asked, OutputArgs};
use super::{Failure, Result};
use crate::model::limits;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Writes a key's value to standard output, byte for byte
    Get {
        key: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Writes a key
    Put {
        key: String,
        /// The value; `-` reads it from standard input, `@FILE` from a file
        #[arg(allow_hyphen_values = true)]
        value: String,
        /// Only if the key is at this revision; 0: only if there is no such key
        #[arg(long, value_name = "N")]
        cas: Option<u64>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Deletes a key
    Del {
        key: String,
        /// Only if the key is at this revision
        #[arg(long, value_name = "N", conflicts_with = "recurse")]
        cas: Option<u64>,
        /// The key is a prefix: deletes everything that starts with it
        #[arg(long)]
        recurse: bool,
        #[command(flatten)]
        asked: Asked,
    },
    /// Lists the keys and folders directly below a folder
    Ls {
        #[arg(default_value = "")]
        folder: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Lists all keys below a folder, with their values
    Tree {
        #[arg(default_value = "")]
        folder: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Tells what happens to a key, until it is interrupted; or runs a command for each event
    Watch(watch::Args),
    /// Writes keys with their values and flags to standard output, as JSON
    Export(transfer::ExportArgs),
    /// Writes the keys of an export
    Import(transfer::ImportArgs),
}

/// A key as the API lists it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    key: String,
    /// Base64; none for an empty value.
    value: Option<String>,
    modify_index: u64,
}

pub(super) fn run(args: &Args) -> Result {
    match &args.command {
        Command::Get { key, asked } => get(&asked.api.open()?, key, asked.output),
        Command::Put { key, value, cas, asked } => {
            let value = read_value(value)?;
            put(&asked.api.open()?, key, value, *cas, asked.output)
        }
        Command::Del { key, cas, recurse, asked } => {
            del(&asked.api.open()?, key, *cas, *recurse, asked.output)
        }
        Command::Ls { folder, asked } => ls(&asked.api.open()?, folder, asked.output),
        Command::Tree { folder, asked } => tree(&asked.api.open()?, folder, asked.output),
        Command::Watch(args) => watch::run(args),
        Command::Export(args) => transfer::export(args),
        Command::Import(args) => transfer::import(args),
    }
}

fn get(api: &Api, key: &str, form: OutputArgs) -> Result {
    let raw = if form.json { "" } else { "?raw" };
    let reply = api.get(&format!("{}{raw}", path(key)?))?;
    if reply.status == StatusCode::NOT_FOUND {
        return Err(anyhow!("there is no key {key:?}").into());
    }
    let reply = reply.success()?;
    if form.json {
        return output::print_json(&reply.json::<Value>()?);
    }
    output::print_bytes(&reply.body)
}

fn put(api: &Api, key: &str, value: Vec<u8>, cas: Option<u64>, form: OutputArgs) -> Result {
    let query = cas.map(|revision| format!("?cas={revision}")).unwrap_or_default();
    let reply = api.put(&format!("{}{query}", path(key)?), value)?.success()?;
    done(reply.json()?, key, cas, "written", form)
}

fn del(api: &Api, key: &str, cas: Option<u64>, recurse: bool, form: OutputArgs) -> Result {
    let (place, query) = match cas {
        Some(revision) => (path(key)?, format!("?cas={revision}")),
        None if recurse => (prefix_path(key)?, "?recurse".to_owned()),
        None => (path(key)?, String::new()),
    };
    let reply = api.delete(&format!("{place}{query}"))?.success()?;
    done(reply.json()?, key, cas, "deleted", form)
}

/// A write whose condition did not hold has failed.
fn done(held: bool, key: &str, cas: Option<u64>, verb: &str, form: OutputArgs) -> Result {
    match (held, cas) {
        (true, _) if form.json => output::print_json(&held),
        (true, _) => output::print(&format!("{verb} {}", output::printable(key))),
        (false, Some(revision)) => {
            Err(anyhow!("not {verb}: {key:?} is not at revision {revision}").into())
        }
        (false, None) => Err(anyhow!("not {verb}: the agent refused {key:?}").into()),
    }
}

fn ls(api: &Api, folder: &str, form: OutputArgs) -> Result {
    let place = prefix_path(&as_folder(folder))?;
    let reply = api.get(&format!("{place}?keys&separator={}", escape("/")))?;
    let keys: Vec<String> = match reply.status {
        StatusCode::NOT_FOUND => Vec::new(),
        _ => reply.success()?.json()?,
    };
    if form.json {
        return output::print_json(&keys);
    }
    let lines: Vec<String> = keys.iter().map(|key| output::printable(key)).collect();
    if lines.is_empty() { Ok(()) } else { output::print(&lines.join("\n")) }
}

fn tree(api: &Api, folder: &str, form: OutputArgs) -> Result {
    let place = prefix_path(&as_folder(folder))?;
    let reply = api.get(&format!("{place}?recurse"))?;
    if reply.status == StatusCode::NOT_FOUND {
        return if form.json { output::print_json(&Vec::<Value>::new()) } else { Ok(()) };
    }
    let reply = reply.success()?;
    if form.json {
        return output::print_json(&reply.json::<Value>()?);
    }
    let rows: Vec<Row> = reply.json()?;
    let rows = rows.into_iter().map(shown).collect::<Result<Vec<_>>>()?;
    output::print(&output::table(["KEY", "REVISION", "VALUE"], rows))
}

/// How much of a value a table shows.
const SHOWN: usize = 60;

fn shown(row: Row) -> Result<[String; 3]> {
    let value = STANDARD
        .decode(row.value.unwrap_or_default())
        .with_context(|| format!("the value of {:?} is no base64", row.key))?;
    Ok([row.key, row.modify_index.to_string(), shown_value(value)])
}

/// As much of a value as fits into a line.
fn shown_value(value: Vec<u8>) -> String {
    match String::from_utf8(value) {
        Ok(text) if text.chars().count() > SHOWN => {
            let beginning: String = text.chars().take(SHOWN).collect();
            format!("{}… ({} bytes)", output::printable(&beginning), text.len())
        }
        Ok(text) => output::printable(&text),
        Err(error) => format!("({} bytes that are not text)", error.as_bytes().len()),
    }
}

fn read_value(value: &str) -> Result<Vec<u8>> {
    // One byte more than anyone accepts, so that the agent says what its limit is.
    let most = limits::CONFIGURABLE_MAX as u64 + 1;
    let mut bytes = Vec::new();
    if value == "-" {
        let read = std::io::stdin().take(most).read_to_end(&mut bytes);
        read.context("cannot read standard input")?;
    } else if let Some(file) = value.strip_prefix('@') {
        let read = File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes));
        read.with_context(|| format!("cannot read {file}"))?;
    } else {
        bytes.extend_from_slice(value.as_bytes());
    }
    Ok(bytes)
}

fn as_folder(folder: &str) -> String {
    if folder.is_empty() || folder.ends_with('/') {
        folder.to_owned()
    } else {
        format!("{folder}/")
    }
}

fn path(key: &str) -> Result<String> {
    if key.is_empty() {
        return Err(Failure::usage(anyhow!("a key must not be empty")));
    }
    prefix_path(key)
}

fn prefix_path(key: &str) -> Result<String> {
    // A URL has no way to say this: whoever reads it takes such parts away.
    if key.split('/').any(|part| part == "." || part == "..") {
        let what = "a key with a part . or .. cannot be named in a URL; use the etcd API for it";
        return Err(Failure::usage(anyhow!("{key:?}: {what}")));
    }
    Ok(format!("/v1/kv/{}", escape_path(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said<T>(result: Result<T>) -> String {
        match result {
            Ok(_) => panic!("it should fail"),
            Err(failure) => format!("{:#}", failure.error),
        }
    }

    #[test]
    fn a_value_comes_from_the_argument_or_a_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("value");
        std::fs::write(&file, [0, 255, 10]).expect("written");
        let read = |value: &str| read_value(value).map_err(|failure| failure.error.to_string());
        assert_eq!(read("text"), Ok(b"text".to_vec()));
        assert_eq!(read(&format!("@{}", file.display())), Ok(vec![0, 255, 10]));
        assert!(said(read_value("@/nowhere")).starts_with("cannot read /nowhere: "));
    }

    #[test]
    fn keys_become_paths() {
        let path = |key: &str| path(key).map_err(|failure| failure.error.to_string());
        assert_eq!(path("a/b c"), Ok("/v1/kv/a/b%20c".to_owned()));
        assert_eq!(path("/a"), Ok("/v1/kv//a".to_owned()));
        assert!(path("a/../b").is_err_and(|said| said.contains("etcd API")));
        assert!(path("").is_err());
        assert_eq!(
            (as_folder(""), as_folder("a"), as_folder("a/")),
            ("".into(), "a/".into(), "a/".into())
        );
    }

    #[test]
    fn a_table_shows_a_value_in_one_line() {
        let row = |value: &[u8]| {
            let value = Some(STANDARD.encode(value));
            let row = Row { key: "k".to_owned(), value, modify_index: 7 };
            let [_, _, shown] = shown(row).unwrap_or_else(|_| panic!("a row"));
            shown
        };
        assert_eq!(row(b"plain"), "plain");
        assert_eq!(row(&[255, 254]), "(2 bytes that are not text)");
        assert_eq!(row("ä".repeat(61).as_bytes()), format!("{}… (122 bytes)", "ä".repeat(60)));
        let row = Row { key: "k".to_owned(), value: None, modify_index: 7 };
        assert_eq!(shown(row).unwrap_or_else(|_| panic!("a row"))[2], "");
    }

    #[test]
    fn a_condition_that_did_not_hold_is_a_failure() {
        let form = OutputArgs { json: false };
        let failed = done(false, "a", Some(7), "written", form);
        assert_eq!(said(failed), "not written: \"a\" is not at revision 7");
    }
}

//! `remora kv export` and `import`: keys to a file and back, in the form of `consul kv export`.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::prefix_path;
use crate::cli::api::Api;
use crate::cli::output::{self, Asked};
use crate::cli::{Failure, Result};
use crate::model::limits;

/// Keys that are on their way at the same time.
const AT_ONCE: usize = 32;

#[derive(clap::Args)]
pub(super) struct ExportArgs {
    /// Only keys that start with this
    #[arg(default_value = "")]
    prefix: String,
    #[command(flatten)]
    asked: Asked,
}

#[derive(clap::Args)]
pub(super) struct ImportArgs {
    /// What `export` wrote; `-` reads it from standard input
    file: String,
    /// Put before every key
    #[arg(long, value_name = "PREFIX", default_value = "")]
    prefix: String,
    #[command(flatten)]
    asked: Asked,
}

/// One key of an export.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Base64, of a key that is no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    key64: Option<String>,
    #[serde(default)]
    flags: u64,
    /// Base64.
    #[serde(default)]
    value: String,
}

/// A key as `/v1/kv` lists it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    key: String,
    flags: u64,
    value: Option<String>,
}

pub(super) fn export(args: &ExportArgs) -> Result {
    let api = args.asked.api.open()?;
    let reply = api.get(&format!("{}?recurse&consistent", prefix_path(&args.prefix)?))?;
    let omitted = reply.omitted;
    let listed: Vec<Listed> = match reply.status {
        StatusCode::NOT_FOUND => Vec::new(),
        _ => reply.success()?.json()?,
    };
    let entry = |listed: Listed| Entry {
        key: Some(listed.key),
        key64: None,
        flags: listed.flags,
        value: listed.value.unwrap_or_default(),
    };
    let mut entries: Vec<Entry> = listed.into_iter().map(entry).collect();
    if omitted > 0 {
        entries.extend(not_text(&api, &args.prefix)?);
    }
    output::print_json(&entries)
}

/// The keys that Consul's JSON has no words for.
fn not_text(api: &Api, prefix: &str) -> Result<Vec<Entry>> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        kvs: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        key: String,
        #[serde(default)]
        value: String,
    }
    let from = if prefix.is_empty() { vec![0] } else { prefix.as_bytes().to_vec() };
    let ask = json!({"key": STANDARD.encode(from), "range_end": STANDARD.encode([0])});
    let answer: Answer =
        api.post("/v3/kv/range", ask.to_string().into_bytes())?.success()?.json()?;
    let mut entries = Vec::new();
    for Row { key, value } in answer.kvs {
        let bytes = STANDARD.decode(&key).context("a key that is no base64")?;
        if bytes.starts_with(prefix.as_bytes()) && std::str::from_utf8(&bytes).is_err() {
            entries.push(Entry { key: None, key64: Some(key), flags: 0, value });
        }
    }
    Ok(entries)
}

/// Nothing is written before all of it has been understood.
pub(super) fn import(args: &ImportArgs) -> Result {
    let pairs = parse(&read(&args.file)?, &args.prefix)
        .map_err(|why| Failure::usage(anyhow!("{}: {why}", args.file)))?;
    let api = args.asked.api.open()?;
    let count = pairs.len();
    let mut written = 0;
    let imported: Result = api.block_on(async {
        let mut puts = stream::iter(pairs).map(|pair| put(&api, pair)).buffer_unordered(AT_ONCE);
        while puts.try_next().await?.is_some() {
            written += 1;
        }
        Ok(())
    });
    if let Err(failure) = imported {
        let said = format!("{written} of {count} keys were written; importing again is safe");
        return Err(Failure { error: failure.error.context(said), ..failure });
    }
    if args.asked.output.json {
        return output::print_json(&json!({ "imported": count }));
    }
    output::print(&format!("imported {count} keys"))
}

fn read(file: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = limits::CLI_ANSWER as u64 + 1;
    if file == "-" {
        let read = std::io::stdin().take(most).read_to_end(&mut bytes);
        read.context("cannot read standard input")?;
    } else {
        let read = File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes));
        read.with_context(|| format!("cannot read {file}"))?;
    }
    if bytes.len() as u64 == most {
        return Err(anyhow!("{file} has more than {} bytes", most - 1).into());
    }
    Ok(bytes)
}

/// A key that is to be written.
#[derive(Debug, PartialEq, Eq)]
struct Pair {
    key: Vec<u8>,
    flags: u64,
    value: Vec<u8>,
}

fn parse(bytes: &[u8], prefix: &str) -> std::result::Result<Vec<Pair>, String> {
    let entries: Vec<Entry> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let mut seen = HashMap::new();
    let mut pairs = Vec::new();
    for (nth, entry) in (1..).zip(entries) {
        let no = |what: &str| format!("entry {nth}: {what}");
        let key = match (entry.key, entry.key64) {
            (Some(key), None) => key.into_bytes(),
            (None, Some(key)) => STANDARD.decode(key).map_err(|_| no("key64 is no base64"))?,
            _ => return Err(no("it has to have a key, or else a key64")),
        };
        let key = [prefix.as_bytes(), &key].concat();
        if key.is_empty() {
            return Err(no("the key is empty"));
        }
        let value = STANDARD.decode(entry.value).map_err(|_| no("value is no base64"))?;
        if let Some(first) = seen.insert(key.clone(), nth) {
            return Err(no(&format!("the key is that of entry {first}")));
        }
        pairs.push(Pair { key, flags: entry.flags, value });
    }
    Ok(pairs)
}

/// By Consul's API where a URL can name the key, for the sake of the flags.
async fn put(api: &Api, pair: Pair) -> Result {
    let Pair { key, flags, value } = pair;
    let named = std::str::from_utf8(&key).ok().and_then(|key| prefix_path(key).ok());
    let shown = String::from_utf8_lossy(&key).into_owned();
    let reply = match named {
        Some(path) => api.send(Method::PUT, &format!("{path}?flags={flags}"), value).await,
        None if flags != 0 => {
            return Err(anyhow!("{shown:?}: no URL can name it, and so it has no flags").into());
        }
        None => {
            let body = json!({"key": STANDARD.encode(&key), "value": STANDARD.encode(value)});
            api.send(Method::POST, "/v3/kv/put", body.to_string().into_bytes()).await
        }
    };
    reply.and_then(|reply| reply.success()).map(|_| ()).map_err(|failure| Failure {
        error: failure.error.context(format!("{shown:?} was not written")),
        ..failure
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_imported_is_named() {
        let table = [
            (r#"{"key":"a"}"#, "invalid type: map"),
            (r#"[{"value":""}]"#, "entry 1: it has to have a key"),
            (r#"[{"key":"a"},{"key":"b","value":"*"}]"#, "entry 2: value is no base64"),
            (r#"[{"key":"a"},{"key64":"YQ=="}]"#, "entry 2: the key is that of entry 1"),
            (r#"[{"key":""}]"#, "entry 1: the key is empty"),
            (r#"[{"key":"a","vlaue":""}]"#, "unknown field `vlaue`"),
        ];
        for (text, expected) in table {
            let said = parse(text.as_bytes(), "").expect_err(text);
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn what_consul_exports_is_understood() {
        let text =
            r#"[{"key": "app/a", "flags": 42, "value": "eA=="}, {"key64": "/w==", "value": ""}]"#;
        let pairs = parse(text.as_bytes(), "p/").expect("pairs");
        let pair = |key: &[u8], flags, value: &[u8]| Pair {
            key: key.to_vec(),
            flags,
            value: value.to_vec(),
        };
        assert_eq!(pairs, [pair(b"p/app/a", 42, b"x"), pair(b"p/\xff", 0, b"")]);
    }
}

//! Bodies that the transcripts only name, and answers that they hold in short.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// So many bytes of an answer that is no text are written down.
const BYTES: usize = 48;

/// What was sent where a transcript says that.
pub fn bytes(written: &str) -> Vec<u8> {
    if let Some(text) = written.strip_prefix("@base64 ") {
        return BASE64_STANDARD.decode(text).unwrap();
    }
    let named = written.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    named.and_then(self::named).unwrap_or_else(|| written.as_bytes().to_vec())
}

fn named(name: &str) -> Option<Vec<u8>> {
    let kv = |verb: &str, key: String, value: Option<String>| match value {
        Some(value) => json!({"KV": {"Verb": verb, "Key": key, "Value": value}}),
        None => json!({"KV": {"Verb": verb, "Key": key}}),
    };
    let long = |bytes: usize| Some("eHh4".repeat(bytes / 3));
    let words: Vec<&str> = name.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let ops: Vec<Value> = match words.as_slice() {
        [count, "bytes"] => return Some(vec![b'x'; count.parse().ok()?]),
        ["chunked:", chunks @ ..] => return Some(chunked(chunks)),
        ["chunked", count, "bytes"] => {
            let value = "x".repeat(count.parse::<usize>().ok()? - 1);
            return Some(chunked(&[&value, "x"]));
        }
        [count, "set", "operations"] => (0..count.parse().ok()?)
            .map(|i: usize| kv("set", format!("n{i}"), Some("eA==".to_owned())))
            .collect(),
        [count, "get", "operations"] => {
            (0..count.parse().ok()?).map(|_: usize| kv("get", "n0".to_owned(), None)).collect()
        }
        ["one", "set", "value", "of", count, "bytes"] => {
            vec![kv("set", "big".to_owned(), long(count.parse().ok()?))]
        }
        ["four", "sets", "values", "of", count, "bytes", "each"] => {
            let count = count.parse().ok()?;
            (0..4).map(|i| kv("set", format!("big{i}"), long(count))).collect()
        }
        _ => return None,
    };
    Some(Value::from(ops).to_string().into_bytes())
}

fn chunked(chunks: &[&str]) -> Vec<u8> {
    let chunk = |chunk: &&str| format!("{:x}\r\n{chunk}\r\n", chunk.len());
    (chunks.iter().map(chunk).collect::<String>() + "0\r\n\r\n").into_bytes()
}

pub fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip");
    gzip.arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut gzip = gzip.spawn().unwrap();
    let (mut stdin, bytes) = (gzip.stdin.take().unwrap(), bytes.to_vec());
    let writer = thread::spawn(move || stdin.write_all(&bytes));
    let output = gzip.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output.stdout
}

/// An answer's body as the transcript would have it, which is cut like the recorded one.
pub fn written(body: &[u8], recorded: &str) -> String {
    let text = String::from_utf8(body.to_vec()).ok();
    let Some(text) = text.filter(|text| !text.contains(['\0', '\r'])) else {
        let cut = if body.len() > BYTES { " @cut" } else { "" };
        return format!("@base64 {}{cut}", BASE64_STANDARD.encode(&body[..body.len().min(BYTES)]));
    };
    let start = recorded.strip_prefix("@cut ").map(serde_json::from_str::<String>);
    match start {
        Some(start) => {
            let most = start.unwrap().chars().count();
            let cut: String = text.chars().take(most).collect();
            if cut.len() < text.len() { format!("@cut {}", Value::from(cut)) } else { text }
        }
        None => text,
    }
}

//! Bodies that the transcripts only name, and bytes that they could not hold.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// What was sent where a transcript says that.
pub fn bytes(written: &str) -> Vec<u8> {
    if let Some(name) = written.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
        return named(name).to_string().into_bytes();
    }
    unescaped(written)
}

fn put(key: &str, len: usize) -> Value {
    json!({"key": base64(key), "value": base64(vec![b'x'; len])})
}

fn puts(count: usize) -> Vec<Value> {
    (0..count).map(|i| json!({"request_put": put(&format!("t/m{i:03}"), 1)})).collect()
}

fn named(name: &str) -> Value {
    let words: Vec<&str> = name.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let number = |at: usize| words[at].parse::<usize>().unwrap();
    match words.as_slice() {
        ["key", "e/kkk…", len, "bytes"] => {
            let mut key = "e/".to_owned();
            key.extend(std::iter::repeat_n('k', len.parse::<usize>().unwrap() - 2));
            put(&key, 1)
        }
        ["key", key, "value", len, "bytes"] => put(key, len.parse().unwrap()),
        [_, "request_put"] => json!({"success": puts(number(0))}),
        [_, "request_put", "in", "failure"] => {
            json!({"success": [], "failure": puts(number(0))})
        }
        [_, "request_put", len, "bytes", "each"] => {
            let one = |i| json!({"request_put": put(&format!("l/{i}"), len.parse().unwrap())});
            json!({"success": (0..number(0)).map(one).collect::<Vec<_>>()})
        }
        [_, "compares"] => {
            let one = |i| json!({"key": base64(format!("t/m{i:03}"))});
            json!({"compare": (0..number(0)).map(one).collect::<Vec<_>>()})
        }
        ["nested", "txn", "of", _, "request_put"] => {
            let inner = json!({"compare": [], "success": puts(number(3)), "failure": []});
            json!({"success": [{"request_txn": inner}]})
        }
        other => panic!("nobody knows what {other:?} was"),
    }
}

/// Bytes that are no UTF-8 are written as `\xff`.
fn unescaped(written: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = written;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend(before.as_bytes());
        bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
        rest = &after[2..];
    }
    bytes.extend(rest.as_bytes());
    bytes
}

/// What was sent on a bare connection: the transcript has its lines.
pub fn bare(written: &str) -> String {
    let text = match written.strip_suffix(" (Upgrade: websocket)") {
        Some(first) => format!(
            "{first}\nHost: x\nUpgrade: websocket\nConnection: Upgrade\n\
             Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        ),
        None => written.to_owned(),
    };
    // The empty line at the end is missing, unless a body stands there.
    let end = if text.ends_with('}') { "" } else { "\r\n\r\n" };
    text.replace('\n', "\r\n") + end
}

//! One HTTP request as the recorder sent it, and its answer as the transcript would have it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::body::{bytes, gunzip, written};
use super::transcript::{Answer, Block};
use super::wire::Exchange;

/// An answer that goes on for ever is looked at for so long.
const STREAM: Duration = Duration::from_millis(400);

pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub version: &'a str,
    pub headers: &'a [(String, String)],
    pub body: Option<&'a [u8]>,
}

/// An answer before anything was made of it.
pub struct Raw {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub took: Duration,
}

impl Raw {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// The answer, or why there is none.
pub fn send(to: SocketAddr, request: &Request<'_>, patience: Duration) -> Result<Raw, String> {
    let Request { method, path, version, headers, body } = request;
    let has = |name: &str| headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let mut head = format!("{method} {path} {version}\r\n");
    if !has("host") && *version == "HTTP/1.1" {
        head += &format!("Host: {to}\r\n");
    }
    for (name, value) in *headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "Connection: close\r\n";
    if let Some(body) = body
        && !has("transfer-encoding")
    {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    let start = Instant::now();
    let mut exchange = Exchange::bare(to, format!("{head}\r\n").as_bytes());
    exchange.send_body(body.unwrap_or_default());
    let streams = path.starts_with("/v1/agent/monitor");
    let finished = exchange.finish(if streams { STREAM } else { patience });
    let took = start.elapsed();
    exchange.hang_up();
    match (exchange.head.take(), finished) {
        (Some(head), ended) if ended.is_ok() || streams => {
            let body =
                match head.headers.iter().any(|(n, v)| n == "content-encoding" && v == "gzip") {
                    true => gunzip(&exchange.body),
                    false => exchange.body,
                };
            Ok(Raw { status: head.status, headers: head.headers, body, took })
        }
        (_, Err("closed")) => Err("0 connection closed without an answer".to_owned()),
        _ => Err(format!("0 no answer within {} s", patience.as_secs())),
    }
}

/// Asks what a block asks; how long it took, too.
pub fn ask(to: SocketAddr, block: &Block, patience: Duration) -> (Answer, Option<Raw>) {
    let (method, rest) = block.asked.split_once(' ').unwrap();
    let (path, version) = rest.split_once(' ').unwrap_or((rest, "HTTP/1.1"));
    let body = block.body.as_deref().map(bytes);
    let request = Request { method, path, version, headers: &block.headers, body: body.as_deref() };
    match send(to, &request, patience) {
        Ok(raw) => {
            let body = written(&raw.body, &block.answer.body);
            let status = raw.status.to_string();
            let headers = raw.headers.clone();
            (Answer { status, headers, body, ..Answer::default() }, Some(raw))
        }
        Err(status) => (Answer { status, ..Answer::default() }, None),
    }
}

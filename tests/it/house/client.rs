//! Asking agents with the programs that people use: curl and dig.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

/// An HTTP answer as curl saw it.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// A header's value; names compare without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// curl against one agent.
#[derive(Debug, Clone)]
pub struct Client {
    authority: String,
}

impl Client {
    pub fn new(authority: &str) -> Client {
        Client { authority: authority.to_owned() }
    }

    pub fn get(&self, path: &str) -> Result<Answer, String> {
        self.ask("GET", path, None)
    }

    pub fn put(&self, path: &str, body: impl AsRef<[u8]>) -> Result<Answer, String> {
        self.ask("PUT", path, Some(body.as_ref()))
    }

    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Result<Answer, String> {
        self.ask("POST", path, Some(body.as_ref()))
    }

    pub fn delete(&self, path: &str) -> Result<Answer, String> {
        self.ask("DELETE", path, None)
    }

    fn ask(&self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Answer, String> {
        let url = format!("http://{}{path}", self.authority);
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-i", "--path-as-is", "--max-time", "30", "-X", method]);
        if body.is_some() {
            curl.args(["-H", "Expect:", "--data-binary", "@-"]);
        }
        curl.arg(&url).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = curl.spawn().map_err(|error| format!("curl: {error}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // curl may give up before it has read everything: its exit code tells.
            let _ = stdin.write_all(body.unwrap_or_default());
        }
        let output = child.wait_with_output().map_err(|error| format!("curl: {error}"))?;
        if !output.status.success() {
            return Err(format!("{url}: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
        parse(&output.stdout).ok_or_else(|| format!("{url}: no HTTP answer"))
    }
}

fn parse(raw: &[u8]) -> Option<Answer> {
    let end = raw.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&raw[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
    };
    Some(Answer {
        status,
        headers: lines.filter_map(header).collect(),
        body: raw[end + 4..].into(),
    })
}

/// Runs a program to its end; its standard output, or what it said on standard error.
pub fn run(program: &str, args: &[&str]) -> Result<String, String> {
    run_with(program, args, "")
}

/// The same, with something to read.
pub fn run_with(program: &str, args: &[&str], input: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{program}: {error}");
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    // A program that ends without reading it all says why by itself.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(failed)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{program} {args:?}: {}{}", text(&output.stdout), text(&output.stderr)))
    }
}

/// `dig +short` over UDP: the answer's lines, sorted.
pub fn dig(server: std::net::Ipv4Addr, name: &str, kind: &str) -> Vec<String> {
    dig_with(server, name, kind, &[])
}

pub fn dig_tcp(server: std::net::Ipv4Addr, name: &str, kind: &str) -> Vec<String> {
    dig_with(server, name, kind, &["+tcp"])
}

fn dig_with(server: std::net::Ipv4Addr, name: &str, kind: &str, more: &[&str]) -> Vec<String> {
    let server = format!("@{server}");
    let mut args = vec![&server, "-p", "8600", "+short", "+tries=2", "+time=2", name, kind];
    args.extend(more);
    let output = run("dig", &args).unwrap();
    let mut lines: Vec<String> = output.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

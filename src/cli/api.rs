//! Asks an agent over its public HTTP API, and says what a person can do when that fails.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;

use super::{Failure, Result};
use crate::model::limits;
use crate::net::{Trust, client_tls};

const DEFAULT: &str = "127.0.0.1:8500";
const DEFAULT_PORT: u16 = 8500;
const CONNECT: Duration = Duration::from_secs(5);
/// More than an agent waits for a leader.
const ANSWER: Duration = Duration::from_secs(30);

#[derive(clap::Args, Clone)]
pub(super) struct ApiArgs {
    /// The agent to ask [env: REMORA_HTTP_ADDR, then CONSUL_HTTP_ADDR] [default: 127.0.0.1:8500]
    #[arg(long, value_name = "ADDR")]
    http_addr: Option<String>,
}

/// One agent.
pub(super) struct Api {
    /// Without a slash at its end.
    base: String,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    base: String,
}

impl ApiArgs {
    pub(super) fn open(&self) -> Result<Api> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let address = self
            .http_addr
            .clone()
            .or_else(|| set("REMORA_HTTP_ADDR"))
            .or_else(|| set("CONSUL_HTTP_ADDR"))
            .unwrap_or_else(|| DEFAULT.to_owned());
        Api::open(&address)
    }
}

impl Api {
    pub(super) fn open(address: &str) -> Result<Api> {
        let base = base(address).map_err(|error| Failure::usage(anyhow!(error)))?;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(client_tls(Trust::System).context("cannot set up TLS")?)
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .build()
            .context("cannot set up the HTTP client")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Api { base, client, runtime })
    }

    /// `path` with its query, encoded.
    pub(super) fn get(&self, path: &str) -> Result<Reply> {
        self.ask(Method::GET, path, Vec::new())
    }

    pub(super) fn put(&self, path: &str, body: Vec<u8>) -> Result<Reply> {
        self.ask(Method::PUT, path, body)
    }

    pub(super) fn delete(&self, path: &str) -> Result<Reply> {
        self.ask(Method::DELETE, path, Vec::new())
    }

    fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Reply> {
        let url = format!("{}{path}", self.base);
        let asked = async {
            let mut answer = self.client.request(method, url).body(body).send().await?;
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                body.extend_from_slice(&chunk);
                if body.len() > limits::CLI_ANSWER {
                    break;
                }
            }
            Ok((answer.status(), body))
        };
        let (status, body) =
            self.runtime.block_on(asked).map_err(|error| unanswered(&self.base, &error))?;
        if body.len() > limits::CLI_ANSWER {
            let most = limits::CLI_ANSWER;
            return Err(anyhow!("the answer of {} has more than {most} bytes", self.base).into());
        }
        Ok(Reply { status, body, base: self.base.clone() })
    }
}

impl Reply {
    /// Anything but success becomes an error with what the agent said.
    pub(super) fn success(self) -> Result<Reply> {
        if self.status.is_success() {
            return Ok(self);
        }
        let said = String::from_utf8_lossy(&self.body);
        let (base, status) = (&self.base, self.status);
        match said.trim() {
            "" => Err(anyhow!("the agent at {base} answers {status}").into()),
            said => Err(anyhow!("the agent at {base} answers {status}: {said}").into()),
        }
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let what = || format!("the answer of {} is not what was expected", self.base);
        Ok(serde_json::from_slice(&self.body).with_context(what)?)
    }
}

fn unanswered(base: &str, error: &reqwest::Error) -> Failure {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if error.is_connect() {
        return anyhow!(
            "no agent answers at {base}: {cause}; start one with `remora dev`, or name another \
             with --http-addr"
        )
        .into();
    }
    if error.is_timeout() {
        return anyhow!("the agent at {base} does not answer within {} s", ANSWER.as_secs()).into();
    }
    anyhow!("asking the agent at {base} failed: {cause}").into()
}

/// `host:port`, with or without `http://`, into the beginning of a URL.
fn base(address: &str) -> std::result::Result<String, String> {
    let address = address.trim().trim_end_matches('/');
    let with_scheme = match address.split_once("://") {
        Some(("http" | "https", _)) => address.to_owned(),
        Some((scheme, _)) => {
            return Err(format!("{address:?}: {scheme} is not http or https"));
        }
        None if address.parse::<std::net::Ipv6Addr>().is_ok() => {
            format!("http://[{address}]:{DEFAULT_PORT}")
        }
        None => format!("http://{address}"),
    };
    let url = reqwest::Url::parse(&with_scheme)
        .map_err(|error| format!("{address:?} is no address of an agent: {error}"))?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{address:?}: an address of an agent has no path"));
    }
    let bare = address.split_once("://").is_none();
    if bare && url.port().is_none() && !with_scheme.ends_with(":80") {
        return Ok(format!("{with_scheme}:{DEFAULT_PORT}"));
    }
    Ok(with_scheme)
}

/// A part of a path, or a value of a query, with everything escaped that is not plainly itself.
pub(super) fn escape(text: &str) -> String {
    escape_but(text, "-._~")
}

/// The same for a key, whose slashes are the path's.
pub(super) fn escape_path(text: &str) -> String {
    escape_but(text, "-._~/")
}

fn escape_but(text: &str, plain: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || plain.contains(c) {
            escaped.push(c);
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_with_and_without_its_scheme() {
        for (given, expected) in [
            ("127.0.0.1:8500", "http://127.0.0.1:8500"),
            ("http://127.0.0.1:8500/", "http://127.0.0.1:8500"),
            ("https://agent.example:8501", "https://agent.example:8501"),
            ("agent.example", "http://agent.example:8500"),
            ("agent.example:80", "http://agent.example:80"),
            ("http://agent.example", "http://agent.example"),
            ("[::1]:8500", "http://[::1]:8500"),
            ("::1", "http://[::1]:8500"),
        ] {
            assert_eq!(base(given), Ok(expected.to_owned()), "{given}");
        }
    }

    #[test]
    fn what_is_no_address_is_said() {
        for given in ["unix:///run/remora.sock", "", "host:port", "http://a:1/v1", "a b"] {
            assert!(base(given).is_err(), "{given:?}");
        }
    }

    #[test]
    fn keys_and_names_are_escaped() {
        assert_eq!(escape_path("a/b c/ä?#%"), "a/b%20c/%C3%A4%3F%23%25");
        assert_eq!(escape("a/b"), "a%2Fb");
    }

    #[test]
    fn nobody_there_is_an_error_that_says_what_to_do() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        drop(listener);
        let api = Api::open(&address).unwrap_or_else(|_| panic!("it opens"));
        let failure = api.get("/v1/status/leader").expect_err("nobody is there");
        let said = failure.error.to_string();
        assert!(said.starts_with(&format!("no agent answers at http://{address}: ")), "{said}");
        assert!(said.to_lowercase().contains("connection refused"), "{said}");
        assert!(said.contains("`remora dev`"), "{said}");
    }
}

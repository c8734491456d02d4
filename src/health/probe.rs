//! One probe of an app: what is asked, and what the answer says of its health.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect;
use tokio::net::TcpStream;

use crate::model::{CheckKind, Health};
use crate::net::{self, Trust, client_tls};

use super::HealthError;
use super::output::Tail;

/// Go's clients, and so Consul's, follow as many.
const REDIRECTS: usize = 10;

/// A check that this agent has to run itself.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    pub(super) interval: Duration,
    timeout: Duration,
    target: Target,
}

#[derive(Debug, Clone)]
enum Target {
    Http(Box<Ask>),
    Tcp(String),
}

#[derive(Debug, Clone)]
struct Ask {
    url: String,
    method: String,
    headers: BTreeMap<String, Vec<String>>,
    body: String,
    trust: Trust,
}

impl Probe {
    /// None for kinds that nobody probes.
    pub(super) fn of(kind: &CheckKind) -> Option<Probe> {
        match kind {
            CheckKind::Http { url, method, headers, body, interval, timeout, tls_skip_verify } => {
                let ask = Ask {
                    url: url.clone(),
                    method: if method.is_empty() { "GET".into() } else { method.to_uppercase() },
                    headers: headers.clone(),
                    body: body.clone(),
                    trust: if *tls_skip_verify { Trust::Anything } else { Trust::System },
                };
                let target = Target::Http(Box::new(ask));
                Some(Probe { interval: *interval, timeout: *timeout, target })
            }
            CheckKind::Tcp { address, interval, timeout } => {
                let target = Target::Tcp(address.clone());
                Some(Probe { interval: *interval, timeout: *timeout, target })
            }
            CheckKind::Ttl { .. }
            | CheckKind::Presence
            | CheckKind::Static
            | CheckKind::Maintenance => None,
        }
    }
}

/// The clients that probes share. They keep no connections, as a new one is part of the question.
#[derive(Clone)]
pub(super) struct Prober {
    verifying: reqwest::Client,
    trusting: reqwest::Client,
}

impl Prober {
    pub(super) fn new() -> Result<Prober, HealthError> {
        Ok(Prober { verifying: client(Trust::System)?, trusting: client(Trust::Anything)? })
    }

    /// Ends within the probe's timeout.
    pub(super) async fn run(&self, probe: &Probe) -> (Health, String) {
        let asked = async {
            match &probe.target {
                Target::Http(ask) => self.http(ask).await,
                Target::Tcp(address) => tcp(address).await,
            }
        };
        match tokio::time::timeout(probe.timeout, asked).await {
            Ok(found) => found,
            Err(_) => {
                let timeout = humantime::format_duration(probe.timeout);
                let what = match &probe.target {
                    Target::Http(ask) => format!("HTTP {} {}", ask.method, ask.url),
                    Target::Tcp(address) => format!("TCP connect {address}"),
                };
                (Health::Critical, format!("{what}: no answer within {timeout}"))
            }
        }
    }

    async fn http(&self, ask: &Ask) -> (Health, String) {
        match self.fetch(ask).await {
            Ok((status, body)) => {
                let health = match status.as_u16() {
                    200..=299 => Health::Passing,
                    429 => Health::Warning,
                    _ => Health::Critical,
                };
                let reason = status.canonical_reason().unwrap_or_default();
                let (method, url) = (&ask.method, &ask.url);
                let code = status.as_u16();
                (health, format!("HTTP {method} {url}: {code} {reason} Output: {body}"))
            }
            Err(error) => (Health::Critical, format!("HTTP {} {}: {error}", ask.method, ask.url)),
        }
    }

    async fn fetch(&self, ask: &Ask) -> Result<(http::StatusCode, String), String> {
        let client = match ask.trust {
            Trust::System => &self.verifying,
            Trust::Anything => &self.trusting,
        };
        let method =
            Method::from_bytes(ask.method.as_bytes()).map_err(|error| error.to_string())?;
        let request = client.request(method, &ask.url).headers(headers(&ask.headers)?);
        let sent = request.body(ask.body.clone()).send().await;
        let mut answer = sent.map_err(|error| causes(&error.without_url()))?;
        let mut tail = Tail::default();
        // A body that breaks off does not undo the status that came before it.
        while let Ok(Some(chunk)) = answer.chunk().await {
            tail.push(&chunk);
        }
        Ok((answer.status(), tail.into_text()))
    }
}

fn client(trust: Trust) -> Result<reqwest::Client, HealthError> {
    let tls = client_tls(trust).map_err(|error| HealthError::Client(error.to_string()))?;
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .dns_resolver(Names)
        .pool_max_idle_per_host(0)
        .redirect(redirect::Policy::limited(REDIRECTS))
        .build()
        .map_err(|error| HealthError::Client(causes(&error)))
}

/// Consul's own headers, unless the check sets them.
fn headers(wanted: &BTreeMap<String, Vec<String>>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static("Consul Health Check"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("text/plain, text/*, */*"));
    for (name, values) in wanted {
        let name: HeaderName = name.parse().map_err(|_| format!("{name:?} is no header name"))?;
        headers.remove(&name);
        for value in values {
            let value = HeaderValue::from_str(value)
                .map_err(|_| format!("header {name} cannot have the value {value:?}"))?;
            headers.append(name.clone(), value);
        }
    }
    Ok(headers)
}

async fn tcp(address: &str) -> (Health, String) {
    let connected = match net::resolve(address).await {
        Ok(found) => TcpStream::connect(found.as_slice()).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match connected {
        Ok(_) => (Health::Passing, format!("TCP connect {address}: Success")),
        Err(error) => (Health::Critical, format!("TCP connect {address}: {error}")),
    }
}

/// The house's own name resolution: a static binary in an empty image has no other.
struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The client puts the URL's port in the place of 0.
            let found = net::resolve(&format!("{}:0", name.as_str())).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// An error with all its causes: the last one is what helps ("connection refused").
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

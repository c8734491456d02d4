//! Asks an app over HTTP: 2xx passes, 429 warns, all else is critical.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::write::GzDecoder;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect;

use crate::lifecycle::process::Tail;
use crate::model::{Health, HttpTarget};
use crate::net::{self, words};

use super::HealthError;
use super::connect::Tls;

/// Go's clients, and so Consul's, follow as many.
const REDIRECTS: usize = 10;

/// The clients that probes share. They keep no connections, as a new one is part of the question.
#[derive(Clone)]
pub(super) struct Clients {
    verifying: reqwest::Client,
    trusting: reqwest::Client,
    tls: Tls,
}

impl Clients {
    pub(super) fn new(tls: &Tls) -> Result<Clients, HealthError> {
        let client = |skip_verify| {
            let client = client(tls, skip_verify, true, Names::default());
            client.map_err(|error| HealthError::Client(causes(&error)))
        };
        Ok(Clients { verifying: client(false)?, trusting: client(true)?, tls: tls.clone() })
    }

    pub(super) async fn ask(
        &self,
        target: &HttpTarget,
        keep: usize,
    ) -> Result<(Health, String), String> {
        let (status, body) = self.fetch(target, keep).await.map_err(|why| failed(target, &why))?;
        let health = match status.as_u16() {
            200..=299 => Health::Passing,
            429 => Health::Warning,
            _ => Health::Critical,
        };
        let reason = status.canonical_reason().unwrap_or_default();
        let (method, url) = (method(target), &target.url);
        let code = status.as_u16();
        Ok((health, format!("HTTP {method} {url}: {code} {reason} Output: {body}")))
    }

    async fn fetch(
        &self,
        target: &HttpTarget,
        keep: usize,
    ) -> Result<(http::StatusCode, String), String> {
        let (client, url) = self.for_target(target)?;
        let method = Method::from_bytes(method(target).as_bytes());
        let method = method.map_err(|error| error.to_string())?;
        let mut headers = headers(&target.headers)?;
        if url != target.url && !headers.contains_key(header::HOST) {
            let host = authority(&target.url)?;
            let host = HeaderValue::from_str(&host).map_err(|error| error.to_string())?;
            headers.insert(header::HOST, host);
        }
        if target.body.is_empty() && matches!(method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let request = client.request(method, url).headers(headers);
        let sent = request.body(target.body.clone()).send().await;
        let mut answer = sent.map_err(|error| why(&error.without_url(), &target.url))?;
        let coding = answer.headers().get(header::CONTENT_ENCODING);
        let mut said = Said::new(keep, coding.is_some_and(|coding| coding == "gzip"));
        // A body that breaks off does not undo the status that came before it.
        while let Ok(Some(chunk)) = answer.chunk().await {
            said.push(&chunk);
        }
        Ok((answer.status(), said.into_text()))
    }

    /// The client for a target, and the URL to ask it for. A name of its own for the certificate
    /// stands in the URL in the place of the host, to whose address it leads.
    fn for_target(&self, target: &HttpTarget) -> Result<(reqwest::Client, String), String> {
        let tls = &target.tls;
        let scheme = target.url.split("://").next().filter(|_| target.url.contains("://"));
        if !matches!(scheme, Some("http" | "https")) {
            return Err(format!("unsupported protocol scheme {:?}", scheme.unwrap_or_default()));
        }
        let Some(name) = tls.server_name.as_deref().filter(|_| scheme == Some("https")) else {
            if target.redirects {
                let client = if tls.skip_verify { &self.trusting } else { &self.verifying };
                return Ok((client.clone(), target.url.clone()));
            }
            let client = client(&self.tls, tls.skip_verify, false, Names::default());
            return Ok((client.map_err(|error| causes(&error))?, target.url.clone()));
        };
        let authority = authority(&target.url)?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => (host, format!(":{port}")),
            _ => (&*authority, String::new()),
        };
        let names = Names { instead: Some((name.to_owned(), host.to_owned())) };
        let client = client(&self.tls, tls.skip_verify, target.redirects, names);
        let url = target.url.replacen(&authority, &format!("{name}{port}"), 1);
        Ok((client.map_err(|error| causes(&error))?, url))
    }
}

/// A body's end, whether it comes compressed or not.
enum Said {
    Plain(Tail),
    Gzip(Box<GzDecoder<Tail>>),
}

impl Said {
    fn new(keep: usize, gzip: bool) -> Said {
        let tail = Tail::new(keep);
        if gzip { Said::Gzip(Box::new(GzDecoder::new(tail))) } else { Said::Plain(tail) }
    }

    fn push(&mut self, chunk: &[u8]) {
        match self {
            Said::Plain(tail) => tail.push(chunk),
            // What is no gzip ends it, and what came before stays.
            Said::Gzip(decoder) => {
                let _ = decoder.write_all(chunk);
            }
        }
    }

    fn into_text(self) -> String {
        match self {
            Said::Plain(tail) => tail.into_text(),
            Said::Gzip(mut decoder) => {
                let _ = decoder.try_finish();
                std::mem::replace(decoder.get_mut(), Tail::new(0)).into_text()
            }
        }
    }
}

fn authority(url: &str) -> Result<String, String> {
    let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    uri.authority().map(ToString::to_string).ok_or_else(|| "no Host in request URL".to_owned())
}

fn method(target: &HttpTarget) -> String {
    if target.method.is_empty() { "GET".to_owned() } else { target.method.to_uppercase() }
}

/// What is said of a target that gave no answer, in the form of Go's clients.
pub(super) fn failed(target: &HttpTarget, why: &str) -> String {
    let method = method(target).to_lowercase();
    let mut letters = method.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    let method: String = first.into_iter().chain(letters).collect();
    format!("{method} {:?}: {why}", target.url)
}

fn client(
    tls: &Tls,
    skip_verify: bool,
    redirects: bool,
    names: Names,
) -> reqwest::Result<reqwest::Client> {
    let follow =
        if redirects { redirect::Policy::limited(REDIRECTS) } else { redirect::Policy::none() };
    reqwest::Client::builder()
        .tls_backend_preconfigured((**tls.config(skip_verify)).clone())
        .no_proxy()
        .dns_resolver(names)
        .pool_max_idle_per_host(0)
        // As Go's clients write them: an app may look for `X-Token` and not for `x-token`.
        .http1_title_case_headers()
        .redirect(follow)
        .build()
}

/// Consul's own headers, unless the check sets them.
fn headers(wanted: &BTreeMap<String, Vec<String>>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static("Consul Health Check"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("text/plain, text/*, */*"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
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

/// The house's own name resolution: a static binary in an empty image has no other.
#[derive(Debug, Default)]
struct Names {
    /// A name that leads to the address of another.
    instead: Option<(String, String)>,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let host = match &self.instead {
            Some((stands, host)) if stands == name.as_str() => host.clone(),
            _ => name.as_str().to_owned(),
        };
        Box::pin(async move {
            // The client puts the URL's port in the place of 0.
            let found = net::resolve(&format!("{host}:0")).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Why there was no answer: the operating system's word, if it has one, else all the causes.
fn why(error: &reqwest::Error, url: &str) -> String {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(inner) = cause {
        if is_no_tls(inner) {
            return "tls: first record does not look like a TLS handshake".to_owned();
        }
        if let Some(io) = inner.downcast_ref::<std::io::Error>()
            && io.raw_os_error().is_some()
        {
            return match address(url).filter(|_| error.is_connect()) {
                Some(address) => format!("dial tcp {address}: connect: {}", words(io)),
                None => words(io),
            };
        }
        cause = inner.source();
    }
    causes(error)
}

/// Whoever answers speaks something else.
fn is_no_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    use rustls::{Error, InvalidMessage};
    if let Some(within) = error.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref()) {
        return is_no_tls(within);
    }
    let error = error.downcast_ref::<Error>();
    matches!(error, Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)))
}

/// Where a URL's host is connected to.
fn address(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Some(format!("{}:{}", uri.host()?, uri.port_u16().unwrap_or(default)))
}

/// An error with all its causes: the last one is what helps.
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

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn heard(sent: &[u8], gzip: bool, keep: usize) -> String {
        let mut said = Said::new(keep, gzip);
        sent.chunks(7).for_each(|chunk| said.push(chunk));
        said.into_text()
    }

    #[test]
    fn the_end_of_what_is_said_is_kept_whether_it_comes_compressed_or_not() {
        let text = "all is well, ".repeat(1000) + "but for the disk";
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        let sent = encoder.finish().unwrap();
        assert!(sent.len() < text.len() / 10);
        assert_eq!(heard(&sent, true, 8), "the disk");
        assert_eq!(heard(&sent, true, 1 << 20), text);
        assert_eq!(heard(text.as_bytes(), false, 8), "the disk");
        // A lie about it costs what was said, not the agent.
        assert_eq!(heard(b"no gzip at all, whatever the header says", true, 8), "");
        let torn = heard(&sent[..sent.len() - 9], true, 1 << 20);
        assert!(text.starts_with(&torn), "{torn}");
    }
}

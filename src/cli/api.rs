//! Asks an agent over its public HTTP API, and says what a person can do when that fails.

mod lines;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::de::DeserializeOwned;

use super::{Failure, Result};
use crate::model::limits;
use crate::net::{ClientFiles, tls_trouble};

pub(super) use lines::Lines;

const DEFAULT: &str = "127.0.0.1:8500";
const DEFAULT_PORT: u16 = 8500;
const CONNECT: Duration = Duration::from_secs(5);
/// How soon a stream notices that the agent's host is gone.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// More than an agent waits for a leader.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a snapshot may take on its way.
const TRANSFER: Duration = Duration::from_secs(3600);
/// What of a file is read at once.
const PIECE: u64 = 256 * 1024;

#[derive(clap::Args, Clone)]
pub(super) struct ApiArgs {
    /// The agent to ask: host:port, https://host:port or unix:/path
    /// [env: REMORA_HTTP_ADDR, then CONSUL_HTTP_ADDR] [default: 127.0.0.1:8500]
    #[arg(long, value_name = "ADDR")]
    http_addr: Option<String>,
    /// Certificates of the authorities that the agent's may come from, PEM [default: the system's]
    /// [env: REMORA_CACERT, then CONSUL_CACERT]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Certificate to show to the agent, PEM [env: REMORA_CLIENT_CERT, then CONSUL_CLIENT_CERT]
    #[arg(long, value_name = "FILE")]
    cert_file: Option<PathBuf>,
    /// Its key, PEM [env: REMORA_CLIENT_KEY, then CONSUL_CLIENT_KEY]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Whom to ask as: a token [env: REMORA_TOKEN, then CONSUL_HTTP_TOKEN]
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// The same, as the content of a file [env: REMORA_TOKEN_FILE, then CONSUL_HTTP_TOKEN_FILE]
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
}

/// One agent.
pub(super) struct Api {
    place: Place,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    /// Where a blocking query goes on.
    pub(super) index: Option<u64>,
    /// Keys that were left out, because they are no text.
    pub(super) omitted: u64,
    shown: String,
}

/// A setting of the environment; an empty one is none.
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A file that a flag names, else the first of the variables that is set; and which it was.
fn named_file(flag: &str, given: Option<&PathBuf>, variables: [&str; 2]) -> Option<NamedFile> {
    let from = |name: &str| set(name).map(|value| (name.to_owned(), PathBuf::from(value)));
    let given = given.map(|file| (flag.to_owned(), file.clone()));
    given.or_else(|| variables.into_iter().find_map(from))
}

type NamedFile = (String, PathBuf);

impl ApiArgs {
    pub(super) fn open(&self) -> Result<Api> {
        let address = self
            .http_addr
            .clone()
            .or_else(|| set("REMORA_HTTP_ADDR"))
            .or_else(|| set("CONSUL_HTTP_ADDR"))
            .unwrap_or_else(|| DEFAULT.to_owned());
        let files = self.client_files().map_err(|error| Failure::usage(anyhow!(error)))?;
        let ssl = set("CONSUL_HTTP_SSL").is_some_and(|value| is_true(&value));
        Api::open(&address, ssl, &files, self.shown_token()?.as_deref())
    }

    /// A flag comes before the environment, and there a token before a file.
    fn shown_token(&self) -> Result<Option<String>> {
        if let Some(token) = &self.token {
            return Ok(Some(token.clone()));
        }
        let variables = ["REMORA_TOKEN_FILE", "CONSUL_HTTP_TOKEN_FILE"];
        let given = self.token_file.as_ref();
        let told = || set("REMORA_TOKEN").or_else(|| set("CONSUL_HTTP_TOKEN"));
        if let Some(token) = given.is_none().then(told).flatten() {
            return Ok(Some(token));
        }
        let Some((from, file)) = named_file("--token-file", given, variables) else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(&file);
        let text = text.with_context(|| format!("{from}: cannot read {}", file.display()));
        Ok(Some(text.map_err(Failure::usage)?.trim().to_owned()))
    }

    fn client_files(&self) -> std::result::Result<ClientFiles, String> {
        let ca = self.ca_file.as_ref();
        let ca = named_file("--ca-file", ca, ["REMORA_CACERT", "CONSUL_CACERT"]);
        let cert = self.cert_file.as_ref();
        let cert = named_file("--cert-file", cert, ["REMORA_CLIENT_CERT", "CONSUL_CLIENT_CERT"]);
        let key = self.key_file.as_ref();
        let key = named_file("--key-file", key, ["REMORA_CLIENT_KEY", "CONSUL_CLIENT_KEY"]);
        let pair = match (cert, key) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some([cert, key]),
            (Some((name, _)), None) => return Err(format!("{name} needs --key-file beside it")),
            (None, Some((name, _))) => return Err(format!("{name} needs --cert-file beside it")),
        };
        Ok(ClientFiles { ca, pair })
    }
}

/// What goes with every request.
fn shown(token: Option<&str>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token.filter(|token| !token.is_empty()) {
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut bearer = bearer.map_err(|_| Failure::usage(anyhow!("--token: no token")))?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    Ok(headers)
}

/// What Consul's clients take for true.
fn is_true(value: &str) -> bool {
    ["1", "t", "true"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

impl Api {
    /// `ssl`: an address without a scheme means https.
    fn open(address: &str, ssl: bool, files: &ClientFiles, token: Option<&str>) -> Result<Api> {
        let place = place(address, ssl).map_err(|error| Failure::usage(anyhow!(error)))?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(files.config().map_err(Failure::usage)?)
            .default_headers(shown(token)?)
            .no_proxy()
            .connect_timeout(CONNECT)
            .tcp_keepalive(KEEPALIVE)
            .timeout(ANSWER);
        if let Some(socket) = &place.socket {
            builder = builder.unix_socket(socket.clone());
        }
        let client = builder.build().context("cannot set up the HTTP client")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Api { place, client, runtime })
    }

    /// `path` with its query, encoded.
    pub(super) fn get(&self, path: &str) -> Result<Reply> {
        self.ask(Method::GET, path, Vec::new())
    }

    pub(super) fn put(&self, path: &str, body: Vec<u8>) -> Result<Reply> {
        self.ask(Method::PUT, path, body)
    }

    pub(super) fn post(&self, path: &str, body: Vec<u8>) -> Result<Reply> {
        self.ask(Method::POST, path, body)
    }

    pub(super) fn delete(&self, path: &str) -> Result<Reply> {
        self.ask(Method::DELETE, path, Vec::new())
    }

    /// Gives the answer's body to `take` piece by piece; an answer but success is an error.
    pub(super) fn download(&self, path: &str, mut take: impl FnMut(&[u8]) -> Result) -> Result {
        self.runtime.block_on(async {
            let request = self.client.get(format!("{}{path}", self.place.base)).timeout(TRANSFER);
            let mut answer =
                request.send().await.map_err(|error| unanswered(&self.place.shown, &error))?;
            let status = answer.status();
            let mut said = Vec::new();
            while let Some(piece) =
                answer.chunk().await.map_err(|error| unanswered(&self.place.shown, &error))?
            {
                if status.is_success() {
                    take(&piece)?;
                } else if said.len() < limits::HTTP_HEADERS {
                    said.extend_from_slice(&piece);
                }
            }
            Reply { status, body: said, index: None, omitted: 0, shown: self.place.shown.clone() }
                .success()
                .map(|_| ())
        })
    }

    /// Puts a file's content, read as it is sent.
    pub(super) fn upload(&self, path: &str, file: std::fs::File) -> Result<Reply> {
        use std::io::Read as _;
        let mut file = file;
        let pieces = std::iter::from_fn(move || {
            let mut piece = Vec::new();
            match file.by_ref().take(PIECE).read_to_end(&mut piece) {
                Ok(0) => None,
                Ok(_) => Some(Ok(piece)),
                Err(error) => Some(Err(error)),
            }
        });
        self.runtime.block_on(async {
            let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
            let request = self.client.put(format!("{}{path}", self.place.base)).timeout(TRANSFER);
            let answered = async {
                let answer = request.body(body).send().await?;
                Ok((answer.status(), answer.bytes().await?))
            };
            let (status, body) = answered
                .await
                .map_err(|error: reqwest::Error| unanswered(&self.place.shown, &error))?;
            let (body, shown) = (body.into(), self.place.shown.clone());
            Ok(Reply { status, body, index: None, omitted: 0, shown })
        })
    }

    /// Runs what asks more than one thing at a time.
    pub(super) fn block_on<T>(&self, asks: impl Future<Output = T>) -> T {
        self.runtime.block_on(asks)
    }

    fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Reply> {
        self.runtime.block_on(self.send(method, path, body))
    }

    pub(super) async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Reply> {
        let (url, shown) = (format!("{}{path}", self.place.base), &self.place.shown);
        let asked = async {
            let mut answer = self.client.request(method, url).body(body).send().await?;
            let number = |name| answer.headers().get(name)?.to_str().ok()?.parse().ok();
            let index = number("x-consul-index");
            let omitted = number("x-remora-omitted").unwrap_or(0);
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                body.extend_from_slice(&chunk);
                if body.len() > limits::CLI_ANSWER {
                    break;
                }
            }
            Ok((answer.status(), body, index, omitted))
        };
        let (status, body, index, omitted) =
            asked.await.map_err(|error| unanswered(shown, &error))?;
        if body.len() > limits::CLI_ANSWER {
            let most = limits::CLI_ANSWER;
            return Err(anyhow!("the answer of {shown} has more than {most} bytes").into());
        }
        Ok(Reply { status, body, index, omitted, shown: shown.clone() })
    }
}

impl Reply {
    /// Anything but success becomes an error with what the agent said.
    pub(super) fn success(self) -> Result<Reply> {
        if self.status.is_success() {
            return Ok(self);
        }
        let said = String::from_utf8_lossy(&self.body);
        let (base, status) = (&self.shown, self.status);
        match said.trim() {
            "" => Err(anyhow!("the agent at {base} answers {status}").into()),
            said => Err(anyhow!("the agent at {base} answers {status}: {said}").into()),
        }
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let what = || format!("the answer of {} is not what was expected", self.shown);
        Ok(serde_json::from_slice(&self.body).with_context(what)?)
    }
}

fn unanswered(base: &str, error: &reqwest::Error) -> Failure {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if let Some(trouble) = tls_trouble(error) {
        return anyhow!(
            "no trust between this command and the agent at {base}: {trouble}{}",
            advice(&trouble)
        )
        .into();
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

/// What a person can do about what TLS said.
fn advice(trouble: &str) -> &'static str {
    if trouble.contains("UnknownIssuer") {
        "; --ca-file names the authority that the agent's certificate comes from"
    } else if trouble.contains("CertificateRequired") || trouble.contains("UnknownCA") {
        "; the agent wants a certificate of its authority: --cert-file and --key-file"
    } else {
        ""
    }
}

/// Where an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// The beginning of its URLs, without a slash at the end.
    base: String,
    /// How a person knows it.
    shown: String,
    socket: Option<PathBuf>,
}

/// `host:port`, with or without a scheme, or a unix socket. `ssl`: no scheme means https.
fn place(address: &str, ssl: bool) -> std::result::Result<Place, String> {
    let Some(path) = address.trim().strip_prefix("unix:") else {
        let base = base(address, if ssl { "https" } else { "http" })?;
        return Ok(Place { shown: base.clone(), base, socket: None });
    };
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') {
        return Err(format!("{address:?}: a unix socket is written like unix:/run/remora.sock"));
    }
    let (base, shown) = ("http://localhost".to_owned(), format!("unix:{path}"));
    Ok(Place { base, shown, socket: Some(PathBuf::from(path)) })
}

/// `host:port`, with or without its scheme, into the beginning of a URL.
fn base(address: &str, scheme: &str) -> std::result::Result<String, String> {
    let address = address.trim().trim_end_matches('/');
    let with_scheme = match address.split_once("://") {
        Some(("http" | "https", _)) => address.to_owned(),
        Some((scheme, _)) => {
            return Err(format!("{address:?}: {scheme} is none of http, https and unix"));
        }
        None if address.parse::<std::net::Ipv6Addr>().is_ok() => {
            format!("{scheme}://[{address}]:{DEFAULT_PORT}")
        }
        None => format!("{scheme}://{address}"),
    };
    let url = reqwest::Url::parse(&with_scheme)
        .map_err(|error| format!("{address:?} is no address of an agent: {error}"))?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{address:?}: an address of an agent has no path"));
    }
    let bare = address.split_once("://").is_none();
    // The scheme's own port is not kept in a URL.
    let own = format!(":{}", url.port_or_known_default().unwrap_or_default());
    if bare && url.port().is_none() && !with_scheme.ends_with(&own) {
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
            assert_eq!(base(given, "http"), Ok(expected.to_owned()), "{given}");
        }
        for (given, expected) in [
            ("agent.example", "https://agent.example:8500"),
            ("agent.example:8501", "https://agent.example:8501"),
            ("http://agent.example:8501", "http://agent.example:8501"),
        ] {
            let place = place(given, true).map(|place| place.base);
            assert_eq!(place, Ok(expected.to_owned()), "{given}");
        }
        for given in ["unix:/run/remora.sock", "unix:///run/remora.sock"] {
            let place = place(given, true).expect("a socket");
            assert_eq!(place.socket, Some(PathBuf::from("/run/remora.sock")), "{given}");
            assert_eq!(place.shown, "unix:/run/remora.sock");
        }
    }

    #[test]
    fn what_is_no_address_is_said() {
        for given in ["unix:remora.sock", "ftp://a", "", "host:port", "http://a:1/v1", "a b"] {
            assert!(place(given, false).is_err(), "{given:?}");
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
        let api = Api::open(&address, false, &ClientFiles::default(), None)
            .unwrap_or_else(|_| panic!("it opens"));
        let failure = api.get("/v1/status/leader").expect_err("nobody is there");
        let said = failure.error.to_string();
        assert!(said.starts_with(&format!("no agent answers at http://{address}: ")), "{said}");
        assert!(said.to_lowercase().contains("connection refused"), "{said}");
        assert!(said.contains("`remora dev`"), "{said}");
    }
}

//! Clients over TLS: curl, etcdctl and the commands; certificates that change, fail and run out.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::house::{Agent, AgentSpec, eventually, run};

/// Several looks at the files, on a loaded machine.
const RELOAD: Duration = Duration::from_secs(30);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An authority, and a directory that holds what it makes.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self, params: CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    fn server(&self, ip: &str) -> (String, String) {
        let names = vec![ip.to_owned(), "localhost".to_owned()];
        self.issue(CertificateParams::new(names).unwrap())
    }

    fn client(&self, name: &str, last_year: i32) -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        self.issue(params)
    }
}

fn write(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn write_pair(dir: &Path, name: &str, pair: &(String, String)) {
    write(&dir.join(format!("{name}.crt")), &pair.0);
    write(&dir.join(format!("{name}.key")), &pair.1);
}

/// A server with an https listener beside its plain one, and a directory of certificates.
pub struct Site {
    pub agent: Agent,
    dir: tempfile::TempDir,
    authority: Authority,
    https: String,
}

impl Site {
    pub fn new(name: &str, client_ca: bool) -> Site {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (authority, mut spec) = (Authority::new("ours"), AgentSpec::server(name));
        let ip = spec.place.0.to_string();
        write_pair(dir.path(), "server", &authority.server(&ip));
        write_pair(dir.path(), "ann", &authority.client("ann", 2090));
        write(&dir.path().join("ca.crt"), &authority.pem);
        spec.http = config(dir.path(), &ip, client_ca);
        let agent = Agent::start(spec);
        Site { agent, dir, authority, https: format!("https://{ip}:8501") }
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// curl with the authority; `more` before the URL.
    fn curl(&self, more: &[&str], path: &str) -> Result<String, String> {
        let (ca, url) = (self.file("ca.crt"), format!("{}{path}", self.https));
        let mut args = vec!["-sS", "--max-time", "20", "--cacert", &ca];
        args.extend(more);
        args.push(&url);
        run("curl", &args)
    }

    fn remora(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_remora"));
        command.args(args).envs(env.iter().copied()).stdin(Stdio::null()).output().unwrap()
    }

    /// The certificate that new connections are shown, by openssl.
    fn shown(&self) -> String {
        let authority = self.https.trim_start_matches("https://");
        let args = ["s_client", "-connect", authority, "-showcerts"];
        let said = run("openssl", &args).unwrap_or_else(|error| error);
        let start = said.find("-----BEGIN").unwrap_or_else(|| panic!("{said}"));
        said[start..].split_inclusive("-----END CERTIFICATE-----").next().unwrap().to_owned()
    }
}

fn config(dir: &Path, ip: &str, client_ca: bool) -> String {
    let dir = dir.display();
    let ca = if client_ca { format!(", client_ca: {dir}/ca.crt") } else { String::new() };
    format!(
        "listen: [\"{ip}:8500\", \"https://{ip}:8501\"], \
         tls: {{ cert: {dir}/server.crt, key: {dir}/server.key{ca} }}"
    )
}

#[test]
fn curl_and_openssl_are_served_over_both_protocols_if_they_show_a_certificate() {
    let site = Site::new("secure", true);
    let (cert, key) = (site.file("ann.crt"), site.file("ann.key"));
    let ann = ["--cert", &cert, "--key", &key];
    for (version, tls, expected) in [
        ("--http1.1", "--tlsv1.3", "1.1 200"),
        ("--http2", "--tlsv1.3", "2 200"),
        ("--http2", "--tls-max 1.2", "2 200"),
    ] {
        let mut args: Vec<&str> = vec![version, "-w", "\n%{http_version} %{http_code}"];
        args.extend(tls.split(' '));
        args.extend(ann);
        let said = site.curl(&args, "/v1/status/leader").unwrap();
        assert!(said.ends_with(expected), "{version} {tls}: {said}");
    }
    let put = [&ann[..], &["-X", "PUT", "-d", "blue"]].concat();
    assert_eq!(site.curl(&put, "/v1/kv/color").unwrap().trim(), "true");
    let body = r#"{"key":"Y29sb3I="}"#;
    let range = site.curl(&[&ann[..], &["-d", body]].concat(), "/v3/kv/range").unwrap();
    assert!(range.contains("\"value\":\"Ymx1ZQ==\""), "{range}");

    let authority = site.https.trim_start_matches("https://");
    let (ca, mut args) = (site.file("ca.crt"), vec!["s_client", "-connect", authority]);
    args.extend(["-alpn", "h2", "-CAfile", &ca, "-verify_return_error", "-cert", &cert]);
    args.extend(["-key", &key, "-tls1_3"]);
    let said = run("openssl", &args).unwrap();
    for part in ["ALPN protocol: h2", "Verify return code: 0 (ok)", "New, TLSv1.3"] {
        assert!(said.contains(part), "{said}");
    }
    let mut old = vec!["s_client", "-connect", authority, "-tls1_1"];
    // openssl itself must be willing.
    old.extend(["-cipher", "DEFAULT@SECLEVEL=0"]);
    let said = run("openssl", &old).unwrap_err();
    assert!(said.contains("SSL alert number"), "before 1.2 the server refuses: {said}");
}

#[test]
fn who_shows_no_certificate_or_a_wrong_one_is_refused() {
    let site = Site::new("strict", true);
    let stranger = Authority::new("another");
    write_pair(site.dir.path(), "stranger", &stranger.client("ann", 2090));
    write_pair(site.dir.path(), "expired", &site.authority.client("ann", 2021));
    write(&site.dir.path().join("other.crt"), &stranger.pem);
    let said = site.curl(&[], "/status").unwrap_err();
    assert!(said.contains("certificate required"), "{said}");
    for (name, expected) in [("stranger", "unknown ca"), ("expired", "certificate expired")] {
        let (cert, key) = (site.file(&format!("{name}.crt")), site.file(&format!("{name}.key")));
        let said = site.curl(&["--cert", &cert, "--key", &key], "/status").unwrap_err();
        assert!(said.contains(expected), "{name}: {said}");
    }
    let other = site.file("other.crt");
    let said = site.curl(&["--cacert", &other], "/status").unwrap_err();
    assert!(said.contains("certificate"), "a client that trusts another authority: {said}");
    let plain = run("curl", &["-sS", "--max-time", "20", &site.https.replace("https", "http")]);
    assert!(plain.is_err(), "no HTTP in the clear: {plain:?}");
    let (cert, key) = (site.file("ann.crt"), site.file("ann.key"));
    site.curl(&["--cert", &cert, "--key", &key], "/status").unwrap();
    let metrics = site.agent.client().get("/metrics").unwrap().text();
    let failed = "remora_http_tls_handshakes_total{outcome=\"failed\"} ";
    assert!(metrics.contains(failed), "{metrics}");
}

/// etcd's own client takes gRPC alone, so the listener must agree on HTTP/2 within TLS.
#[test]
fn etcdctl_is_served_over_tls_if_it_shows_a_certificate() {
    let site = Site::new("asked-by-etcdctl", true);
    let etcdctl = |more: &[&str], args: &[&str]| {
        let endpoint = format!("--endpoints={}", site.https);
        let ca = format!("--cacert={}", site.file("ca.crt"));
        let mut all = vec![endpoint.as_str(), "--command-timeout=10s", &ca];
        all.extend(more);
        all.extend(args);
        run("etcdctl", &all)
    };
    let cert = format!("--cert={}", site.file("ann.crt"));
    let key = format!("--key={}", site.file("ann.key"));
    let ann = [cert.as_str(), &key];
    assert_eq!(etcdctl(&ann, &["put", "app/a", "one"]).unwrap(), "OK\n");
    assert_eq!(etcdctl(&ann, &["get", "app/a"]).unwrap(), "app/a\none\n");
    // The whole URL is the authority that is asked for.
    let status = etcdctl(&ann, &["endpoint", "status"]).unwrap();
    assert!(status.starts_with(&format!("{}, 1, ", site.https)), "{status}");

    let refused = etcdctl(&[], &["--command-timeout=2s", "put", "app/a", "two"]);
    assert!(refused.is_err(), "it shows no certificate: {refused:?}");
    let stranger = Authority::new("another");
    write_pair(site.dir.path(), "stranger", &stranger.client("ann", 2090));
    let cert = format!("--cert={}", site.file("stranger.crt"));
    let key = format!("--key={}", site.file("stranger.key"));
    let refused = etcdctl(&[&cert, &key], &["--command-timeout=2s", "put", "app/a", "two"]);
    assert!(refused.is_err(), "another authority's: {refused:?}");
    let kept = site.agent.client().get("/v1/kv/app/a?raw").unwrap();
    assert_eq!(kept.text(), "one", "those who were refused wrote nothing");
}

/// The name in a certificate is the user of who shows no token: over gRPC, not by the gateway.
#[test]
fn a_certificate_is_its_users() {
    let site = Site::new("asked-by-name", true);
    write_pair(site.dir.path(), "bob", &site.authority.client("bob", 2090));
    let plain = format!("--endpoints=http://{}", site.agent.spec.place.http());
    let tell = |args: &[&str]| {
        let args: Vec<&str> = [plain.as_str()].iter().chain(args).copied().collect();
        run("etcdctl", &args).unwrap()
    };
    tell(&["user", "add", "root:rpw"]);
    tell(&["user", "grant-role", "root", "root"]);
    tell(&["user", "add", "ann", "--no-password"]);
    tell(&["role", "add", "app"]);
    tell(&["role", "grant-permission", "app", "readwrite", "--prefix", "app/"]);
    tell(&["user", "grant-role", "ann", "app"]);
    tell(&["auth", "enable"]);
    let files = |name: &str| {
        let file = |kind: &str| site.file(&format!("{name}.{kind}"));
        [format!("--cert={}", file("crt")), format!("--key={}", file("key"))]
    };
    let etcdctl = |name: &str, args: &[&str]| {
        let (endpoint, ca) =
            (format!("--endpoints={}", site.https), format!("--cacert={}", site.file("ca.crt")));
        let [cert, key] = files(name);
        let mut all = vec![endpoint.as_str(), &ca, &cert, &key];
        all.extend(args);
        run("etcdctl", &all)
    };
    assert_eq!(etcdctl("ann", &["put", "app/a", "one"]).unwrap(), "OK\n");
    assert_eq!(etcdctl("ann", &["get", "app/a"]).unwrap(), "app/a\none\n");
    let denied = etcdctl("ann", &["get", "secret"]).unwrap_err();
    assert!(denied.contains("permission denied"), "{denied}");
    let unknown = etcdctl("bob", &["get", "app/a"]).unwrap_err();
    assert!(unknown.contains("permission denied"), "{unknown}");
    let root = etcdctl("ann", &["--user=root:rpw", "get", "secret"]);
    assert_eq!(root.unwrap(), "", "a token says more than the certificate");
    let ann = [site.file("ann.crt"), site.file("ann.key")];
    let more = ["--cert", &ann[0], "--key", &ann[1], "-d", r#"{"key":"YXBwL2E="}"#];
    let nobody = site.curl(&more, "/v3/kv/range").unwrap();
    assert!(nobody.contains("user name is empty"), "{nobody}");
}

#[test]
fn the_commands_speak_tls_and_unix_sockets_and_say_what_is_missing() {
    let site = Site::new("asked-safely", true);
    let (ca, cert, key) = (site.file("ca.crt"), site.file("ann.crt"), site.file("ann.key"));
    let text = |output: &Output| {
        let said = [&output.stdout[..], &output.stderr].concat();
        String::from_utf8_lossy(&said).into_owned()
    };
    let base = ["members", "--http-addr", &site.https];
    let full = [&base[..], &["--ca-file", &ca, "--cert-file", &cert, "--key-file", &key]].concat();
    let done = site.remora(&full, &[]);
    assert!(done.status.success() && text(&done).contains("asked-safely"), "{}", text(&done));
    let ours = [("REMORA_CACERT", &ca), ("REMORA_CLIENT_CERT", &cert), ("REMORA_CLIENT_KEY", &key)];
    let bare = site.https.trim_start_matches("https://");
    let ssl = ("CONSUL_HTTP_SSL", "true");
    let consuls = [
        ("CONSUL_HTTP_ADDR", bare),
        ssl,
        ("CONSUL_CACERT", &ca),
        ("CONSUL_CLIENT_CERT", &cert),
        ("CONSUL_CLIENT_KEY", &key),
    ];
    let ours = ours.map(|(name, value)| (name, value.as_str()));
    for (args, env) in [(&base[..], &ours[..]), (&["members"], &consuls)] {
        let done = site.remora(args, env);
        assert!(done.status.success(), "{env:?}: {}", text(&done));
    }

    let refused = |more: &[&str], code: i32, part: &str| {
        let output = site.remora(&[&base[..], more].concat(), &[]);
        assert_eq!(output.status.code(), Some(code), "{more:?}: {}", text(&output));
        assert!(text(&output).contains(part), "{more:?}: {}", text(&output));
    };
    refused(&[], 1, "--ca-file names the authority");
    refused(&["--ca-file", &ca], 1, "--cert-file and --key-file");
    refused(&["--ca-file", "/nonexistent"], 2, "--ca-file: /nonexistent: cannot be read");
    refused(&["--ca-file", &key], 2, "holds no certificate");
    refused(&["--cert-file", &cert], 2, "needs --key-file");
}

#[test]
fn a_unix_socket_is_served_and_one_left_behind_is_replaced() {
    let mut spec = AgentSpec::server("local");
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("r.sock");
    let shown = format!("unix:{}", socket.display());
    spec.http = format!("listen: [\"{}\", \"{shown}\"]", spec.place.http());
    let mut agent = Agent::start(spec);
    let path = socket.to_str().unwrap();
    let ask = || run("curl", &["-sS", "--unix-socket", path, "http://any/v1/status/leader"]);
    assert!(ask().unwrap().contains(":8300"));
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let told = run(env!("CARGO_BIN_EXE_remora"), &["status", "--http-addr", &shown]).unwrap();
    assert!(told.contains(&shown), "{told}");
    agent.kill();
    assert!(socket.exists(), "a killed agent leaves it");
    agent.start_again();
    assert!(ask().unwrap().contains(":8300"));
    agent.stop();
    assert!(!socket.exists(), "a stopped one does not");
}

/// One connection that is kept, and the certificate it was made under.
async fn persistent(site: &Site) -> SendRequest<Full<Bytes>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(site.authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let authority = site.https.trim_start_matches("https://");
    let stream = tokio::net::TcpStream::connect(authority).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector.connect(name, stream).await.unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// Writes over one connection until told to stop; how many, each of which was acknowledged.
async fn load(
    mut sender: SendRequest<Full<Bytes>>,
    stop: Arc<std::sync::atomic::AtomicBool>,
) -> u64 {
    let mut done = 0;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        sender.ready().await.expect("the connection is kept");
        let request = http::Request::put(format!("/v1/kv/load/{done}"))
            .header("Host", "localhost")
            .body(Full::from("x"))
            .unwrap();
        let answer = sender.send_request(request).await.expect("every request is answered");
        assert_eq!(answer.status(), 200);
        let body = answer.into_body().collect().await.expect("wholly").to_bytes();
        assert_eq!(body.trim_ascii(), b"true");
        done += 1;
    }
    done
}

/// Lays out the pair as kubelet does: names lead through `..data`, which is swapped at one instant.
fn publish(dir: &Path, version: &str, pair: &(String, String)) {
    let data = dir.join(format!("..{version}"));
    fs::create_dir(&data).unwrap();
    write_pair(&data, "server", pair);
    let fresh = dir.join("..data_tmp");
    symlink(format!("..{version}"), &fresh).unwrap();
    fs::rename(&fresh, dir.join("..data")).unwrap();
}

#[test]
fn certificates_change_under_load_without_a_dropped_connection() {
    let mut spec = AgentSpec::server("changing");
    let ip = spec.place.0.to_string();
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    let pairs = [authority.server(&ip), authority.server(&ip), authority.server(&ip)];
    publish(dir.path(), "1", &pairs[0]);
    for name in ["server.crt", "server.key"] {
        symlink(PathBuf::from("..data").join(name), dir.path().join(name)).unwrap();
    }
    spec.http = config(dir.path(), &ip, false);
    let https = format!("https://{ip}:8501");
    let site = Site { agent: Agent::start(spec), dir, authority, https };

    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let sender = runtime.block_on(persistent(&site));
    let loaded = runtime.spawn(load(sender, stop.clone()));
    let shows = |pair: &(String, String), what: &str| {
        eventually(what, RELOAD, || {
            let shown = site.shown();
            let same = shown.trim().replace("\r\n", "\n") == pair.0.trim().replace("\r\n", "\n");
            if same { Ok(()) } else { Err(shown) }
        });
    };
    shows(&pairs[0], "the first");
    publish(site.dir.path(), "2", &pairs[1]);
    shows(&pairs[1], "the second after its swap");

    // Garbage keeps the second, and is told.
    publish(site.dir.path(), "3", &("garbage".to_owned(), pairs[2].1.clone()));
    let client = site.agent.client();
    let entry = |status: &serde_json::Value| {
        let board = status["board"].as_array().unwrap().clone();
        board.into_iter().find(|entry| entry["subject"] == "http/tls")
    };
    let text = eventually("the board tells of it", RELOAD, || {
        let status = client.get("/status")?.json();
        entry(&status).ok_or_else(|| status.to_string())
    });
    assert!(text["text"].as_str().unwrap().contains("server.crt:1: holds no certificate"));
    let metrics = client.get("/metrics").unwrap().text();
    assert!(metrics.contains("\nremora_http_tls_stale 1\n"), "{metrics}");
    assert!(site.agent.log().contains("the last good files stay in use"));
    shows(&pairs[1], "the second stays");

    // A key that others can read is no better.
    publish(site.dir.path(), "4", &pairs[2]);
    let key = site.dir.path().join("..4/server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    eventually("the board tells of the mode", RELOAD, || {
        let status = client.get("/status")?.json();
        let text = entry(&status).map(|entry| entry["text"].to_string()).unwrap_or_default();
        if text.contains("chmod 600") { Ok(()) } else { Err(text) }
    });
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    shows(&pairs[2], "the third once its key is guarded");
    eventually("the warning goes", RELOAD, || {
        let status = client.get("/status")?.json();
        if entry(&status).is_none() { Ok(()) } else { Err(status.to_string()) }
    });
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let done = runtime.block_on(loaded).expect("no request was lost");
    assert!(done > 10, "{done} writes");
}

#[test]
fn an_idle_connection_outlives_the_time_that_a_head_may_take() {
    let site = Site::new("idle", false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut sender = persistent(&site).await;
        let request = || {
            let request = http::Request::get("/livez").header("Host", "localhost");
            request.body(Full::default()).unwrap()
        };
        for pause in [Duration::from_secs(12), Duration::ZERO] {
            let answer = sender.send_request(request()).await.expect("still open");
            assert_eq!(answer.status(), 200);
            answer.into_body().collect().await.unwrap();
            tokio::time::sleep(pause).await;
        }
    });
}

#[test]
fn a_certificate_that_soon_expires_or_has_is_told_by_the_agent_and_by_check_config() {
    let mut spec = AgentSpec::server("ending");
    let ip = spec.place.0.to_string();
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    let lasting = |days: u64| {
        let mut params = CertificateParams::new(vec![ip.clone()]).unwrap();
        params.not_before = (SystemTime::now() - 30 * DAY).into();
        params.not_after =
            (SystemTime::now() - 30 * DAY + u32::try_from(days).unwrap() * DAY).into();
        write_pair(dir.path(), "server", &authority.issue(params));
    };
    write(&dir.path().join("ca.crt"), &authority.pem);
    spec.http = config(dir.path(), &ip, true);
    let file = dir.path().join("remora.yaml");
    write(&file, &format!("data_dir: /nowhere\nhttp: {{ {} }}\n", spec.http));
    let check = || run(env!("CARGO_BIN_EXE_remora"), &["check-config", file.to_str().unwrap()]);

    lasting(40);
    let agent = Agent::start(spec);
    let told = |part: &str| {
        eventually(part, RELOAD, || {
            let page = agent.client().get("/status")?.text();
            let log = agent.log();
            if page.contains(part) && log.contains(part) { Ok(()) } else { Err(page) }
        });
        let said = check().unwrap_err();
        assert!(said.contains(part) && said.contains("server.crt"), "{said}");
    };
    told("the certificate expires at");
    lasting(10);
    told("the certificate has expired at");
    lasting(90);
    let seconds = || {
        let metrics = agent.client().get("/metrics").unwrap().text();
        let mut lines = metrics.lines();
        let name = "remora_http_tls_certificate_seconds ";
        lines.find_map(|line| line.strip_prefix(name)?.parse::<i64>().ok()).unwrap()
    };
    eventually("it lasts", RELOAD, || match agent.client().get("/status")?.text() {
        page if page.contains("http.tls.cert") => Err(page),
        _ if seconds() > 50 * 24 * 3600 => Ok(()),
        page => Err(page),
    });
    check().unwrap();
    fs::remove_file(dir.path().join("ca.crt")).unwrap();
    let said = check().unwrap_err();
    assert!(said.contains("http.tls.client_ca") && said.contains("ca.crt"), "{said}");
}

#[test]
fn a_pair_that_cannot_be_used_is_refused_at_the_start() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (authority, mut spec) = (Authority::new("ours"), AgentSpec::server("refused"));
    let ip = spec.place.0.to_string();
    let (good, other) = (authority.server(&ip), authority.server(&ip));
    spec.http = config(dir.path(), &ip, true);
    write(&dir.path().join("ca.crt"), &authority.pem);
    let refused = |cert: &str, key: &str, mode: u32, parts: &[&str]| {
        write(&dir.path().join("server.crt"), cert);
        write(&dir.path().join("server.key"), key);
        let key = dir.path().join("server.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let begun = Instant::now();
        let mut agent = Agent::launch(spec.clone());
        let status = agent.ended();
        assert_eq!(status.code(), Some(1), "{parts:?}: {}", agent.log());
        assert!(begun.elapsed() < Duration::from_secs(20));
        for part in parts {
            assert!(agent.log().contains(part), "{part:?} is not in: {}", agent.log());
        }
    };
    let key = dir.path().join("server.key");
    let wide = format!("chmod 600 {}", key.display());
    refused(&good.0, &good.1, 0o640, &["http.tls.key", "mode 0640", &wide]);
    refused(&good.0, &other.1, 0o600, &["http.tls.key", "server.key:1: this key is not the one"]);
    refused("garbage", &good.1, 0o600, &["http.tls.cert", "server.crt:1: holds no certificate"]);
    let cut = &good.0[..good.0.len() / 2];
    refused(cut, &good.1, 0o600, &["http.tls.cert", "server.crt:1: has a BEGIN without its END"]);
    refused(&good.0, "garbage", 0o600, &["http.tls.key", "server.key:1: holds no private key"]);
}

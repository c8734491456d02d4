//! The runner against apps that answer, fail, hang and die.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::health::{Finding, Runner};
use crate::lifecycle::Life;
use crate::model::{CheckDef, CheckKind, Flaps, Health, HttpTarget, Target, TlsTarget};
use crate::telemetry::Metrics;

use super::app::{App, answer};

const INTERVAL: Duration = Duration::from_millis(50);
const TIMEOUT: Duration = Duration::from_millis(400);

struct Watched {
    life: Life,
    runner: Runner,
    findings: mpsc::Receiver<Finding>,
}

impl Watched {
    fn new() -> Watched {
        let life = Life::default();
        let (runner, findings) = Runner::new(&life, &Metrics::default()).unwrap();
        Watched { life, runner, findings }
    }

    async fn next(&mut self) -> (Health, String) {
        let next = tokio::time::timeout(Duration::from_secs(10), self.findings.recv());
        let finding = next.await.expect("a finding in time").expect("the runner lives");
        assert!(self.runner.is_current(&finding));
        (finding.status, finding.output)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.life.shutdown.begin();
    }
}

fn http(url: String) -> CheckDef {
    probe(Target::Http(HttpTarget::get(&url)))
}

fn tcp(address: String) -> CheckDef {
    probe(Target::Tcp { address, tls: None })
}

fn probe(target: Target) -> CheckDef {
    CheckDef::new("c", "c", CheckKind::probe(target, INTERVAL, TIMEOUT))
}

/// What an HTTP check asks, to be changed.
fn request(check: &mut CheckDef) -> &mut HttpTarget {
    let CheckKind::Probe { target, .. } = &mut check.kind else { panic!("no probe") };
    let Target::Http(http) = &mut **target else { panic!("no HTTP check") };
    http
}

#[tokio::test]
async fn an_answers_status_is_the_apps_health() {
    for (status, health) in [
        ("200 OK", Health::Passing),
        ("204 No Content", Health::Passing),
        ("429 Too Many Requests", Health::Warning),
        ("304 Not Modified", Health::Critical),
        ("404 Not Found", Health::Critical),
        ("503 Service Unavailable", Health::Critical),
    ] {
        let app = App::start(vec![answer(status, "so")]).await;
        let mut watched = Watched::new();
        watched.runner.put(&http(app.url()));
        let body = if status.starts_with("204") || status.starts_with("304") { "" } else { "so" };
        let output = format!("HTTP GET {}: {status} Output: {body}", app.url());
        assert_eq!(watched.next().await, (health, output));
    }
}

#[tokio::test]
async fn the_app_is_asked_as_the_check_says() {
    let app = App::start(vec![answer("200 OK", "")]).await;
    let mut check = http(app.url());
    let HttpTarget { method, headers, body, .. } = request(&mut check);
    *method = "post".to_owned();
    *body = "ping".to_owned();
    headers.insert("X-A".to_owned(), vec!["1".to_owned(), "2".to_owned()]);
    headers.insert("Host".to_owned(), vec!["some.host".to_owned()]);
    let mut watched = Watched::new();
    watched.runner.put(&check);
    assert_eq!(watched.next().await.0, Health::Passing);
    let asked = app.asked().remove(0).to_lowercase();
    assert!(asked.starts_with("post /healthz http/1.1\r\n"), "{asked}");
    for line in ["user-agent: consul health check", "x-a: 1", "x-a: 2", "host: some.host"] {
        assert!(asked.contains(&format!("{line}\r\n")), "{line} is missing in {asked}");
    }
    assert!(asked.ends_with("\r\n\r\nping"), "{asked}");
}

#[tokio::test]
async fn a_name_is_resolved() {
    let app = App::start(vec![answer("200 OK", "")]).await;
    let named = format!("localhost:{}", app.addr.port());
    for check in [http(format!("http://{named}/")), tcp(named)] {
        let mut watched = Watched::new();
        watched.runner.put(&check);
        let (health, output) = watched.next().await;
        assert_eq!(health, Health::Passing, "{output}");
    }
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let target = App::start(vec![answer("200 OK", "here")]).await;
    let to = target.url();
    let moved = format!(
        "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let app = App::start(vec![moved]).await;
    let mut watched = Watched::new();
    watched.runner.put(&http(app.url()));
    let (health, output) = watched.next().await;
    assert_eq!(health, Health::Passing);
    assert!(output.ends_with("Output: here"), "{output}");
}

#[tokio::test]
async fn what_cannot_be_asked_is_critical_and_says_why() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let plain = App::start(vec![answer("200 OK", "")]).await;
    let refused = format!("dial tcp {closed}: connect: connection refused");
    let get = |url: &str, why: &str| format!("Get {url:?}: {why}");
    let tls = TlsTarget::default();
    let port = closed.port();
    for (target, said) in [
        (
            Target::Http(HttpTarget::get(&format!("http://{closed}/"))),
            get(&format!("http://{closed}/"), &refused),
        ),
        (
            Target::Http(HttpTarget::get("nonsense")),
            get("nonsense", "unsupported protocol scheme \"\""),
        ),
        (Target::Tcp { address: closed.to_string(), tls: None }, refused.clone()),
        (
            Target::Tcp { address: "127.0.0.1".into(), tls: None },
            "dial tcp: address 127.0.0.1: missing port in address".to_owned(),
        ),
        (
            Target::Tcp { address: plain.addr.to_string(), tls: Some(tls.clone()) },
            "tls: ".to_owned(),
        ),
        (
            Target::Udp { address: format!("127.0.0.1:{port}") },
            format!("read udp {closed}: read: connection refused"),
        ),
        (Target::H2Ping { address: closed.to_string(), tls: None }, refused.clone()),
        (Target::H2Ping { address: plain.addr.to_string(), tls: None }, "http2: ".to_owned()),
        (
            Target::Grpc { address: closed.to_string(), service: String::new(), tls: None },
            format!(
                "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing {refused}\""
            ),
        ),
        (
            Target::Exec { argv: vec!["/does/not/exist".into()] },
            "fork/exec /does/not/exist: no such file or directory".to_owned(),
        ),
        (
            Target::Exec { argv: vec!["does-not-exist".into()] },
            "exec: \"does-not-exist\": executable file not found in $PATH".to_owned(),
        ),
    ] {
        let mut watched = Watched::new();
        watched.runner.put(&probe(target));
        let (health, output) = watched.next().await;
        assert_eq!(health, Health::Critical);
        assert!(output.starts_with(&said), "{output} is not {said}");
    }
    let mut watched = Watched::new();
    watched.runner.put(&http(format!("https://{}/", plain.addr)));
    let (health, output) = watched.next().await;
    assert_eq!(health, Health::Critical);
    let said = "tls: first record does not look like a TLS handshake";
    assert!(output.ends_with(said), "{output}");
}

#[tokio::test]
async fn rise_and_fall_are_counted_in_answers() {
    let ok = |body| answer("200 OK", body);
    let ill = |body| answer("500 Internal Server Error", body);
    let script =
        vec![ok("1"), ill("2"), ok("3"), ill("4"), ill("5"), ok("6"), ill("7"), ok("8"), ok("9")];
    let app = App::start(script).await;
    let mut check = http(app.url());
    check.flaps = Flaps { rise: 2, warn: None, fall: 2 };
    let mut watched = Watched::new();
    watched.runner.put(&check);
    // A doubted result is silent; one that confirms is told for its new output.
    for (health, body) in [
        (Health::Passing, "1"),
        (Health::Passing, "3"),
        (Health::Critical, "5"),
        (Health::Critical, "7"),
        (Health::Passing, "9"),
    ] {
        let (told, output) = watched.next().await;
        assert_eq!((told, &output[output.len() - 1..]), (health, body));
    }
}

#[tokio::test]
async fn only_turns_and_new_outputs_are_told() {
    let same = || answer("200 OK", "same");
    let app = App::start(vec![same(), same(), same(), answer("200 OK", "new")]).await;
    let mut watched = Watched::new();
    watched.runner.put(&http(app.url()));
    assert!(watched.next().await.1.ends_with("same"));
    let (health, output) = watched.next().await;
    assert_eq!(health, Health::Passing);
    assert!(output.ends_with("new"), "{output}");
}

#[tokio::test]
async fn an_app_that_dies_is_found_out_in_time() {
    let app = App::start(vec![answer("200 OK", "")]).await;
    let mut check = tcp(app.addr.to_string());
    check.flaps.fall = 3;
    let mut watched = Watched::new();
    watched.runner.put(&check);
    let output = format!("TCP connect {}: Success", app.addr);
    assert_eq!(watched.next().await, (Health::Passing, output));
    app.die().await;
    let died = Instant::now();
    assert_eq!(watched.next().await.0, Health::Critical);
    let bound = 3 * (INTERVAL + TIMEOUT) + Duration::from_secs(1);
    assert!(died.elapsed() <= bound, "{:?}", died.elapsed());
}

#[tokio::test]
async fn a_probe_that_hangs_is_cut_off_and_never_met_by_another() {
    let app = App::start(vec![String::new()]).await;
    let mut check = http(app.url());
    check.flaps.fall = 3;
    let cut = INTERVAL * 4;
    if let CheckKind::Probe { timeout, .. } = &mut check.kind {
        *timeout = cut;
    }
    let began = Instant::now();
    let mut watched = Watched::new();
    watched.runner.put(&check);
    let (health, output) = watched.next().await;
    assert_eq!(health, Health::Critical);
    assert!(output.ends_with("no answer in time (the timeout is over)"), "{output}");
    let limit = Instant::now() + Duration::from_secs(10);
    while app.asked().len() < 4 {
        assert!(Instant::now() < limit, "it goes on probing");
        tokio::time::sleep(INTERVAL).await;
    }
    // Each of the three before has taken its whole timeout, one after another.
    assert!(began.elapsed() >= 3 * cut, "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_a_redefined_check_said_before_no_longer_counts() {
    let old = App::start(vec![answer("200 OK", "old")]).await;
    let mut watched = Watched::new();
    watched.runner.put(&http(old.url()));
    let said = watched.findings.recv().await.unwrap();
    watched.runner.put(&http(old.url()));
    assert!(watched.runner.is_current(&said), "the same definition goes on undisturbed");
    let new = App::start(vec![answer("200 OK", "new")]).await;
    watched.runner.put(&http(new.url()));
    assert!(!watched.runner.is_current(&said));
    assert!(watched.next().await.1.ends_with("new"));
    watched.runner.remove("c");
    assert!(!watched.runner.is_current(&said));
}

#[tokio::test]
async fn a_redirect_is_an_answer_where_none_is_followed() {
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\
                 connection: close\r\n\r\n";
    let app = App::start(vec![moved.to_owned()]).await;
    let mut check = http(app.url());
    request(&mut check).redirects = false;
    let mut watched = Watched::new();
    watched.runner.put(&check);
    let (health, output) = watched.next().await;
    assert_eq!(health, Health::Critical);
    assert!(output.contains("302 Found"), "{output}");
}

fn shell(script: &str) -> CheckDef {
    let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
    probe(Target::Exec { argv })
}

#[tokio::test]
async fn a_programs_exit_code_is_the_apps_health() {
    for (script, health, said) in [
        ("echo out; echo err >&2", Health::Passing, "out\nerr\n"),
        ("echo one; exit 1", Health::Warning, "one\n"),
        ("exit 2", Health::Critical, ""),
        ("kill -9 $$", Health::Critical, ""),
    ] {
        let mut watched = Watched::new();
        watched.runner.put(&shell(script));
        assert_eq!(watched.next().await, (health, said.to_owned()), "{script}");
    }
}

#[tokio::test]
async fn a_program_that_does_not_end_is_stopped_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
    let mut watched = Watched::new();
    watched.runner.put(&shell(&script));
    let said = "Timed out (400ms) running check".to_owned();
    assert_eq!(watched.next().await, (Health::Critical, said));
    let child = std::fs::read_to_string(&pid).unwrap();
    let alive = || std::path::Path::new("/proc").join(child.trim()).join("fd/0").exists();
    let limit = Instant::now() + Duration::from_secs(10);
    while alive() {
        assert!(Instant::now() < limit, "the child lives");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn of_a_long_output_the_end_is_kept_and_its_length_told() {
    let mut check = shell("yes 0123456789 | head -1000; echo END");
    check.output_max = 15;
    let mut watched = Watched::new();
    watched.runner.put(&check);
    let (health, output) = watched.next().await;
    assert_eq!(health, Health::Passing);
    assert_eq!(output, "Captured 15 of 11004 bytes\n...\n0123456789\nEND\n");
    let app = App::start(vec![answer("200 OK", &"0123456789".repeat(1000))]).await;
    let mut check = http(app.url());
    check.output_max = 3;
    watched.runner.put(&check);
    assert!(watched.next().await.1.ends_with("200 OK Output: 789"));
}

#[tokio::test]
async fn who_takes_a_datagram_is_alive_whether_or_not_it_answers() {
    let quiet = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = quiet.local_addr().unwrap().to_string();
    let mut watched = Watched::new();
    watched.runner.put(&probe(Target::Udp { address: address.clone() }));
    let said = format!("UDP connect {address}: Success");
    assert_eq!(watched.next().await, (Health::Passing, said.clone()));
    let mut sent = [0; 64];
    let (count, from) = quiet.recv_from(&mut sent).await.unwrap();
    assert!(count > 0);
    quiet.send_to(b"yes", from).await.unwrap();
}

/// An app that speaks HTTP/2 and gives every request that answer: a body, and a status behind it.
async fn grpc_app(status: &'static str, framed: &'static [u8]) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut connection) = h2::server::handshake(stream).await else { continue };
            tokio::spawn(async move {
                while let Some(Ok((asked, mut respond))) = connection.accept().await {
                    assert_eq!(asked.uri().path(), "/grpc.health.v1.Health/Check");
                    let head = http::Response::builder().header("content-type", "application/grpc");
                    let mut body = respond.send_response(head.body(()).unwrap(), false).unwrap();
                    body.send_data(bytes::Bytes::from_static(framed), false).unwrap();
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("grpc-status", status.parse().unwrap());
                    trailers.insert("grpc-message", "why".parse().unwrap());
                    body.send_trailers(trailers).unwrap();
                }
            });
        }
    });
    addr
}

#[tokio::test]
async fn grpc_says_by_its_health_service_how_it_is() {
    let unwell = "gRPC application didn't report service healthy".to_owned();
    let missing = "rpc error: code = NotFound desc = why".to_owned();
    for (status, framed, health, said) in [
        ("0", &[0, 0, 0, 0, 2, 8, 1][..], Health::Passing, None),
        ("0", &[0, 0, 0, 0, 2, 8, 2], Health::Critical, Some(unwell.clone())),
        ("0", &[0, 0, 0, 0, 0], Health::Critical, Some(unwell)),
        ("5", &[], Health::Critical, Some(missing)),
    ] {
        let address = grpc_app(status, framed).await.to_string();
        let said = said.unwrap_or_else(|| format!("gRPC check {address}: success"));
        let mut watched = Watched::new();
        watched.runner.put(&probe(Target::Grpc { address, service: "a.B".into(), tls: None }));
        assert_eq!(watched.next().await, (health, said));
    }
}

#[tokio::test]
async fn a_ping_of_http2_is_acknowledged_by_who_lives() {
    let address = grpc_app("0", &[]).await.to_string();
    let mut watched = Watched::new();
    watched.runner.put(&probe(Target::H2Ping { address, tls: None }));
    let said = "HTTP2 ping was successful".to_owned();
    assert_eq!(watched.next().await, (Health::Passing, said));
}

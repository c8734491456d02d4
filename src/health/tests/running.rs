//! The runner against apps that answer, fail, hang and die.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::health::{Finding, Runner};
use crate::lifecycle::Life;
use crate::model::{CheckDef, CheckKind, Health};
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
    let kind = CheckKind::Http {
        url,
        method: String::new(),
        headers: BTreeMap::new(),
        body: String::new(),
        interval: INTERVAL,
        timeout: TIMEOUT,
        tls_skip_verify: false,
    };
    CheckDef::new("c", "c", kind)
}

fn tcp(address: String) -> CheckDef {
    CheckDef::new("c", "c", CheckKind::Tcp { address, interval: INTERVAL, timeout: TIMEOUT })
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
    if let CheckKind::Http { method, headers, body, .. } = &mut check.kind {
        *method = "post".to_owned();
        *body = "ping".to_owned();
        headers.insert("X-A".to_owned(), vec!["1".to_owned(), "2".to_owned()]);
        headers.insert("Host".to_owned(), vec!["some.host".to_owned()]);
    }
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
    for (url, why) in [
        (format!("http://{closed}/"), "refused"),
        (format!("https://{}/", plain.addr), "error"),
        ("nonsense".to_owned(), "builder error"),
    ] {
        let mut watched = Watched::new();
        watched.runner.put(&http(url));
        let (health, output) = watched.next().await;
        assert_eq!(health, Health::Critical);
        assert!(output.to_lowercase().contains(why), "{output}");
    }
}

#[tokio::test]
async fn rise_and_fall_are_counted_in_answers() {
    let ok = |body| answer("200 OK", body);
    let ill = |body| answer("500 Internal Server Error", body);
    let script =
        vec![ok("1"), ill("2"), ok("3"), ill("4"), ill("5"), ok("6"), ill("7"), ok("8"), ok("9")];
    let app = App::start(script).await;
    let mut check = http(app.url());
    check.rise = 2;
    check.fall = 2;
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
    check.fall = 3;
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
    check.fall = 3;
    let cut = INTERVAL * 4;
    if let CheckKind::Http { timeout, .. } = &mut check.kind {
        *timeout = cut;
    }
    let began = Instant::now();
    let mut watched = Watched::new();
    watched.runner.put(&check);
    let (health, output) = watched.next().await;
    assert_eq!(health, Health::Critical);
    assert!(output.ends_with("no answer within 200ms"), "{output}");
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

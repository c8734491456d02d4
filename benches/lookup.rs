//! Many blocking queries on an agent: how soon all are answered after a change, and what those that
//! wait for other services cost while services change.
//!
//! `scripts/bench-lookup` starts what is measured and runs this:
//! `cargo bench --bench lookup -- ADDRESS WAITERS SECONDS`. What it is at stands on its standard output;
//! with each line it waits for one on its standard input, so that whoever started it can look at
//! the server meanwhile. It speaks plain HTTP/1.1, one request to a connection, which it leaves open as
//! clients do.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

/// Connections that are being opened at once.
const OPENING: usize = 100;
/// The service that all wait for, and those that are waited for while others change.
const ONE: &str = "bench-one";
const OTHERS: usize = 1000;
/// Who changes, in how many steps a second, how many at a time: 1,000 changes a second.
const BUSY: usize = 100;
const TICKS: u32 = 20;
const AT_ONCE: usize = 50;
/// What a query needs to arrive and to begin to wait, after the last was sent.
const SETTLE: Duration = Duration::from_secs(3);
/// What has not come by then does not count any more.
const LATE: Duration = Duration::from_secs(60);

struct Answer {
    status: u16,
    index: u64,
    body: String,
}

fn main() -> anyhow::Result<()> {
    // Cargo passes flags of its own, and its tests nothing else.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let [address, waiters, seconds] = arguments.as_slice() else {
        println!("usage: lookup ADDRESS WAITERS SECONDS (scripts/bench-lookup does it)");
        return Ok(());
    };
    let (at, waiters, seconds) = (address.parse()?, waiters.parse()?, seconds.parse()?);
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        wake(at, waiters).await?;
        pass_by(at, waiters, seconds).await
    })
}

/// Says what comes next, and goes on when that was heard.
fn tell(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    let mut heard = String::new();
    ensure!(std::io::stdin().lock().read_line(&mut heard)? > 0, "nobody listens");
    Ok(())
}

/// All wait for one service, which then changes.
async fn wake(at: SocketAddr, waiters: usize) -> anyhow::Result<()> {
    change(at, &registration(ONE, 1)).await?;
    let path = format!("/v1/health/service/{ONE}");
    let index = ask(at, "GET", &path, "").await?.index;
    tell("alone")?;
    let path = format!("{path}?index={index}&wait=300s");
    let mut waiting = wait(at, (0..waiters).map(|_| path.clone())).await?;
    tell("waiting")?;
    let began = Instant::now();
    let changing = tokio::spawn(async move { change(at, &registration(ONE, 2)).await });
    let mut times = Vec::with_capacity(waiters);
    // To close them is work for both sides that nobody waits for.
    let mut open = Vec::with_capacity(waiters);
    while let Some(answered) = tokio::time::timeout(LATE, waiting.join_next()).await? {
        let (came, answer, stream) = answered??;
        open.push(stream);
        ensure!(answer.status == 200, "a query was answered with {}", answer.status);
        ensure!(answer.index > index && answer.body.contains("\"Port\":2"), "an old answer");
        times.push((came - began).as_secs_f64() * 1000.0);
    }
    changing.await??;
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    tell(&format!("woken {:.1} {:.1}", at(0.5), at(1.0)))
}

/// Others change, without and with those who wait for something else.
async fn pass_by(at: SocketAddr, waiters: usize, seconds: u32) -> anyhow::Result<()> {
    for first in (0..OTHERS).step_by(AT_ONCE) {
        let services = first..first + AT_ONCE;
        apply(at, services.map(|nth| step(&format!("bench-other-{nth}"), 1))).await?;
    }
    tell("quiet")?;
    let rate = churn(at, seconds, 0).await?;
    tell(&format!("changed {rate:.0}"))?;
    let mut paths = Vec::with_capacity(waiters);
    for nth in 0..OTHERS.min(waiters) {
        let path = format!("/v1/health/service/bench-other-{nth}");
        let index = ask(at, "GET", &path, "").await?.index;
        paths.push(format!("{path}?index={index}&wait=300s"));
    }
    let mut waiting = wait(at, paths.into_iter().cycle().take(waiters)).await?;
    tell("waiting")?;
    let rate = churn(at, seconds, 1).await?;
    let early = std::iter::from_fn(|| waiting.try_join_next()).count();
    tell(&format!("changed {rate:.0} {early}"))
}

/// Sends one request for each path, and returns once all may be taken to wait.
async fn wait(
    at: SocketAddr,
    paths: impl Iterator<Item = String>,
) -> anyhow::Result<JoinSet<anyhow::Result<(Instant, Answer, TcpStream)>>> {
    let (mut waiting, mut opening) = (JoinSet::new(), JoinSet::new());
    let mut paths = paths.peekable();
    while paths.peek().is_some() || !opening.is_empty() {
        while opening.len() < OPENING
            && let Some(path) = paths.next()
        {
            opening.spawn(async move { open(at, "GET", &path, "").await });
        }
        if let Some(opened) = opening.join_next().await {
            let mut stream = opened??;
            waiting.spawn(async move {
                let answer = read(&mut stream).await?;
                Ok((Instant::now(), answer, stream))
            });
        }
    }
    tokio::time::sleep(SETTLE).await;
    match waiting.try_join_next() {
        None => Ok(waiting),
        Some(answered) => {
            let answer = answered??.1;
            bail!("a query did not wait: {} {}", answer.status, answer.body)
        }
    }
}

/// Changes services for so long; how many a second it were.
async fn churn(at: SocketAddr, seconds: u32, round: usize) -> anyhow::Result<f64> {
    let began = Instant::now();
    for tick in 0..seconds * TICKS {
        let due = began + Duration::from_secs(1) * tick / TICKS;
        tokio::time::sleep_until(due.into()).await;
        let port = 1000 + 20_000 * round + tick as usize;
        let first = tick as usize * AT_ONCE % BUSY;
        let steps = (first..first + AT_ONCE).map(|nth| step(&format!("bench-busy-{nth}"), port));
        apply(at, steps).await?;
    }
    let changes = f64::from(seconds * TICKS) * AT_ONCE as f64;
    Ok(changes / began.elapsed().as_secs_f64().max(seconds.into()))
}

fn registration(service: &str, port: usize) -> String {
    format!(
        r#"{{"Node":"bench","Address":"10.9.0.1","SkipNodeUpdate":true,"Service":{{"Service":"{service}","Port":{port}}}}}"#
    )
}

async fn change(at: SocketAddr, body: &str) -> anyhow::Result<()> {
    let answer = ask(at, "PUT", "/v1/catalog/register", body).await?;
    ensure!(answer.status == 200, "register: {} {}", answer.status, answer.body);
    Ok(())
}

fn step(service: &str, port: usize) -> String {
    format!(
        r#"{{"Service":{{"Verb":"set","Node":"bench","Service":{{"ID":"{service}","Service":"{service}","Port":{port}}}}}}}"#
    )
}

async fn apply(at: SocketAddr, steps: impl Iterator<Item = String>) -> anyhow::Result<()> {
    let body = format!("[{}]", steps.collect::<Vec<_>>().join(","));
    let answer = ask(at, "PUT", "/v1/txn", &body).await?;
    ensure!(answer.status == 200, "txn: {} {}", answer.status, answer.body);
    Ok(())
}

async fn ask(at: SocketAddr, method: &str, path: &str, body: &str) -> anyhow::Result<Answer> {
    read(&mut open(at, method, path, body).await?).await
}

async fn open(at: SocketAddr, method: &str, path: &str, body: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(at).await.context("a connection")?;
    stream.set_nodelay(true)?;
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {at}\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

async fn read(stream: &mut TcpStream) -> anyhow::Result<Answer> {
    let mut all = Vec::with_capacity(2048);
    loop {
        ensure!(stream.read_buf(&mut all).await? > 0, "the connection ended before the answer");
        if let Some(answer) = whole(&all)? {
            return Ok(answer);
        }
    }
}

/// None: there is more to come. What came in chunks keeps their sizes.
fn whole(all: &[u8]) -> anyhow::Result<Option<Answer>> {
    let text = String::from_utf8_lossy(all);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    let header = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    };
    let complete = match header("content-length") {
        Some(length) => body.len() >= length.parse()?,
        None => body.ends_with("0\r\n\r\n"),
    };
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let index = header("x-consul-index").and_then(|index| index.parse().ok()).unwrap_or_default();
    Ok(complete.then(|| Answer { status, index, body: body.to_owned() }))
}

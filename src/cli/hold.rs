//! Runs a command while a place in a queue is among the first: what locks and elections are made
//! of. The places are keys `NAME/LEASE` that hang on leases, as etcd's clients have them, so these
//! keep out whoever asks by `etcdctl lock NAME`, too.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::api::{Api, ApiArgs, escape_path};
use super::{Exit, Failure, Result, ended_with};

/// Between two tries to reach the agent.
const RETRY: Duration = Duration::from_millis(500);
/// How long one question about the queue waits for a change.
const WAIT: &str = "20s";
/// How long giving a place up may take; its lease ends anyway.
const LEAVE: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub(super) struct HoldArgs {
    /// How long the place is kept when this command can renew it no more: at least 2s
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// How long the command has to end after SIGTERM before it is killed
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    grace: Duration,
    #[command(flatten)]
    api: ApiArgs,
    /// The command, which finds its fencing token in REMORA_FENCE
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// What is asked for.
pub(super) struct Wish<'a> {
    pub(super) name: &'a str,
    /// What stands in the place's key.
    pub(super) value: &'a str,
    /// How many hold at the same time.
    pub(super) slots: u32,
    pub(super) args: &'a HoldArgs,
}

/// Waits for its turn, runs the command, gives the turn up. A lease that is lost ends the command.
pub(super) fn run(wish: &Wish<'_>) -> Result {
    if wish.name.is_empty() {
        return Err(Failure::usage(anyhow!("a name must not be empty")));
    }
    let api = wish.args.api.open()?;
    api.block_on(async {
        let lease = Lease::grant(&api, wish.args.ttl).await?;
        let held = hold(&api, wish, &lease).await;
        let _ = timeout(LEAVE, lease.revoke()).await;
        held
    })
}

async fn hold(api: &Api, wish: &Wish<'_>, lease: &Lease<'_>) -> Result {
    let mut ended = Ended::listen()?;
    let alive = lease.keep_alive();
    tokio::pin!(alive);
    let fence = tokio::select! {
        fence = come(api, wish, lease) => fence?,
        lost = &mut alive => return Err(lost.into()),
        signal = ended.next() => return Err(killed(signal)),
    };
    let key = lease.key(wish.name);
    let (program, arguments) = wish.args.command.split_first().context("no command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .env("REMORA_FENCE", fence.to_string())
        .env("REMORA_KEY", key)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {program:?}"))?;
    loop {
        tokio::select! {
            status = child.wait() => return ended_with(status?),
            signal = ended.next() => tell(&child, signal),
            lost = &mut alive => {
                stop(&mut child, wish.args.grace).await;
                return Err(lost.into());
            }
        }
    }
}

fn killed(signal: Signal) -> Failure {
    let error = anyhow!("{signal:?} came before the turn did");
    Failure { exit: Exit::Failed, error }
}

fn tell(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if let Some(pid) = pid {
        // It may have ended just now.
        let _ = kill_process_group(pid, signal);
    }
}

/// Asks the command and its children to end, then makes them.
async fn stop(child: &mut Child, grace: Duration) {
    tell(child, Signal::TERM);
    if timeout(grace, child.wait()).await.is_err() {
        tell(child, Signal::KILL);
        let _ = child.wait().await;
    }
}

/// Signals that mean the command.
struct Ended {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Ended {
    fn listen() -> Result<Ended> {
        Ok(Ended {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hang_up.recv() => Signal::HUP,
        }
    }
}

/// Queues, and returns the fencing token once the place is among the first.
async fn come(api: &Api, wish: &Wish<'_>, lease: &Lease<'_>) -> Result<u64> {
    let key = lease.key(wish.name);
    let put = json!({
        "key": STANDARD.encode(&key),
        "value": STANDARD.encode(wish.value),
        "lease": lease.id,
    });
    post::<Value>(api, "/v3/kv/put", &put).await?;
    let folder = format!("/v1/kv/{}/", escape_path(wish.name));
    let mut index = 0;
    loop {
        let query = format!("{folder}?recurse&consistent&index={index}&wait={WAIT}");
        let reply = api.send(Method::GET, &query, Vec::new()).await?;
        if reply.status != StatusCode::NOT_FOUND {
            index = reply.index.unwrap_or(0);
            let mut places: Vec<Place> = reply.success()?.json()?;
            places.sort_by_key(|place| place.create_index);
            let mine = places.iter().position(|place| place.key == key);
            match mine.and_then(|at| Some((at, places.get(at)?.create_index))) {
                Some((at, created)) if at < wish.slots as usize => return Ok(created),
                Some(_) => continue,
                None => {}
            }
        }
        return Err(lost().into());
    }
}

/// A key of the queue, as `/v1/kv` lists it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Place {
    key: String,
    create_index: u64,
}

fn lost() -> anyhow::Error {
    anyhow!("the lease was lost: somebody else may have its turn now")
}

struct Lease<'a> {
    api: &'a Api,
    id: i64,
    ttl: Duration,
    /// When it was granted, or before.
    since: Instant,
}

impl Lease<'_> {
    async fn grant(api: &Api, ttl: Duration) -> Result<Lease<'_>> {
        #[derive(Deserialize)]
        struct Granted {
            #[serde(rename = "ID")]
            id: String,
            #[serde(rename = "TTL")]
            ttl: String,
        }
        let since = Instant::now();
        let wanted = json!({"TTL": ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)});
        let granted: Granted = post(api, "/v3/lease/grant", &wanted).await?;
        let (id, ttl) = (granted.id.parse()?, Duration::from_secs(granted.ttl.parse()?));
        Ok(Lease { api, id, ttl, since })
    }

    /// Of the place in the queue of that name.
    fn key(&self, name: &str) -> String {
        format!("{name}/{:x}", self.id)
    }

    /// Returns when it is gone, or cannot be told from one that is.
    async fn keep_alive(&self) -> anyhow::Error {
        let mut until = self.since + self.ttl;
        loop {
            sleep(self.ttl / 3).await;
            loop {
                let sent = Instant::now();
                match timeout_at(until, self.renew()).await {
                    Ok(Ok(true)) => {
                        until = sent + self.ttl;
                        break;
                    }
                    Ok(Ok(false)) | Err(_) => return lost(),
                    Ok(Err(failure)) if sent >= until => return failure.error.context(lost()),
                    Ok(Err(_)) => sleep(RETRY.min(until - sent)).await,
                }
            }
        }
    }

    /// Whether it still lives.
    async fn renew(&self) -> Result<bool> {
        let alive: Value = post(self.api, "/v3/lease/keepalive", &json!({"ID": self.id})).await?;
        Ok(alive["result"]["TTL"].is_string())
    }

    async fn revoke(&self) -> Result {
        post::<Value>(self.api, "/v3/lease/revoke", &json!({"ID": self.id})).await.map(|_| ())
    }
}

async fn post<T: serde::de::DeserializeOwned>(api: &Api, path: &str, body: &Value) -> Result<T> {
    api.send(Method::POST, path, body.to_string().into_bytes()).await?.success()?.json()
}

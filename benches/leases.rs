//! Keeps leases alive through two servers that run in this process, joined to a leader elsewhere.
//!
//! `scripts/bench-edges` starts the leader, runs this and looks at what it costs the leader:
//! `cargo bench --bench leases -- JOIN BIND BIND LEASES SECONDS`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt, stream};
use remora::cluster::{self, Alive, Beat, Cluster, Config, RoleWish};
use remora::identity::JoinToken;
use remora::lifecycle::Life;
use remora::model::{LeaseId, NodeName};
use remora::state::Command;
use remora::telemetry::Metrics;
use tokio::time::sleep;

const TTL: Duration = Duration::from_secs(10);
/// Grants under way at once.
const GRANTS: usize = 64;

#[derive(Default)]
struct Tally {
    alive: AtomicU64,
    failed: AtomicU64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Cargo passes flags of its own, and its tests nothing else.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let [join, one, other, leases, seconds] = arguments.as_slice() else {
        println!("usage: leases JOIN BIND BIND LEASES SECONDS (scripts/bench-edges does it)");
        return Ok(());
    };
    let (leases, seconds): (i64, u64) = (leases.parse()?, seconds.parse()?);
    let dir = tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("target"))?;
    let life = Life::default();
    let mut servers = Vec::new();
    for (bind, name) in [(one, "leases-1"), (other, "leases-2")] {
        servers.push(server(name, bind.parse()?, join, dir.path(), &life).await?);
    }
    let tally = Arc::new(Tally::default());
    let granted = stream::iter(1..=leases).map(|id| {
        let server = if id % 2 == 0 { &servers[0] } else { &servers[1] };
        grant(server, LeaseId(id), tally.clone())
    });
    granted.buffer_unordered(GRANTS).try_collect::<Vec<()>>().await?;
    // By then each has beaten at a time of its own.
    sleep(TTL).await;
    tally.alive.store(0, Ordering::Relaxed);
    println!("ready");
    sleep(Duration::from_secs(seconds)).await;
    let kept = tally.alive.load(Ordering::Relaxed) / seconds;
    println!("{kept} {}", tally.failed.load(Ordering::Relaxed));
    life.shutdown.begin();
    life.tasks.join(TTL).await;
    Ok(())
}

/// A server that votes beside the leader.
async fn server(
    name: &str,
    bind: SocketAddr,
    join: &str,
    dir: &Path,
    life: &Life,
) -> anyhow::Result<Cluster> {
    let mut config = Config::new(NodeName::new(name)?, Some(dir.join(name)));
    config.role = RoleWish::Server;
    (config.bind, config.advertise) = (bind, bind);
    config.join = vec![join.to_owned()];
    let token = std::env::var("REMORA_JOIN_TOKEN").context("REMORA_JOIN_TOKEN lets it in")?;
    config.token = Some(JoinToken::parse(token.trim())?);
    let cluster = cluster::start(config, life.clone(), &Metrics::default()).await?;
    for _ in 0..600 {
        let standing = cluster.standing();
        if standing.synced && standing.voters.contains(&standing.id) {
            return Ok(cluster);
        }
        sleep(Duration::from_millis(50)).await;
    }
    bail!("{name} does not vote: {:?}", cluster.standing())
}

/// Grants a lease and keeps it alive from now on, three times in its TTL.
async fn grant(server: &Cluster, id: LeaseId, tally: Arc<Tally>) -> anyhow::Result<()> {
    server.propose(Command::LeaseGrant { id, ttl: TTL }).await.context("granting a lease")?;
    let server = server.clone();
    tokio::spawn(async move {
        sleep(TTL.mul_f64(rand::random_range(0.0..0.3))).await;
        loop {
            match server.keep_alive(Beat::Lease(id)).await {
                Ok(Alive::For(_)) => tally.alive.fetch_add(1, Ordering::Relaxed),
                Ok(Alive::Gone) | Err(_) => tally.failed.fetch_add(1, Ordering::Relaxed),
            };
            sleep(TTL / 3).await;
        }
    });
    Ok(())
}

//! What this agent promised to run: diff with the catalog, register, heartbeat, withdraw.

mod alias;
mod clockwork;
mod config;
mod configure;
mod diff;
mod error;
mod flight;
mod handle;
mod heartbeat;
mod meters;
mod naming;
mod plan;
mod promise;
mod resting;
mod validate;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use crate::cluster::Cluster;
use crate::health::Runner;
use crate::lifecycle::Life;
use crate::model::limits;
use crate::telemetry::Metrics;

pub use config::Config;
pub use error::PresenceError;
pub use handle::Presence;

/// Registers this agent's node and its configured services as soon as the cluster is there, and
/// keeps them true until `withdraw` or the shutdown. Opens `Gate::Registered`.
pub fn start(
    config: Config,
    cluster: Cluster,
    life: Life,
    metrics: &Metrics,
) -> Result<Presence, PresenceError> {
    let presence_ttl = config.presence_ttl;
    let promise = config.promise()?;
    let (runner, findings) = Runner::new(&life, metrics)?;
    let (requests, received) = mpsc::channel(limits::PRESENCE_QUEUE);
    let gone = Arc::new(Notify::new());
    // The heart stops with the worker: after a withdrawal nothing may bring the node back.
    let heart = Life { shutdown: life.shutdown.child(), ..life.clone() };
    let meters = meters::Meters::new(metrics);
    let pulse = heartbeat::Pulse { gone: gone.clone(), missed: meters.missed_beats.clone() };
    let beats = heartbeat::beat(cluster.clone(), heart.clone(), presence_ttl, pulse);
    let resting = resting::Resting::default();
    let inputs = worker::Inputs { requests: received, findings, gone };
    let worker =
        worker::Worker::new(cluster, life.clone(), promise, runner, (meters, resting.clone()));
    life.tasks.spawn("presence-heartbeat", beats);
    life.tasks.spawn("presence", async move {
        worker.run(inputs).await;
        heart.shutdown.begin();
    });
    Ok(Presence::new(requests, resting))
}

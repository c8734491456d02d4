//! Says that this agent lives, a third of its TTL apart, and notices when nobody believed it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::cluster::{Alive, Beat, Cluster};
use crate::lifecycle::{Backoff, Level, Life};
use crate::telemetry::Counter;

const SUBJECT: &str = "presence/heartbeat";

pub(super) struct Pulse {
    /// Told when the leader counts this agent as dead.
    pub(super) gone: Arc<Notify>,
    pub(super) missed: Counter,
}

/// Beats until the shutdown.
pub(super) async fn beat(cluster: Cluster, life: Life, ttl: Duration, pulse: Pulse) {
    let pace = ttl / 3;
    let mut backoff = Backoff::new((pace / 8).min(Duration::from_secs(1)), pace);
    let mut wait = pace;
    while life.shutdown.or(tokio::time::sleep(wait)).await.is_some() {
        let asked = tokio::time::timeout(pace, cluster.keep_alive(Beat::Presence));
        let Some(answer) = life.shutdown.or(asked).await else { return };
        wait = match answer {
            Ok(Ok(Alive::For(_))) => {
                life.board.clear(SUBJECT);
                backoff.reset();
                pace
            }
            Ok(Ok(Alive::Gone)) => {
                pulse.gone.notify_one();
                backoff.next_delay()
            }
            Ok(Err(error)) => {
                pulse.missed.inc();
                life.board.set(SUBJECT, Level::Warning, error.to_string());
                backoff.next_delay()
            }
            Err(_) => {
                let text = format!("no answer within {}", humantime::format_duration(pace));
                pulse.missed.inc();
                life.board.set(SUBJECT, Level::Warning, text);
                backoff.next_delay()
            }
        };
    }
}

//! Keeps this agent's certificate fresh, and cuts the connections of those who are members no more.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::seq::SliceRandom;
use tokio::time::sleep;

use crate::lifecycle::{Backoff, Level, Life, chance};
use crate::model::Role;
use crate::net::peer::{Guard, Links};
use crate::replica::{Replica, Topic};
use crate::telemetry::{Gauge, Metrics};

use super::badge::Badge;
use super::entrance::Rejection;
use super::joining::ask_anew;

const SUBJECT: &str = "cluster/certificate";
/// How often the clock is looked at: it may jump.
const LOOK: Duration = Duration::from_secs(10);
/// After a change of the members the next is looked at this much later.
const PACE: Duration = Duration::from_millis(100);

pub(super) struct Renewal {
    pub badge: Arc<Badge>,
    pub guard: Guard,
    pub links: Links,
    pub replica: Replica,
    pub life: Life,
}

impl Renewal {
    pub fn spawn(self, metrics: &Metrics) {
        let left: Gauge = metrics.register(
            "cluster_certificate_seconds",
            "Until this agent's certificate ends; negative once it has",
            Gauge::default(),
        );
        let Life { tasks, shutdown, .. } = self.life.clone();
        let (guard, replica, badge) =
            (self.guard.clone(), self.replica.clone(), self.badge.clone());
        let stop = shutdown.clone();
        tasks.spawn("members' certificates", async move {
            stop.or(recheck(&guard, &replica, &badge)).await;
        });
        tasks.spawn("own certificate", async move {
            shutdown.or(self.run(&left)).await;
        });
    }

    async fn run(&self, left: &Gauge) {
        let mut dice: f64 = chance::random();
        let pause = self.badge.lifetimes().leaf / 50;
        let mut backoff = Backoff::new(pause.min(Duration::from_secs(1)), pause);
        let mut wait = Duration::ZERO;
        loop {
            sleep(wait).await;
            left.set(seconds_left(self.badge.ends(), self.badge.now()));
            if !self.badge.is_due(dice) {
                wait = pause.min(LOOK);
                continue;
            }
            match self.renew().await {
                Ok(()) => {
                    tracing::info!("this agent's certificate was renewed");
                    self.life.board.clear(SUBJECT);
                    backoff.reset();
                    dice = chance::random();
                    wait = Duration::ZERO;
                }
                Err(why) => {
                    tracing::warn!(why, "this agent's certificate could not be renewed yet");
                    self.life.board.set(SUBJECT, Level::Warning, format!("not renewed: {why}"));
                    wait = backoff.next_delay();
                }
            }
        }
    }

    async fn renew(&self) -> Result<(), String> {
        if self.badge.sign_own().map_err(|error| error.to_string())? {
            return Ok(());
        }
        let state = self.replica.snapshot();
        let mut servers: Vec<_> =
            state.members().filter(|m| m.role == Role::Server).map(|m| m.peer_addr).collect();
        servers.shuffle(&mut chance::Dice);
        let mut last = "no server is known".to_owned();
        for addr in servers {
            match ask_anew(&self.badge, &self.links, addr).await {
                Ok(()) => return Ok(()),
                Err(Rejection::NotYet(why) | Rejection::Refused(why)) => last = why,
            }
        }
        Err(last)
    }
}

fn seconds_left(ends: Option<SystemTime>, now: SystemTime) -> i64 {
    let Some(ends) = ends else { return 0 };
    let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match ends.duration_since(now) {
        Ok(left) => seconds(left),
        Err(over) => -seconds(over.duration()),
    }
}

/// Who was retired is cut off at once, in both directions.
async fn recheck(guard: &Guard, replica: &Replica, badge: &Badge) {
    let mut watch = replica.watch([Topic::Members]);
    loop {
        guard.recheck();
        if let Err(error) = badge.heed(&replica.snapshot()) {
            tracing::error!(%error, "the founding key could not be ended here");
        }
        watch.changed().await;
        sleep(PACE).await;
    }
}

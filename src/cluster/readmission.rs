//! Has an agent let in anew whose certificate is not taken any more: after a long silence.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::lifecycle::{Backoff, Board, Level};
use crate::model::Role;
use crate::net::peer::Links;
use crate::replica::Replica;
use crate::state::Admission;

use super::badge::Badge;
use super::edge::Edge;
use super::entrance::Rejection;
use super::joining::ask_in;

const SUBJECT: &str = "cluster/admission";

pub(super) struct Readmission {
    pub edge: Arc<Edge>,
    pub badge: Arc<Badge>,
    pub links: Links,
    pub replica: Replica,
    pub join: Vec<String>,
    pub admission: Admission,
    pub board: Board,
}

impl Readmission {
    pub async fn run(self) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            self.badge.unwelcome().await;
            match self.ask_around().await {
                Ok(()) => {
                    tracing::info!(id = %self.edge.id(), "let in again");
                    self.board.clear(SUBJECT);
                    backoff.reset();
                }
                Err(why) => {
                    self.board.set(SUBJECT, Level::Warning, format!("not let in again: {why}"));
                    sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    /// Asks the servers that are known, and whoever is behind the names in `join`.
    async fn ask_around(&self) -> Result<(), String> {
        let state = self.replica.snapshot();
        let servers = state.members().filter(|member| member.role == Role::Server);
        let mut addrs: Vec<_> = servers.map(|member| member.peer_addr).collect();
        for name in &self.join {
            addrs.extend(self.links.resolve(name).await.unwrap_or_default());
        }
        let mut last = "nobody is known to ask".to_owned();
        for addr in addrs {
            match ask_in(&self.badge, &self.links, addr, &self.admission).await {
                Ok(admitted) => {
                    self.edge.is_now(admitted.node);
                    return Ok(());
                }
                Err(Rejection::NotYet(why) | Rejection::Refused(why)) => last = why,
            }
        }
        Err(last)
    }
}

//! From a wish for an instance to a connection: the next one is tried when one cannot be reached.

use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;

use crate::model::limits;

use super::failure::{Attempt, Failure};
use super::target::Target;
use super::upstream::{Picked, Upstream};

/// The instances that were tried for one request or connection, and why they were given up.
#[derive(Default)]
pub(super) struct Tried {
    targets: Vec<Arc<Target>>,
    attempts: Vec<Attempt>,
}

impl Tried {
    /// The next instance to try; an error when there is none left or enough were tried.
    pub(super) fn next(&mut self, upstream: &Upstream) -> Result<Picked, Failure> {
        if self.targets.len() < limits::PROXY_TRIES
            && let Some(picked) = upstream.pick(&self.targets)?
        {
            return Ok(picked);
        }
        Err(Failure::Unreachable(std::mem::take(&mut self.attempts)))
    }

    /// Connects to an instance. A failure is remembered, and nothing was sent.
    pub(super) async fn connect(
        &mut self,
        upstream: &Upstream,
        picked: &Picked,
    ) -> Option<TcpStream> {
        let target = &picked.target;
        match target.connect(upstream.config.timeouts.connect).await {
            Ok(stream) => Some(stream),
            Err(reason) => {
                target.load.observe_failure(upstream.now());
                upstream.meter.connect_failures.inc();
                let attempt = Attempt { address: target.address(), reason };
                tracing::debug!(service = %upstream.label, %attempt, "cannot connect");
                self.targets.push(target.clone());
                self.attempts.push(attempt);
                None
            }
        }
    }

    /// A connection to one of the instances; its latency counts for the balance.
    pub(super) async fn connection(
        &mut self,
        upstream: &Upstream,
    ) -> Result<(Picked, TcpStream), Failure> {
        loop {
            let picked = self.next(upstream)?;
            let begun = Instant::now();
            if let Some(stream) = self.connect(upstream, &picked).await {
                picked.target.load.observe(upstream.now(), begun.elapsed());
                return Ok((picked, stream));
            }
        }
    }
}

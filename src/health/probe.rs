//! One probe of an app: what is asked, and what the answer says of its health.

use std::time::Duration;

use crate::model::{CheckDef, CheckKind, Health, Target};

use super::http::Clients;
use super::{HealthError, connect, exec, http, http2};

/// A check that this agent has to run itself.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    target: Target,
    interval: Duration,
    timeout: Duration,
    /// Bytes of an answer that are kept.
    keep: usize,
}

impl Probe {
    /// None for kinds that nobody probes.
    pub(super) fn of(def: &CheckDef) -> Option<Probe> {
        let CheckKind::Probe { target, interval, timeout } = &def.kind else { return None };
        Some(Probe {
            target: (**target).clone(),
            interval: *interval,
            timeout: *timeout,
            keep: def.output_max,
        })
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// What is said of a target that took longer than its timeout.
    fn late(&self) -> String {
        match &self.target {
            Target::Http(target) => http::failed(target, "no answer in time (the timeout is over)"),
            Target::Tcp { address, .. }
            | Target::Udp { address }
            | Target::H2Ping { address, .. } => {
                format!("dial tcp {address}: i/o timeout")
            }
            Target::Grpc { .. } => {
                "rpc error: code = DeadlineExceeded desc = context deadline exceeded".to_owned()
            }
            Target::Exec { .. } => exec::timed_out(self.timeout),
        }
    }
}

/// What probes share.
#[derive(Clone)]
pub(super) struct Prober {
    http: Clients,
    tls: connect::Tls,
}

impl Prober {
    pub(super) fn new() -> Result<Prober, HealthError> {
        let tls = connect::Tls::new().map_err(|error| HealthError::Client(error.to_string()))?;
        Ok(Prober { http: Clients::new(&tls)?, tls })
    }

    /// Ends within the probe's timeout.
    pub(super) async fn run(&self, probe: &Probe) -> (Health, String) {
        // A program is stopped with all its children, which takes more than to look away.
        if let Target::Exec { argv } = &probe.target {
            return exec::run(argv, probe.timeout, probe.keep).await;
        }
        match tokio::time::timeout(probe.timeout, self.ask(probe)).await {
            Ok(Ok((health, output))) => (health, output),
            Ok(Err(output)) => (Health::Critical, output),
            Err(_) => (Health::Critical, probe.late()),
        }
    }

    async fn ask(&self, probe: &Probe) -> Result<(Health, String), String> {
        match &probe.target {
            Target::Http(target) => self.http.ask(target, probe.keep).await,
            Target::Tcp { address, tls } => {
                match tls {
                    None => drop(connect::tcp(address).await?),
                    Some(tls) => drop(self.tls.connect(address, tls, &[]).await?),
                }
                Ok((Health::Passing, format!("TCP connect {address}: Success")))
            }
            Target::Udp { address } => {
                connect::udp(address, probe.timeout).await?;
                Ok((Health::Passing, format!("UDP connect {address}: Success")))
            }
            Target::H2Ping { address, tls } => {
                http2::ping(&self.tls, address, tls.as_ref()).await?;
                Ok((Health::Passing, "HTTP2 ping was successful".to_owned()))
            }
            Target::Grpc { address, service, tls } => {
                http2::grpc(&self.tls, address, service, tls.as_ref()).await
            }
            Target::Exec { .. } => Err("a program is run, not asked".to_owned()),
        }
    }
}

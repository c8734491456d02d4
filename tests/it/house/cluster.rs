//! Several agents that form one cluster.

use std::time::Duration;

use super::agent::{Agent, AgentSpec};
use super::wait::eventually;

const SETTLE: Duration = Duration::from_secs(30);

pub struct Cluster {
    pub servers: Vec<Agent>,
}

impl Cluster {
    /// `size` servers, the first founding, until all of them vote.
    pub fn of(size: usize) -> Cluster {
        Cluster::with(size, |_, spec| spec)
    }

    /// The same, with a say in each server's config.
    pub fn with(size: usize, shape: impl Fn(usize, AgentSpec) -> AgentSpec) -> Cluster {
        let mut specs: Vec<AgentSpec> =
            (0..size).map(|i| AgentSpec::server(&format!("server-{i}"))).collect();
        let founder = specs[0].place.peer();
        for (i, spec) in specs.iter_mut().enumerate() {
            let join = if i == 0 { vec![] } else { vec![founder.clone()] };
            *spec = shape(i, spec.clone().joining(join));
        }
        let mut servers = Vec::new();
        for spec in specs {
            servers.push(Agent::start(spec));
        }
        let cluster = Cluster { servers };
        cluster.wait_voters(size);
        cluster
    }

    pub fn peers(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.spec.place.peer()).collect()
    }

    /// Waits until every running server sees `count` voters and one leader.
    pub fn wait_voters(&self, count: usize) {
        for server in &self.servers {
            let client = server.client();
            eventually(&format!("{} sees {count} voters", server.spec.name), SETTLE, || {
                let status = client.get("/status")?.json();
                let voters = status["voters"].as_array().map_or(0, Vec::len);
                let led = status["leader"].as_u64().is_some();
                if voters == count && led { Ok(()) } else { Err(status.to_string()) }
            });
        }
    }

    /// The position of the server that leads, as soon as one says so.
    pub fn leader(&self) -> usize {
        eventually("a leader", SETTLE, || {
            for (i, server) in self.servers.iter().enumerate() {
                if let Ok(answer) = server.client().get("/status")
                    && answer.status == 200
                    && answer.json()["raft"] == "leader"
                {
                    return Ok(i);
                }
            }
            Err("no server says that it leads".to_owned())
        })
    }
}

//! All agents of a run: one cluster, and whether it is well.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde_json::Value;

use super::load::{Load, Places};
use super::network::Network;
use super::node::{Duty, Node, Tokens};
use super::wait::eventually;

/// Until everything is as it should be, after the worst.
const SETTLE: Duration = Duration::from_secs(60);
const NAMES: [&str; 4] = ["server-1", "server-2", "server-3", "edge"];
pub const SERVERS: usize = 3;
pub const EDGE: usize = SERVERS;

pub struct Crew {
    pub network: Network,
    pub nodes: Vec<Node>,
    pub places: Places,
}

impl Crew {
    /// Three servers and an edge, started and settled.
    pub fn start(dir: &Path) -> (Crew, Load) {
        let network = Network::of(&NAMES, dir);
        let tokens = Tokens::offline();
        let nodes = network.hosts.iter().enumerate().map(|(i, host)| match i {
            0..SERVERS => Node::new(host, Duty::Server, &tokens, dir),
            _ => Node::new(host, Duty::Edge, &tokens, dir),
        });
        let mut nodes: Vec<Node> = nodes.collect();
        let last = nodes.remove(SERVERS - 1).on_small_disk();
        nodes.insert(SERVERS - 1, last);
        let places = Arc::new(RwLock::new(ips(&network)));
        let load = Load::new(places.clone());
        let mut crew = Crew { network, nodes, places };
        // Who has nobody to join founds a cluster.
        crew.nodes[0].start(crew.network.hosts[0].ip, &[]);
        eventually("the first server leads", SETTLE, || crew.status(&load, 0).map(drop));
        for i in 1..NAMES.len() {
            crew.launch(i);
        }
        crew.settle(&load);
        (crew, load)
    }

    pub fn servers(&self) -> std::ops::Range<usize> {
        0..SERVERS
    }

    /// The server whose disk can be filled.
    pub fn small_disk(&self) -> usize {
        SERVERS - 1
    }

    /// Starts an agent that does not run; the others are known to it by name.
    pub fn launch(&mut self, i: usize) {
        let others = NAMES[..SERVERS].iter().filter(|name| **name != NAMES[i]);
        let others: Vec<String> = others.map(|name| (*name).to_owned()).collect();
        self.nodes[i].start(self.network.hosts[i].ip, &others);
    }

    /// Gives everyone another address; nobody runs.
    pub fn move_all(&mut self) {
        self.network.move_all();
        *self.places.write().unwrap() = ips(&self.network);
    }

    /// `/status` of an agent that is ready.
    pub fn status(&self, load: &Load, i: usize) -> Result<Value, String> {
        let agent = load.field.authority(i);
        let asker = &load.field.asker;
        let ready = load.run(asker.get(&agent, "/readyz")).map_err(|why| why.to_string())?;
        ready.good().map_err(|why| format!("{}: {why}", self.nodes[i].name))?;
        let status = load.run(asker.get(&agent, "/status")).map_err(|why| why.to_string())?;
        status.good()
    }

    /// The server that leads, as soon as one says so.
    pub fn leader(&self, load: &Load) -> usize {
        eventually("a leader", SETTLE, || {
            let leads = |i: &usize| {
                self.nodes[*i].is_running()
                    && self.status(load, *i).is_ok_and(|status| status["raft"] == "leader")
            };
            self.servers().find(leads).ok_or_else(|| "no server says that it leads".to_owned())
        })
    }

    /// Waits until everyone is ready, agrees on one leader and the voters, and takes a write.
    pub fn settle(&self, load: &Load) {
        eventually("the cluster is well", SETTLE, || self.well(load));
    }

    fn well(&self, load: &Load) -> Result<(), String> {
        let mut ids = Vec::new();
        let mut views = Vec::new();
        for i in 0..self.nodes.len() {
            let status = self.status(load, i)?;
            if self.nodes[i].is_server() {
                ids.push(status["id"].as_u64().ok_or("no id")?);
                views.push((status["voters"].clone(), status["term"].clone()));
            }
            if status["leader"].is_null() {
                return Err(format!("{} has no leader", self.nodes[i].name));
            }
        }
        ids.sort_unstable();
        let voters = serde_json::json!(ids);
        match views.iter().find(|(seen, term)| *seen != voters || *term != views[0].1) {
            Some(odd) => Err(format!("a server sees {odd:?}, servers are {voters}")),
            None => self.last_writes(load),
        }
    }

    /// A write through every agent, at the first try.
    fn last_writes(&self, load: &Load) -> Result<(), String> {
        for i in 0..self.nodes.len() {
            let (agent, path) = (load.field.authority(i), format!("/v1/kv/last/{i}"));
            let answer = load.run(load.field.asker.put(&agent, &path, "last"));
            answer
                .map_err(|why| why.to_string())?
                .good()
                .map_err(|why| format!("{} takes no write: {why}", self.nodes[i].name))?;
        }
        Ok(())
    }

    /// The ends of all logs.
    pub fn logs(&self) -> String {
        self.nodes.iter().map(|node| node.tail() + "\n").collect()
    }
}

fn ips(network: &Network) -> Vec<Ipv4Addr> {
    network.hosts.iter().map(|host| host.ip).collect()
}

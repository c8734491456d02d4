//! The network on the stage: a bridge, a namespace per agent, names that move, links that are cut.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::stage::run;

const BRIDGE: &str = "bridge";
/// The clients stand on the bridge: no cut between agents cuts them off.
const CLIENTS: &str = "10.83.255.254/16";

/// What an agent's own packet filter drops: agents that it does not hear any more.
const FILTER: &str = "
table inet chaos {
    set unheard { type ipv4_addr; }
    chain input {
        type filter hook input priority 0; policy accept;
        ip saddr @unheard drop
    }
}
";

/// One agent's place: a network namespace with one interface on the bridge.
#[derive(Debug)]
pub struct Host {
    pub name: String,
    pub ip: Ipv4Addr,
    /// The namespace, as a file that `nsenter` takes.
    pub namespace: PathBuf,
}

pub struct Network {
    pub hosts: Vec<Host>,
    /// What `/etc/hosts` is on the stage.
    names: PathBuf,
    /// Counts how often everyone has moved.
    moves: u8,
}

impl Network {
    /// Hosts of these names, each able to reach all others.
    pub fn of(names: &[&str], dir: &Path) -> Network {
        let namespaces = dir.join("network");
        fs::create_dir_all(&namespaces).unwrap();
        let at = namespaces.to_str().unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=1m", "network", at]);
        run("ip", &["link", "set", "lo", "up"]);
        run("ip", &["link", "add", BRIDGE, "type", "bridge"]);
        run("ip", &["address", "add", CLIENTS, "dev", BRIDGE]);
        run("ip", &["link", "set", BRIDGE, "up"]);
        let hosts = names.iter().map(|name| plug_in(name, &namespaces)).collect();
        let file = dir.join("hosts");
        fs::write(&file, "").unwrap();
        run("mount", &["--bind", file.to_str().unwrap(), "/etc/hosts"]);
        let mut network = Network { hosts, names: file, moves: 0 };
        network.address();
        network
    }

    /// Gives every host an address that nobody has had, under its old name.
    pub fn move_all(&mut self) {
        self.moves += 1;
        self.address();
    }

    fn address(&mut self) {
        let mut names = String::from("127.0.0.1 localhost\n");
        for (host, i) in self.hosts.iter_mut().zip(1..) {
            host.ip = Ipv4Addr::new(10, 83, self.moves, i);
            host.run("ip", &["address", "flush", "dev", "eth0"]);
            host.run("ip", &["address", "add", &format!("{}/16", host.ip), "dev", "eth0"]);
            names += &format!("{} {}\n", host.ip, host.name);
        }
        // In place: the mount is of this very file.
        fs::write(&self.names, names).unwrap();
    }

    /// From now on `to` hears nothing from `from`; what it sends still arrives.
    pub fn deafen(&self, to: usize, from: usize) {
        let element = format!("{{ {} }}", self.hosts[from].ip);
        self.hosts[to].run("nft", &["add", "element", "inet", "chaos", "unheard", &element]);
    }

    /// Neither hears the other.
    pub fn cut(&self, one: usize, other: usize) {
        self.deafen(one, other);
        self.deafen(other, one);
    }

    /// Everyone hears everyone.
    pub fn heal(&self) {
        for host in &self.hosts {
            host.run("nft", &["flush", "set", "inet", "chaos", "unheard"]);
        }
    }
}

impl Host {
    /// Runs a program to its end inside this host's network.
    fn run(&self, program: &str, args: &[&str]) -> String {
        let namespace = format!("--net={}", self.namespace.display());
        run("nsenter", &[&[namespace.as_str(), "--", program], args].concat())
    }
}

fn plug_in(name: &str, namespaces: &Path) -> Host {
    let namespace = namespaces.join(name);
    fs::write(&namespace, "").unwrap();
    let file = namespace.to_str().unwrap();
    run("unshare", &[&format!("--net={file}"), "--", "true"]);
    run("ip", &["link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", file]);
    run("ip", &["link", "set", name, "master", BRIDGE, "up"]);
    let host = Host { name: name.to_owned(), ip: Ipv4Addr::UNSPECIFIED, namespace };
    host.run("ip", &["link", "set", "lo", "up"]);
    host.run("ip", &["link", "set", "eth0", "up"]);
    host.run("nft", &[FILTER]);
    host
}

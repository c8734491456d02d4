//! A real etcd process beside the agents.

pub mod event;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::house::{Agent, Client, Place, eventually};

const START: Duration = Duration::from_secs(20);

pub struct Etcd {
    child: Child,
    dir: TempDir,
    pub place: Place,
}

/// Names another etcd than the installed one.
const PROGRAM: &str = "AGAINST_ETCD";

pub fn program() -> PathBuf {
    std::env::var_os(PROGRAM).map_or_else(|| "etcd".into(), PathBuf::from)
}

/// As in 3.4.
pub fn version() -> String {
    let told = Command::new(program()).arg("--version").output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let version = told.lines().find_map(|line| line.strip_prefix("etcd Version: ")).unwrap();
    version.rsplit_once('.').unwrap().0.to_owned()
}

impl Etcd {
    pub fn start() -> Etcd {
        let place = Place::new();
        let dir = tempfile::tempdir_in(Agent::memory()).unwrap();
        let client = format!("http://{}:2379", place.0);
        let peer = format!("http://{}:2380", place.0);
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut etcd = Command::new(program());
        etcd.arg("--data-dir").arg(dir.path().join("data"));
        etcd.args(["--name", "server", "--listen-client-urls", &client]);
        etcd.args(["--advertise-client-urls", &client, "--listen-peer-urls", &peer]);
        etcd.args(["--initial-advertise-peer-urls", &peer]);
        etcd.args(["--initial-cluster", &format!("server={peer}")]);
        etcd.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let etcd = Etcd { child: etcd.spawn().unwrap(), dir, place };
        let health = Client::new(&etcd.authority());
        eventually("etcd is healthy", START, || {
            let answer = health.get("/health").map_err(|error| etcd.complain(&error))?;
            if answer.status == 200 { Ok(()) } else { Err(etcd.complain(&answer.text())) }
        });
        etcd
    }

    pub fn authority(&self) -> String {
        format!("{}:2379", self.place.0)
    }

    /// The end of the log of one that runs no more.
    pub fn has_ended(&mut self) -> Option<String> {
        let ended = self.child.try_wait().unwrap();
        let log = ended.map(|status| self.complain(&status.to_string()))?;
        let lines: Vec<&str> = log.lines().collect();
        Some(lines[lines.len().saturating_sub(60)..].join("\n"))
    }

    fn complain(&self, why: &str) -> String {
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        format!("{why}\n{log}")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

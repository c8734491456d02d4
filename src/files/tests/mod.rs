//! Against a cluster of one and directories of their own.

mod command;
mod damper;
mod layout;
mod place;
mod prefix;
mod reload;
mod start;
mod template;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Argv, Config, PrefixSpec, TemplateSource, TemplateSpec, Wait, start};
use crate::cluster::Cluster;
use crate::lifecycle::{Gate, Level, Life};
use crate::model::NodeName;
use crate::state::{Command, KvCommand};
use crate::telemetry::Metrics;

/// A directory, a cluster, and the agent's life, which `restart` begins anew.
struct World {
    dir: TempDir,
    cluster: Cluster,
    life: Life,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().expect("a directory");
        let cluster = Cluster::solo(NodeName::new("n1").expect("a name"));
        World { dir, cluster, life: Life::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    async fn put(&self, key: &str, value: impl AsRef<[u8]>) {
        let key = key.as_bytes().to_vec().into();
        let value = value.as_ref().to_vec().into();
        let set = KvCommand::Set { key, value, flags: 0, cas: None };
        self.cluster.propose(Command::Kv(set)).await.expect("applied");
    }

    async fn delete(&self, key: &str) {
        let key = key.as_bytes().to_vec().into();
        let delete = KvCommand::Delete { key, cas: None };
        self.cluster.propose(Command::Kv(delete)).await.expect("applied");
    }

    fn template(&self, contents: &str, destination: &str) -> TemplateSpec {
        TemplateSpec {
            source: TemplateSource::Contents(contents.to_owned()),
            destination: self.path(destination),
            mode: None,
            check: None,
            reload: None,
            wait: Wait::default(),
        }
    }

    fn prefix(&self, prefix: &str, directory: &str) -> PrefixSpec {
        PrefixSpec {
            prefix: prefix.to_owned(),
            directory: self.path(directory),
            mode: None,
            check: None,
            reload: None,
            wait: Wait::default(),
        }
    }

    fn start(&self, templates: Vec<TemplateSpec>, files: Vec<PrefixSpec>) {
        let config = Config { templates, files };
        start(config, &self.cluster, &self.life, &Metrics::default()).expect("started");
    }

    async fn rendered(&self) {
        let gate = self.life.gates.wait(Gate::Rendered);
        tokio::time::timeout(DEADLINE, gate).await.expect("everything is rendered");
    }

    async fn stop(&mut self) {
        self.life.shutdown.begin();
        assert!(self.life.tasks.join(DEADLINE).await, "all tasks end");
        self.life = Life::default();
    }

    /// Level and text of a file on the board.
    fn board(&self, name: &str) -> (Level, String) {
        let subject = format!("files/{}", self.path(name).display());
        self.board_at(&subject)
    }

    fn board_at(&self, subject: &str) -> (Level, String) {
        let entries = self.life.board.entries();
        let entry = entries.into_iter().find(|(of, _)| of == subject);
        entry.map_or((Level::Ok, String::new()), |(_, entry)| (entry.level, entry.text))
    }

    fn names_in(&self, directory: &str) -> Vec<String> {
        names_in(&self.path(directory))
    }

    fn lines_of(&self, name: &str) -> usize {
        self.read(name).lines().count()
    }

    /// A reload that leaves one line in `log`.
    fn logs_into(&self, log: &str) -> Argv {
        shell(&format!("echo reloaded >> {}", self.path(log).display()))
    }
}

const DEADLINE: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Argv {
    vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()]
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Waits for a condition, with a deadline.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

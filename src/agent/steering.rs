//! What becomes of a running agent: it is told to stop, it leaves, it looks at its config again.

use std::path::PathBuf;

use anyhow::Result;

use crate::lifecycle::{Level, Life, Order};

use super::Agent;
use super::config::{self, File};
use super::signals::{Signals, Told};

const SUBJECT: &str = "config";

/// The config that the agent was started with, and where it was read.
pub struct Source {
    /// None: every setting has its default, and there is nothing to read again.
    pub path: Option<PathBuf>,
    pub file: File,
}

impl Agent {
    /// Returns once the agent has to stop; an error is why it cannot go on.
    pub async fn until_over(&mut self, source: &Source) -> Result<()> {
        let mut signals = Signals::listen()?;
        let core = self.core.clone();
        loop {
            tokio::select! {
                told = signals.next() => match told {
                    Told::Stop => {
                        tracing::info!("told to stop");
                        return Ok(());
                    }
                    Told::Reload => {
                        if let Err(why) = self.reload(source).await {
                            tracing::error!("SIGHUP: nothing was reloaded: {why}");
                        }
                    }
                },
                why = failed(&core) => return Err(anyhow::Error::msg(why)),
                Some(given) = self.orders.recv() => match given.order {
                    Order::Reload => given.answer(self.reload(source).await),
                    Order::Leave => {
                        let left = self.leave().await;
                        let leaves = left.is_ok();
                        given.answer(left);
                        if leaves {
                            return Ok(());
                        }
                    }
                },
            }
        }
    }

    /// A server gives up its place where others hold the log, too, and only stops where none do.
    /// Any other agent takes its node out of the catalog.
    async fn leave(&mut self) -> Result<(), String> {
        tracing::info!("told to leave");
        // The node of a server that is taken out goes with it.
        let resigned = self.cluster.resign().await.map_err(|error| error.to_string())?;
        let follows = self.cluster.standing().role.follows();
        if follows {
            self.presence.leave().await.map_err(|error| error.to_string())?;
        }
        self.left = resigned || follows;
        Ok(())
    }

    /// Takes the services of the file in. What else has changed in it is said on the board: it is
    /// read at the start only.
    async fn reload(&self, source: &Source) -> Result<(), String> {
        let Some(path) = &source.path else { return Ok(()) };
        let file = config::load(path).map_err(|error| error.to_string())?;
        let services = file.services.iter().map(|s| (s.def.clone(), s.checks.clone())).collect();
        self.presence.configure(services).await.map_err(|error| error.to_string())?;
        tracing::info!(path = %path.display(), "the services of the config were taken in");
        match changed(&source.file, &file).join(", ") {
            none if none.is_empty() => self.core.board.clear(SUBJECT),
            keys => {
                let text = format!("{keys}: changed in the file, and read at the start only");
                tracing::warn!(path = %path.display(), "{text}");
                self.core.board.set(SUBJECT, Level::Warning, text);
            }
        }
        Ok(())
    }
}

/// Returns once the agent cannot go on by itself; why.
async fn failed(core: &Life) -> String {
    core.shutdown.begun().await;
    let entries = core.board.entries();
    let failed = entries.into_iter().find(|(_, entry)| entry.level == Level::Failed);
    failed.map_or("the agent has lost its place".to_owned(), |(_, entry)| entry.text)
}

/// The keys of the file, but for the services, that are not as they were.
fn changed(old: &File, new: &File) -> Vec<&'static str> {
    macro_rules! compare {
        ($($key:ident),+) => {
            [$((stringify!($key), format!("{:?}", old.$key) != format!("{:?}", new.$key))),+]
        };
    }
    let keys = compare!(
        node,
        data_dir,
        datacenter,
        meta,
        role,
        cluster,
        limits,
        sessions,
        acl,
        http,
        dns,
        exec_checks,
        upstreams,
        templates,
        files
    );
    keys.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_needs_a_restart_is_named() {
        let read = |text: &str| config::parse(Path::new("remora.yaml"), text).unwrap();
        let old = read("node: a\nservices: [{name: web}]\n");
        let new = read("node: a\nexec_checks: true\nhttp: {hosts: [x]}\nservices: [{name: db}]\n");
        assert_eq!(changed(&old, &new), ["http", "exec_checks"]);
        assert!(changed(&old, &old).is_empty());
    }
}

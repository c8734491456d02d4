//! What an agent that may become a server keeps of itself on disk while it looks for its place.

use std::sync::Arc;

use crate::identity::{Admitted, DataDir, Identity, Promise};
use crate::lifecycle::chance;
use crate::model::{NodeId, NodeName};
use crate::raft::{self, Disk};

use super::ClusterError;
use super::config::Config;
use super::founding::Candidate;
use super::ledger::Ledger;

/// The id that a cluster's founder has.
const FOUNDER: NodeId = NodeId(1);

pub(super) struct Papers {
    disk: Arc<dyn Disk>,
    files: DataDir,
    name: NodeName,
    identity: Option<Identity>,
}

impl Papers {
    /// None for an agent that cannot become a server.
    pub fn load(config: &Config) -> Result<Option<Papers>, ClusterError> {
        let Some(dir) = config.data_dir.clone().filter(|_| config.may_serve()) else {
            return Ok(None);
        };
        let (disk, name) = (config.seams.disk.clone(), config.name.clone());
        let files = DataDir::new(disk.clone(), dir);
        let identity = files.load_identity(&name)?;
        Ok(Some(Papers { disk, files, name, identity }))
    }

    pub fn admitted(&self) -> Option<Admitted> {
        self.identity.as_ref()?.admitted
    }

    /// Whether it has asked before to be a server.
    pub fn are_known(&self) -> bool {
        self.identity.is_some()
    }

    /// Why it can never found: it was a member, and its log is gone.
    pub fn loss(&self) -> Option<String> {
        let lost = self.identity.as_ref()?.lost?;
        let why = format!("the log of server {}, which this agent was, is lost", lost.node);
        Some(why)
    }

    /// Where others were when it was a member.
    pub fn peers(&self) -> Vec<String> {
        let peers = self.identity.iter().flat_map(|identity| &identity.peers);
        peers.map(ToString::to_string).collect()
    }

    /// Changes what is kept; durable when it returns.
    fn write(&mut self, change: impl FnOnce(&mut Identity)) -> Result<(), ClusterError> {
        let mut changed = match &self.identity {
            Some(identity) => identity.clone(),
            None => Identity::new(self.name.clone(), chance::random()),
        };
        change(&mut changed);
        if self.identity.as_ref() != Some(&changed) {
            self.files.store_identity(&changed)?;
            self.identity = Some(changed);
        }
        Ok(())
    }

    /// The nonce with which it asks to be let in; durable.
    pub fn nonce(&mut self) -> Result<u128, ClusterError> {
        self.write(|_| ())?;
        Ok(self.identity.as_ref().map_or(0, |identity| identity.nonce))
    }

    /// This agent as one of `expect` candidates; none if it founds alone, or never.
    pub fn candidate(&mut self, expect: u32) -> Result<Option<Candidate>, ClusterError> {
        if expect < 2 || self.loss().is_some() {
            return Ok(None);
        }
        let nonce = self.nonce()?;
        let promise = self.identity.as_ref().map(|identity| identity.promise.clone());
        let promise = promise.unwrap_or_default();
        Ok(Some(Candidate { name: self.name.clone(), nonce, expect, promise }))
    }

    pub fn promise(&mut self, promise: Promise) -> Result<(), ClusterError> {
        self.write(|identity| identity.promise = promise)
    }

    /// It has been let in. What is in the directory belongs to another life of this agent.
    pub fn admit(&mut self, admitted: Admitted) -> Result<(), ClusterError> {
        self.set_aside()?;
        self.write(|identity| {
            identity.admitted = Some(admitted);
            identity.lost = None;
            identity.log = None;
        })
    }

    /// It founds a cluster, whose authority is on disk already.
    pub fn found(&mut self, cluster: u128) -> Result<Admitted, ClusterError> {
        let admitted = Admitted { cluster, node: FOUNDER, founder: true };
        self.admit(admitted)?;
        Ok(admitted)
    }

    /// Its log is lost: it forgets that it was let in, before anything else of that life goes.
    pub fn forget(&mut self) -> Result<(), ClusterError> {
        self.write(|identity| identity.forget(chance::random()))?;
        Ok(self.files.forget_keys()?)
    }

    fn set_aside(&self) -> Result<(), ClusterError> {
        let dir = self.files.path();
        let failed = |source| ClusterError::File { path: dir.to_owned(), source };
        if raft::set_aside(&*self.disk, dir).map_err(failed)? {
            let dir = dir.join("lost");
            tracing::warn!(dir = %dir.display(), "the log of a former life was moved there");
        }
        Ok(())
    }

    /// Opens the log; what it learns of itself is written down from here on.
    pub async fn open(
        &self,
        me: Admitted,
        shape: impl FnOnce(&mut raft::Config),
    ) -> Result<(Ledger, raft::Ready), ClusterError> {
        let identity = match &self.identity {
            Some(identity) => identity.clone(),
            None => return Err(ClusterError::Founding("who this is was not stored".to_owned())),
        };
        let mut config = raft::Config::new(me.node, self.files.path());
        shape(&mut config);
        config.mark = identity.log;
        let ledger = Ledger::new(self.files.clone(), identity);
        let writes = ledger.clone();
        config.marker = raft::Marker(Arc::new(move |mark| writes.mark(mark)));
        let ready = raft::Raft::prepare(self.disk.clone(), config).await?;
        Ok((ledger, ready))
    }
}

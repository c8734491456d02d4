//! `remora recover`: a server that is left over goes on alone, the others are members no more.

use std::path::Path;
use std::sync::Arc;

use crate::identity::{Admitted, DataDir};
use crate::lifecycle::chance;
use crate::model::{NodeId, NodeName, Role};
use crate::raft::{self, Disk, RealDisk, Remains};
use crate::state::{Command, State};

use super::ClusterError;

/// A stopped server that could go on alone. Its directory is held against other processes.
pub struct Survivor {
    me: Admitted,
    pub name: NodeName,
    remains: Remains,
}

impl Survivor {
    /// Reads everything that the server has, and changes nothing.
    pub fn open(data_dir: &Path) -> Result<Survivor, ClusterError> {
        Survivor::open_on(Arc::new(RealDisk), data_dir)
    }

    fn open_on(disk: Arc<dyn Disk>, data_dir: &Path) -> Result<Survivor, ClusterError> {
        let nobody = |why: &str| ClusterError::Config { key: "data_dir", why: why.to_owned() };
        let dir = DataDir::new(disk.clone(), data_dir.to_owned());
        let identity = dir.look_at_identity()?;
        let identity = identity.ok_or_else(|| nobody("there is no server's identity in it"))?;
        let Some(me) = identity.admitted else {
            return Err(nobody("its server was never admitted to a cluster"));
        };
        let mut config = raft::Config::new(me.node, data_dir);
        config.mark = identity.log;
        let remains = Remains::open(&disk, &config)?;
        let state = remains.state();
        if state.member(me.node).is_none_or(|member| member.role != Role::Server) {
            return Err(nobody("its server is none of the cluster's, as far as its log knows"));
        }
        Ok(Survivor { me, name: identity.name, remains })
    }

    pub fn id(&self) -> NodeId {
        self.me.node
    }

    pub fn state(&self) -> &State {
        self.remains.state()
    }

    /// Who votes, as far as this server knows.
    pub fn voters(&self) -> &[NodeId] {
        &self.remains.voters
    }

    /// Entries that may have been acknowledged or not; they count as if they had been.
    pub fn unsure(&self) -> u64 {
        self.remains.unsure
    }

    /// Makes this server the only one, in a new lineage. May be done again if it is interrupted.
    pub async fn recover(self) -> Result<(), ClusterError> {
        let command = Command::Recover { survivor: self.me.node, lineage: chance::random() };
        self.remains.go_on_alone(command).await?;
        Ok(())
    }
}

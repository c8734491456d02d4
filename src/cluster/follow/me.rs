//! Who an agent without a log is, known to what follows and to what serves.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::model::{NodeId, Role};
use crate::state::Refusal;

/// Who follows.
#[derive(Debug)]
pub(in crate::cluster) struct Me {
    /// Another one if the cluster has forgotten this agent meanwhile.
    id: AtomicU64,
    pub role: Role,
    /// The level that this agent speaks at most.
    pub level: u32,
    /// The level of the cluster, once it is beyond that.
    beyond: AtomicU32,
    /// A key whose row is to be falsified.
    #[cfg(test)]
    corrupt: std::sync::Mutex<Option<&'static [u8]>>,
}

impl Me {
    pub fn new(id: NodeId, role: Role, level: u32) -> Me {
        Me {
            id: AtomicU64::new(id.0),
            role,
            level,
            beyond: AtomicU32::new(0),
            #[cfg(test)]
            corrupt: Default::default(),
        }
    }

    /// Has the state falsified before the next frame is taken in.
    #[cfg(test)]
    pub fn corrupt(&self, key: &'static [u8]) {
        *self.corrupt.lock().unwrap() = Some(key);
    }

    #[cfg(test)]
    pub fn to_corrupt(&self) -> Option<&'static [u8]> {
        self.corrupt.lock().unwrap().take()
    }

    pub fn id(&self) -> NodeId {
        NodeId(self.id.load(Ordering::Acquire))
    }

    pub fn is_now(&self, id: NodeId) {
        self.id.store(id.0, Ordering::Release);
    }

    /// The cluster is at a level that this agent does not speak.
    pub fn is_beyond(&self, current: u32) {
        self.beyond.store(current, Ordering::Release);
    }

    /// Why this agent must not serve any more.
    pub fn outdated(&self) -> Option<String> {
        let current = self.beyond.load(Ordering::Acquire);
        let outdated = Refusal::Outdated { spoken: self.level, current };
        (current > self.level).then(|| outdated.to_string())
    }
}

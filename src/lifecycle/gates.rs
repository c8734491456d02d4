//! Named gates that open once: what must have happened before the agent is ready.

use std::sync::Arc;

use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// All listeners are bound and served.
    Listening,
    /// The state has been received once: answers are true.
    Synced,
    /// The agent's node and configured services are in the catalog.
    Registered,
    /// Every template and file has been written once.
    Rendered,
}

impl Gate {
    pub const ALL: [Gate; 4] = [Gate::Listening, Gate::Synced, Gate::Registered, Gate::Rendered];

    pub fn name(self) -> &'static str {
        match self {
            Gate::Listening => "listening",
            Gate::Synced => "synced",
            Gate::Registered => "registered",
            Gate::Rendered => "rendered",
        }
    }

    fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

#[derive(Debug, Clone)]
pub struct Gates {
    open: Arc<watch::Sender<u8>>,
}

impl Default for Gates {
    fn default() -> Self {
        Gates { open: Arc::new(watch::Sender::new(0)) }
    }
}

impl Gates {
    pub fn open(&self, gate: Gate) {
        self.open.send_if_modified(|open| {
            let was = *open;
            *open |= gate.bit();
            *open != was
        });
    }

    pub fn is_open(&self, gate: Gate) -> bool {
        *self.open.borrow() & gate.bit() != 0
    }

    pub async fn wait(&self, gate: Gate) {
        // The sender lives as long as `self`.
        let _ = self.open.subscribe().wait_for(|open| open & gate.bit() != 0).await;
    }

    /// Gates that are still shut.
    pub fn shut(&self) -> Vec<Gate> {
        Gate::ALL.into_iter().filter(|gate| !self.is_open(*gate)).collect()
    }
}

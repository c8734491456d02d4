//! What operators say of the servers' health through Consul's interface.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Index;

use super::State;

/// Consul's settings of its autopilot. They are kept and shown, and say when a server counts as
/// healthy; how many servers there are is among `Settings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autopilot {
    pub cleanup_dead_servers: bool,
    /// In nanoseconds, as all durations here: any sign is taken.
    pub last_contact_threshold: i64,
    pub max_trailing_logs: u64,
    pub min_quorum: u64,
    pub stabilization: i64,
    pub redundancy_zone_tag: String,
    pub disable_upgrade_migration: bool,
    pub upgrade_version_tag: String,
}

impl Default for Autopilot {
    fn default() -> Autopilot {
        Autopilot {
            cleanup_dead_servers: true,
            last_contact_threshold: 200_000_000,
            max_trailing_logs: 250,
            min_quorum: 0,
            stabilization: 10_000_000_000,
            redundancy_zone_tag: String::new(),
            disable_upgrade_migration: false,
            upgrade_version_tag: String::new(),
        }
    }
}

/// The settings with the index that last changed them; 0 as long as nobody has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AutopilotRow {
    pub settings: Autopilot,
    pub modified: Index,
}

impl Autopilot {
    /// How long a healthy server may have been out of touch.
    pub fn patience(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.last_contact_threshold).unwrap_or_default())
    }
}

impl State {
    /// What operators have said last.
    pub fn autopilot(&self) -> &AutopilotRow {
        &self.autopilot
    }
}

//! Alarms: what the cluster tells its operators, and what it refuses meanwhile. As etcd has them.

use serde::{Deserialize, Serialize};

use crate::model::NodeId;

use super::State;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlarmKind {
    /// Nothing that grows is taken.
    NoSpace,
    /// No write of a client is taken.
    Corrupt,
}

impl AlarmKind {
    /// As etcd spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            AlarmKind::NoSpace => "NOSPACE",
            AlarmKind::Corrupt => "CORRUPT",
        }
    }
}

/// One alarm. Whom it is of changes nothing in what it does, and need not be a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Alarm {
    pub kind: AlarmKind,
    pub member: NodeId,
}

/// Who has raised an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RaisedBy {
    /// The servers, because the quota was reached: it ends by itself.
    Quota,
    /// An operator: only operators end it.
    Client,
}

impl State {
    /// The alarms that are raised, in order of kind and member.
    pub fn alarms(&self) -> impl Iterator<Item = Alarm> {
        self.alarms.keys().copied()
    }

    /// Whether one of that kind is raised.
    pub fn has_alarm(&self, kind: AlarmKind) -> bool {
        self.alarms.keys().any(|alarm| alarm.kind == kind)
    }
}

//! A cluster of one without a log: what the fronts' tests run against.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::model::{Applied, NodeId, NodeName, Role, Stamp};
use crate::replica::{self, Writer};
use crate::state::{Admission, Command, Founding, Outcome, Part, Proposal, Settings, Trust};
use crate::telemetry::Metrics;

use super::asks::Pulse;
use super::logins::Logins;
use super::steady::Steady;
use super::survey::Surveys;
use super::threshold::Threshold;
use super::{Alive, Cluster, Config, Door, OwnTokens, RaftRole, Standing};

pub(super) struct Solo {
    writer: Mutex<Writer>,
}

impl Solo {
    pub(super) fn propose(&self, command: Command) -> Outcome {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let at = Applied { term: 1, index: writer.state().applied().index + 1 };
        let outcome = writer.apply(at, &Proposal { stamp: Stamp(at.index), command });
        writer.publish();
        outcome
    }

    pub(super) fn keep_alive(&self, pulse: Pulse) -> Alive {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        match pulse {
            Pulse::Presence(_) => Alive::For(Duration::from_secs(10)),
            Pulse::Lease(id) | Pulse::LeaseLeft(id) => match writer.state().lease(id) {
                Some(lease) => Alive::For(lease.ttl),
                None => Alive::Gone,
            },
            Pulse::Session(id) => match writer.state().session(id).and_then(|row| row.def.ttl) {
                Some(ttl) => Alive::For(ttl),
                None => Alive::Gone,
            },
        }
    }

    pub(super) fn standing(&self) -> Standing {
        Standing {
            id: NodeId(1),
            role: Role::Server,
            raft: Some(RaftRole::Leader),
            leader: Some(NodeId(1)),
            leader_addr: Some(([127, 0, 0, 1], 8300).into()),
            term: 1,
            committed: 0,
            voters: vec![NodeId(1)],
            membership: 1,
            synced: true,
            last_contact: Duration::ZERO,
            upstream: None,
        }
    }
}

impl Cluster {
    /// A founded cluster whose only member is `name`.
    pub fn solo(name: NodeName) -> Cluster {
        Cluster::solo_trusting(name, Trust::default())
    }

    /// The same, founded with that authority.
    pub fn solo_trusting(name: NodeName, trust: Trust) -> Cluster {
        let (cluster, writer) = Cluster::blank(name.clone());
        let solo = Solo { writer: Mutex::new(writer) };
        let founder = Admission {
            name,
            nonce: 1,
            role: Role::Server,
            peer_addr: ([127, 0, 0, 1], 8300).into(),
            client_urls: vec!["http://127.0.0.1:2379".to_owned()],
            version: env!("CARGO_PKG_VERSION").to_owned(),
            level: crate::state::LEVEL,
            token: None,
        };
        let settings = Settings::default();
        let founding = Founding { cluster: 1, lineage: 1, settings, founder, trust, acl: None };
        solo.propose(Command::Found(founding));
        cluster.threshold.open(Door::Solo(Arc::new(solo)));
        cluster
    }

    /// An agent that no cluster has let in yet.
    pub fn outside(name: NodeName) -> Cluster {
        Cluster::blank(name).0
    }

    fn blank(name: NodeName) -> (Cluster, Writer) {
        let (writer, replica) = replica::new(Part::Server);
        let config = Config::new(name.clone(), None);
        let threshold = Arc::new(Threshold::new(&config, &Metrics::default()));
        let logins = Arc::new(Logins::new(None));
        let surveys = Surveys::default();
        let own = OwnTokens::default();
        let steady = Arc::new(Steady::new(SystemTime::now()));
        let badge = None;
        (Cluster { name, replica, threshold, badge, logins, surveys, own, steady }, writer)
    }
}

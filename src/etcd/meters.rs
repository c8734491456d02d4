//! What etcd's operators have their alerts on, under etcd's names, as far as it is true here.

use crate::cluster::{Cluster, RaftRole};
use crate::telemetry::{Family, Gauge, Labels, Metrics, Reading, Value};

use super::{Counts, SPOKEN};

/// Puts them into the registry; they are looked up whenever somebody asks, but for those that are
/// counted as they happen.
pub fn meter(metrics: &Metrics, cluster: Cluster) -> Counts {
    let version = metrics.register_known(
        "etcd_server_version",
        "The version of etcd whose interface is served",
        Family::<Labels, Gauge>::default(),
    );
    version.get_or_create(&vec![("server_version", SPOKEN.to_owned())]).set(1);
    metrics.read_known(move || readings(&cluster));
    Counts::new(metrics)
}

fn readings(cluster: &Cluster) -> Vec<Reading> {
    let (state, standing) = (cluster.snapshot(), cluster.standing());
    let applied = state.applied().index;
    let gauge = |name, help, value| Reading { name, help, value: Value::Gauge(value) };
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut readings = vec![
        gauge(
            "etcd_server_has_leader",
            "1 while this agent knows of a leader",
            i64::from(standing.leader.is_some()),
        ),
        gauge(
            "etcd_server_is_leader",
            "1 while this server leads",
            i64::from(standing.raft == Some(RaftRole::Leader)),
        ),
        gauge(
            "etcd_server_is_learner",
            "1 while this server stands by",
            i64::from(standing.raft == Some(RaftRole::Learner)),
        ),
        gauge(
            "etcd_server_quota_backend_bytes",
            "What keys and leases may take",
            number(state.identity().settings.quota),
        ),
        gauge(
            "etcd_mvcc_db_total_size_in_bytes",
            "What keys, their past and leases take",
            number(state.size()),
        ),
        gauge(
            "etcd_mvcc_db_total_size_in_use_in_bytes",
            "The same: nothing is allocated that is not in use",
            number(state.size()),
        ),
        gauge(
            "etcd_debugging_mvcc_keys_total",
            "Keys that there are",
            number(state.key_count() as u64),
        ),
        gauge(
            "etcd_debugging_mvcc_current_revision",
            "The revision that this agent has come to",
            state.revision(),
        ),
        Reading {
            name: "etcd_server_proposals_applied",
            help: "The newest entry of the log that this agent has applied",
            value: Value::Counter(applied),
        },
        Reading {
            name: "etcd_server_proposals_committed",
            help: "The newest entry of the log that this agent knows to be committed",
            value: Value::Counter(standing.committed.max(applied)),
        },
    ];
    if let Some(history) = state.history() {
        readings.push(gauge(
            "etcd_debugging_mvcc_compact_revision",
            "The newest revision that was compacted",
            history.compacted(),
        ));
    }
    readings
}

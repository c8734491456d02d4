//! What this agent's clients of etcd's API have done, counted under etcd's names.

use std::sync::atomic::AtomicI64;

use crate::telemetry::{Counter, Gauge, Metrics};

use super::proto::TxnResponse;
use super::proto::response_op::Response;

/// Clones count together.
#[derive(Clone, Default)]
pub struct Counts {
    pub(super) ranges: Counter,
    pub(super) puts: Counter,
    pub(super) deletes: Counter,
    txns: Counter,
    pub(super) granted: Counter,
    pub(super) revoked: Counter,
    pub(super) renewed: Counter,
    pub(super) streams: Gauge,
    pub(super) watchers: Gauge,
    pub(super) slow: Gauge,
}

impl Counts {
    pub(super) fn new(metrics: &Metrics) -> Counts {
        let count = |name, help| metrics.register_known(name, help, Counter::default());
        let gauge =
            |name, help| metrics.register_known(name, help, Gauge::<i64, AtomicI64>::default());
        Counts {
            ranges: count("etcd_mvcc_range", "Ranges that this agent has read for clients"),
            puts: count("etcd_mvcc_put", "Puts that this agent's clients have asked for"),
            deletes: count("etcd_mvcc_delete", "Deletions that this agent's clients asked for"),
            txns: count("etcd_mvcc_txn", "Transactions of several operations, likewise"),
            granted: count("etcd_debugging_lease_granted", "Leases granted through this agent"),
            revoked: count("etcd_debugging_lease_revoked", "Leases revoked through this agent"),
            renewed: count("etcd_debugging_lease_renewed", "Leases renewed through this agent"),
            streams: gauge("etcd_debugging_mvcc_watch_stream_total", "Open streams of watches"),
            watchers: gauge("etcd_debugging_mvcc_watcher_total", "Watches on these streams"),
            slow: gauge(
                "etcd_debugging_mvcc_slow_watcher_total",
                "Those whose client does not take what they are told",
            ),
        }
    }

    /// Each operation that was done, of transactions inside it too.
    pub(super) fn txn(&self, done: &TxnResponse) {
        for response in done.responses.iter().filter_map(|done| done.response.as_ref()) {
            match response {
                Response::ResponseRange(_) => self.ranges.inc(),
                Response::ResponsePut(_) => self.puts.inc(),
                Response::ResponseDeleteRange(_) => self.deletes.inc(),
                Response::ResponseTxn(inner) => {
                    self.txn(inner);
                    continue;
                }
            };
        }
        if done.responses.len() > 1 {
            self.txns.inc();
        }
    }
}

/// So many of something, for as long as this is kept.
pub(super) struct Held {
    gauge: Gauge,
    count: i64,
}

impl Held {
    pub(super) fn new(gauge: &Gauge, count: usize) -> Held {
        let mut held = Held { gauge: gauge.clone(), count: 0 };
        held.set(count);
        held
    }

    pub(super) fn set(&mut self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.gauge.inc_by(count - self.count);
        self.count = count;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_counts_until_it_is_let_go() {
        let gauge = Gauge::default();
        let mut one = Held::new(&gauge, 2);
        let other = Held::new(&gauge, 3);
        one.set(4);
        assert_eq!(gauge.get(), 7);
        drop(one);
        assert_eq!(gauge.get(), 3);
        drop(other);
        assert_eq!(gauge.get(), 0);
    }
}

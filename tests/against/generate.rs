//! A script from a seed: few keys and few revisions, so that what it asks meets.

mod holds;
mod messages;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::proto::watch_request::RequestUnion;
use crate::proto::{
    CompactionRequest, LeaseGrantRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest,
};
use crate::script::{ORIGIN, Script, Step};
use crate::wire::Way;

/// Steps of a script, roughly.
const STEPS: std::ops::Range<usize> = 5..16;
/// Seconds that no script lasts.
const LONG: std::ops::Range<i64> = 300..900;
/// The longest that etcd grants.
const LONGEST: i64 = 9_000_000_000;

struct Generator {
    dice: SmallRng,
    way: Way,
    steps: Vec<Step>,
    /// The revision that is reached at most, in the script's numbers.
    revision: i64,
    compacted: i64,
    leases: Vec<i64>,
    drawn: i64,
    /// A stream is open.
    watches: bool,
    /// One transaction may have deleted a key and put it again. Where that is the last revision
    /// that a compaction leaves, etcd ends with the next read.
    fragile: bool,
}

pub fn script(seed: u64) -> Script {
    let mut dice = SmallRng::seed_from_u64(seed);
    let way = if dice.random_bool(0.5) { Way::Grpc } else { Way::Json };
    let (steps, revision, compacted) = (Vec::new(), ORIGIN, ORIGIN);
    let mut generator = Generator {
        dice,
        way,
        steps,
        revision,
        compacted,
        leases: Vec::new(),
        drawn: 0,
        watches: false,
        fragile: false,
    };
    match generator.dice.random_range(0..100) {
        0..45 => generator.keys(),
        45..70 => generator.watched(),
        70..85 => generator.leased(),
        85..93 => generator.locks(),
        _ => generator.elections(),
    }
    Script { seed, way, steps: generator.steps }
}

impl Generator {
    fn chance(&mut self, share: f64) -> bool {
        self.dice.random_bool(share)
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.dice.random_range(0..of.len())].clone()
    }

    fn count(&mut self) -> usize {
        self.dice.random_range(STEPS)
    }

    fn keys(&mut self) {
        if self.chance(0.3) {
            self.grant();
        }
        for _ in 0..self.count() {
            self.step();
        }
    }

    /// One that reads or writes keys.
    fn step(&mut self) {
        let step = match self.dice.random_range(0..100) {
            0..38 => Step::Put(self.put()),
            38..62 => Step::Range(self.range()),
            62..74 => Step::Delete(self.delete()),
            74..95 => Step::Txn(self.txn(2)),
            95..97 => Step::Txn(self.long_txn()),
            _ => return self.compact(),
        };
        self.revision += i64::from(!matches!(step, Step::Range(_)));
        self.steps.push(step);
    }

    fn compact(&mut self) {
        if self.fragile {
            return;
        }
        // Whether a watch that lags is ended by it is a matter of time.
        if self.watches {
            self.settle();
        }
        let revision = match self.dice.random_range(0..10) {
            0 => self.pick(&[0, -1, ORIGIN - 1, self.revision + 5]),
            _ => self.dice.random_range(ORIGIN..=self.revision),
        };
        self.compacted = self.compacted.max(revision.min(self.revision));
        let physical = self.watches || self.chance(0.5);
        self.steps.push(Step::Compact(CompactionRequest { revision, physical }));
    }

    fn settle(&mut self) {
        self.revision += 2;
        self.steps.push(Step::Settle);
    }

    fn watched(&mut self) {
        for _ in 0..self.dice.random_range(0..5) {
            self.step();
        }
        let creates = self.dice.random_range(1..4);
        let creates = (0..creates).map(|_| self.create()).collect();
        self.steps.push(Step::Watch(creates));
        self.watches = true;
        for _ in 0..self.dice.random_range(1..8) {
            self.step();
        }
        if self.way == Way::Grpc {
            for _ in 0..self.dice.random_range(0..4) {
                self.settle();
                let ask = match self.dice.random_range(0..6) {
                    0..3 => self.create(),
                    3..5 => {
                        let watch_id = self.pick(&[0, 0, 1, 2, 7]);
                        ask(RequestUnion::CancelRequest(WatchCancelRequest { watch_id }))
                    }
                    _ => ask(RequestUnion::ProgressRequest(WatchProgressRequest {})),
                };
                // One that lags behind is told of progress later, or at once: etcd 3.4 does so.
                let settles = matches!(ask.request_union, Some(RequestUnion::CreateRequest(_)));
                self.steps.push(Step::Ask(ask));
                if settles {
                    self.settle();
                }
                for _ in 0..self.dice.random_range(0..4) {
                    self.step();
                }
            }
        }
    }

    fn create(&mut self) -> WatchRequest {
        let (key, range_end) = self.interval();
        let start_revision = match self.dice.random_range(0..10) {
            0..5 => 0,
            5..8 => self.dice.random_range(self.compacted..=self.revision),
            8 => self.dice.random_range(1..=self.revision),
            _ => self.revision + self.dice.random_range(1..4),
        };
        // One that sees nothing cannot be told to have caught up.
        let filters = match self.dice.random_range(0..10) {
            0 => vec![0],
            1 => vec![1],
            2 if start_revision == 0 => vec![1, 0],
            _ => vec![],
        };
        // When one that begins too early is ended, and its id is free again, is a matter of time.
        let watch_id = match start_revision {
            start if start > 0 && start < self.compacted => 20 + self.dice.random_range(0..1000),
            _ => self.pick(&[0, 0, 0, 0, 0, 0, 1, 7, -3]),
        };
        let (prev_kv, fragment) = (self.chance(0.4), self.chance(0.1));
        let progress_notify = self.chance(0.1);
        ask(RequestUnion::CreateRequest(WatchCreateRequest {
            key,
            range_end,
            start_revision,
            progress_notify,
            filters,
            prev_kv,
            watch_id,
            fragment,
        }))
    }

    fn grant(&mut self) {
        let id = self.pick(&[1, 2, 3, 4, 0, -5, i64::MAX]);
        let id = if id == i64::MAX { 31 } else { id };
        let ttl = self.dice.random_range(LONG);
        self.steps.push(Step::Grant(LeaseGrantRequest { ttl, id }));
        if id == 0 {
            self.leases.push(crate::script::DRAWN + self.drawn);
            self.drawn += 1;
        } else {
            self.leases.push(id);
        }
    }

    fn lease(&mut self) -> i64 {
        let mut known = self.leases.clone();
        known.push(77);
        self.pick(&known)
    }

    fn leased(&mut self) {
        self.grant();
        for _ in 0..self.count() {
            match self.dice.random_range(0..20) {
                0..3 => self.grant(),
                3..5 => {
                    let id = self.lease();
                    self.revision += 1;
                    self.steps.push(Step::Revoke(LeaseRevokeRequest { id }));
                }
                5..8 => {
                    let (id, keys) = (self.lease(), self.chance(0.7));
                    self.steps.push(Step::Left(LeaseTimeToLiveRequest { id, keys }));
                }
                8 => self.steps.push(Step::Leases),
                9 => {
                    let ids = (0..self.dice.random_range(1..4)).map(|_| self.lease()).collect();
                    self.steps.push(Step::KeepAlive(ids));
                }
                10..16 => {
                    let put = self.put();
                    let lease = if put.ignore_lease { put.lease } else { self.lease() };
                    self.revision += 1;
                    let put = crate::proto::PutRequest { lease, ..put };
                    self.steps.push(Step::Put(put));
                }
                _ => self.step(),
            }
        }
        // Ones that end before long are not asked for again.
        if self.chance(0.3) {
            let ttl = self.pick(&[0, -3, 1, 2, LONGEST, LONGEST + 1, i64::MAX, i64::MIN]);
            self.steps.push(Step::Grant(LeaseGrantRequest { ttl, id: 50 }));
        }
    }
}

fn ask(union: RequestUnion) -> WatchRequest {
    WatchRequest { request_union: Some(union) }
}

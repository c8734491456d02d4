//! A script made of a seed: steps on a few keys, so that they meet each other often.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

pub const KEYS: [&str; 5] = ["a", "a/1", "a/2", "b", "b/1"];
const PREFIXES: [&str; 4] = ["a", "a/", "b", "z"];
const VALUES: [&str; 4] = ["", "1", "2", "3"];
const STEPS: usize = 150;

/// A revision that is named, which the player knows.
#[derive(Debug, Clone, Copy)]
pub enum At {
    Zero,
    /// The key's own.
    Its,
    Another,
}

/// One of the sessions, or leases, that there ever were: by how many came after it.
pub type Back = usize;

#[derive(Debug, Clone)]
pub struct Put {
    pub key: &'static str,
    pub value: &'static str,
    pub flags: u64,
}

/// How `/v1/kv`, and a step of `/v1/txn`, puts.
#[derive(Debug, Clone, Copy)]
pub enum How {
    Plain,
    Cas(At),
    Acquire(Back),
    Release(Back),
}

#[derive(Debug, Clone)]
pub enum Op {
    Put(Put, How),
    Get(&'static str),
    GetOrEmpty(&'static str),
    GetTree(&'static str),
    Delete(&'static str),
    DeleteCas(&'static str, At),
    DeleteTree(&'static str),
    CheckIndex(&'static str, At),
    CheckSession(&'static str, Back),
    CheckAbsent(&'static str),
    /// The check that some sessions live by.
    Mark(bool),
    /// The node that they live on, with that check.
    RemoveNode,
}

#[derive(Debug, Clone)]
pub enum EtcdOp {
    Put {
        key: &'static str,
        value: &'static str,
        lease: Option<Back>,
        keeps: Keeps,
    },
    /// The key, or all that start with it.
    Delete {
        key: &'static str,
        tree: bool,
    },
}

/// What an etcd put leaves as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    Nothing,
    Value,
    Lease,
}

#[derive(Debug, Clone)]
pub enum Step {
    Kv(Put, How),
    KvDelete(&'static str, Option<At>),
    KvDeleteTree(&'static str),
    Txn(Vec<Op>),
    /// `delay` in seconds; `ttl`, too. `external`: it lives by the check on the other node.
    SessionCreate {
        ttl: Option<u64>,
        delay: u64,
        deletes: bool,
        external: bool,
    },
    SessionRenew(Back),
    SessionDestroy(Back),
    Etcd(EtcdOp),
    /// If the key is at that revision, the one, else the other.
    EtcdTxn {
        key: &'static str,
        at: At,
        yes: Vec<EtcdOp>,
        no: Vec<EtcdOp>,
    },
    Grant {
        ttl: u64,
    },
    KeepAlive(Back),
    Revoke(Back),
    /// The other node with its check, whatever that says.
    Mark(bool),
    RemoveNode,
    /// Tenths of a second.
    Wait(u64),
}

struct Maker(SmallRng);

pub fn make(seed: u64) -> Vec<Step> {
    let mut maker = Maker(SmallRng::seed_from_u64(seed));
    let mut steps = vec![Step::Mark(true)];
    steps.extend((0..STEPS).map(|_| maker.step()));
    steps
}

impl Maker {
    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(&mut self.0).unwrap()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    fn key(&mut self) -> &'static str {
        self.one(&KEYS)
    }

    fn back(&mut self) -> Back {
        self.0.random_range(0..4)
    }

    fn at(&mut self) -> At {
        self.one(&[At::Zero, At::Its, At::Its, At::Another])
    }

    fn put(&mut self) -> Put {
        let flags = self.0.random_range(0..2);
        Put { key: self.key(), value: self.one(&VALUES), flags }
    }

    fn how(&mut self) -> How {
        match self.0.random_range(0..10) {
            0..3 => How::Plain,
            3..5 => How::Cas(self.at()),
            5..8 => How::Acquire(self.back()),
            _ => How::Release(self.back()),
        }
    }

    fn step(&mut self) -> Step {
        match self.0.random_range(0..100) {
            0..22 => Step::Kv(self.put(), self.how()),
            22..25 => Step::KvDelete(self.key(), None),
            25..27 => Step::KvDelete(self.key(), Some(self.at())),
            27..29 => Step::KvDeleteTree(self.one(&PREFIXES)),
            29..47 => {
                let count = self.0.random_range(1..6);
                Step::Txn((0..count).map(|_| self.op()).collect())
            }
            47..57 => Step::SessionCreate {
                ttl: self.one(&[None, Some(10), Some(15)]),
                delay: self.one(&[0, 5, 15]),
                deletes: self.chance(30),
                external: self.chance(40),
            },
            57..60 => Step::SessionRenew(self.back()),
            60..63 => Step::SessionDestroy(self.back()),
            63..73 => Step::Etcd(self.etcd_put()),
            73..76 => Step::Etcd(EtcdOp::Delete { key: self.key(), tree: self.chance(30) }),
            76..82 => Step::EtcdTxn {
                key: self.key(),
                at: self.at(),
                yes: self.branch(),
                no: self.branch(),
            },
            82..86 => Step::Grant { ttl: self.one(&[3, 8, 20]) },
            86..88 => Step::KeepAlive(self.back()),
            88..90 => Step::Revoke(self.back()),
            90..93 => Step::Mark(self.chance(60)),
            93..94 => Step::RemoveNode,
            _ => Step::Wait(self.0.random_range(1..90)),
        }
    }

    fn op(&mut self) -> Op {
        match self.0.random_range(0..40) {
            0..16 => Op::Put(self.put(), self.how()),
            16..19 => Op::Get(self.key()),
            19..21 => Op::GetOrEmpty(self.key()),
            21..23 => Op::GetTree(self.one(&PREFIXES)),
            23..28 => Op::Delete(self.key()),
            28..30 => Op::DeleteCas(self.key(), self.at()),
            30..31 => Op::DeleteTree(self.one(&PREFIXES)),
            31..33 => Op::CheckIndex(self.key(), self.at()),
            33..34 => Op::CheckSession(self.key(), self.back()),
            34..36 => Op::CheckAbsent(self.key()),
            36..39 => Op::Mark(self.chance(70)),
            _ => Op::RemoveNode,
        }
    }

    fn etcd_put(&mut self) -> EtcdOp {
        EtcdOp::Put {
            key: self.key(),
            value: self.one(&VALUES),
            lease: self.chance(50).then(|| self.back()),
            keeps: self.one(&[Keeps::Nothing, Keeps::Nothing, Keeps::Value, Keeps::Lease]),
        }
    }

    /// Of different keys: etcd refuses others.
    fn branch(&mut self) -> Vec<EtcdOp> {
        let first = EtcdOp::Put {
            key: "a/1",
            value: self.one(&VALUES),
            lease: self.chance(30).then(|| self.back()),
            keeps: Keeps::Nothing,
        };
        let second = EtcdOp::Delete { key: self.one(&["b", "b/1", "a/2"]), tree: false };
        match self.0.random_range(0..3) {
            0 => vec![first],
            1 => vec![second],
            _ => vec![first, second],
        }
    }
}

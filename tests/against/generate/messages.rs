//! Requests of the key space: every option, and what is refused.

use bytes::Bytes;
use rand::RngExt as _;

use crate::proto::compare::TargetUnion;
use crate::proto::request_op::Request;
use crate::proto::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};
use crate::script::ORIGIN;
use crate::wire::Way;

use super::Generator;

/// At most ten, and two that every script has: so few etcd sorts without disturbing what is equal.
const KEYS: [&[u8]; 9] = [b"a", b"b", b"c", b"a/x", b"a/y", b"ab", b"\0", b"\xff", b"\xff\xffz"];
/// Operations that a transaction may have.
const OPS_MAX: usize = 128;

fn of(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

impl Generator {
    fn key(&mut self) -> Bytes {
        // The first ones more often, and seldom none.
        match self.dice.random_range(0..100) {
            0 => Bytes::new(),
            1..55 => of(self.pick(&KEYS[..3])),
            _ => of(self.pick(&KEYS)),
        }
    }

    /// A key, or a range of any kind.
    pub fn interval(&mut self) -> (Bytes, Bytes) {
        let key = self.key();
        match self.dice.random_range(0..10) {
            0..5 => (key, Bytes::new()),
            5 => (key, of(b"\0")),
            6 => (of(b"\0"), of(b"\0")),
            7 => {
                let mut end = key.to_vec();
                if let Some(last) = end.last_mut() {
                    *last = last.wrapping_add(1);
                }
                (key, end.into())
            }
            8 => (key, of(b"b")),
            _ => (key, self.key()),
        }
    }

    fn value(&mut self) -> Bytes {
        of(self.pick(&[&b"1"[..], b"2", b"", b"\0\xff\x80", b"longer value"]))
    }

    /// One of the script, seldom one that is gone or to come.
    fn some_revision(&mut self) -> i64 {
        match self.dice.random_range(0..12) {
            0 => self.dice.random_range(1..ORIGIN),
            1 => self.revision + self.dice.random_range(1..4),
            2 => self.pick(&[-1, i64::MIN]),
            _ => self.dice.random_range(self.compacted..=self.revision),
        }
    }

    pub fn range(&mut self) -> RangeRequest {
        let (key, range_end) = self.interval();
        let mut range = RangeRequest { key, range_end, ..RangeRequest::default() };
        if self.chance(0.35) {
            range.revision = self.some_revision();
        }
        if self.chance(0.3) {
            range.limit = self.pick(&[1, 2, 3, -1, 100]);
        }
        if self.chance(0.35) {
            range.sort_order = self.pick(&[0, 1, 2]);
            range.sort_target = self.pick(&[0, 1, 2, 3, 4]);
            if self.way == Way::Grpc && self.chance(0.05) {
                range.sort_order = 9;
            }
        }
        (range.serializable, range.keys_only) = (self.chance(0.3), self.chance(0.15));
        range.count_only = self.chance(0.1);
        for bound in 0..4 {
            if self.chance(0.06) {
                let revision = self.some_revision();
                *[
                    &mut range.min_mod_revision,
                    &mut range.max_mod_revision,
                    &mut range.min_create_revision,
                    &mut range.max_create_revision,
                ][bound] = revision;
            }
        }
        range
    }

    pub fn put(&mut self) -> PutRequest {
        let (key, value) = (self.key(), self.value());
        let mut put = PutRequest { key, value, prev_kv: self.chance(0.3), ..PutRequest::default() };
        if self.chance(0.15) {
            put.lease = self.lease();
        }
        if self.chance(0.12) {
            put.ignore_value = true;
            put.value = if self.chance(0.8) { Bytes::new() } else { put.value };
        }
        if self.chance(0.12) {
            put.ignore_lease = true;
            put.lease = if self.chance(0.8) { 0 } else { put.lease };
        }
        put
    }

    pub fn delete(&mut self) -> DeleteRangeRequest {
        let (key, range_end) = self.interval();
        DeleteRangeRequest { key, range_end, prev_kv: self.chance(0.4) }
    }

    fn compare(&mut self) -> Compare {
        let (key, range_end) = self.interval();
        let target = self.dice.random_range(0..5);
        let odd = self.way == Way::Grpc && self.chance(0.02);
        let result = if odd { 9 } else { self.dice.random_range(0..4) };
        // Now and then the value is one of another target, or none.
        let given = if self.chance(0.9) { target } else { self.dice.random_range(0..6) };
        let target_union = match given {
            0 => Some(TargetUnion::Version(self.pick(&[0, 1, 2, 3, -1]))),
            1 => Some(TargetUnion::CreateRevision(self.zero_or_revision())),
            2 => Some(TargetUnion::ModRevision(self.zero_or_revision())),
            3 => Some(TargetUnion::Value(self.value())),
            4 => Some(TargetUnion::Lease(if self.chance(0.4) { 0 } else { self.lease() })),
            _ => None,
        };
        Compare { result, target, key, range_end, target_union }
    }

    fn zero_or_revision(&mut self) -> i64 {
        if self.chance(0.3) { 0 } else { self.some_revision() }
    }

    fn op(&mut self, depth: usize) -> RequestOp {
        let request = match self.dice.random_range(0..100) {
            0 => None,
            1..35 => Some(Request::RequestRange(self.range())),
            35..70 => Some(Request::RequestPut(self.put())),
            70..85 => Some(Request::RequestDeleteRange(self.delete())),
            _ if depth > 0 => Some(Request::RequestTxn(self.txn(depth - 1))),
            _ => Some(Request::RequestPut(self.put())),
        };
        RequestOp { request }
    }

    /// What keeps a value or a lease of a key that the transaction itself deletes crashes etcd.
    pub fn txn(&mut self, depth: usize) -> TxnRequest {
        let mut txn = self.any_txn(depth);
        if deletes_from_a_key_on(&txn) {
            keep_nothing(&mut txn);
            self.fragile = true;
        }
        txn
    }

    fn any_txn(&mut self, depth: usize) -> TxnRequest {
        let compares = self.dice.random_range(0..3);
        let (done, undone) = (self.dice.random_range(0..4), self.dice.random_range(0..3));
        TxnRequest {
            compare: (0..compares).map(|_| self.compare()).collect(),
            success: (0..done).map(|_| self.op(depth)).collect(),
            failure: (0..undone).map(|_| self.op(depth)).collect(),
        }
    }

    /// One near the limit of operations, whole or within another.
    pub fn long_txn(&mut self) -> TxnRequest {
        let long = |len: usize| -> Vec<RequestOp> {
            let delete = |nth: usize| {
                let key = format!("none/{nth}").into();
                let delete = DeleteRangeRequest { key, ..DeleteRangeRequest::default() };
                RequestOp { request: Some(Request::RequestDeleteRange(delete)) }
            };
            (0..len).map(delete).collect()
        };
        let len = OPS_MAX - 2 + self.dice.random_range(0..4);
        let plain = TxnRequest { success: long(len), ..TxnRequest::default() };
        if self.chance(0.4) {
            return plain;
        }
        let beside = self.dice.random_range(0..3);
        let mut success = vec![RequestOp { request: Some(Request::RequestTxn(plain)) }];
        success.extend(long(beside));
        TxnRequest { success, ..TxnRequest::default() }
    }
}

fn deletes_from_a_key_on(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match &op.request {
        Some(Request::RequestDeleteRange(delete)) => delete.range_end == b"\0"[..],
        Some(Request::RequestTxn(inner)) => deletes_from_a_key_on(inner),
        _ => false,
    })
}

fn keep_nothing(txn: &mut TxnRequest) {
    for op in txn.success.iter_mut().chain(&mut txn.failure) {
        match &mut op.request {
            Some(Request::RequestPut(put)) => {
                (put.ignore_value, put.ignore_lease) = (false, false);
            }
            Some(Request::RequestTxn(inner)) => keep_nothing(inner),
            _ => {}
        }
    }
}

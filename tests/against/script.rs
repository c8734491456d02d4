//! What a script asks, step by step, in numbers that hold for it alone.

use std::fmt;

use bytes::Bytes;

use crate::proto::compare::TargetUnion;
use crate::proto::request_op::Request;
use crate::proto::watch_request::RequestUnion;
use crate::proto::{
    CampaignRequest, CompactionRequest, DeleteRangeRequest, LeaderRequest, LeaseGrantRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest, LockRequest, ProclaimRequest, PutRequest,
    RangeRequest, ResignRequest, TxnRequest, UnlockRequest, WatchRequest,
};
use crate::wire::Way;

/// The revision, in a script's own numbers, at which it begins. The history begins there, too:
/// smaller ones are compacted.
pub const ORIGIN: i64 = 4;
/// The lease that the server names first stands in a script as this one; the next as the next.
pub const DRAWN: i64 = 900;
const DRAWN_MAX: i64 = 909;
/// Of a leader's key: the revision that its campaign was answered with.
pub const ANSWERED: i64 = 1;

#[derive(Debug, Clone)]
pub struct Script {
    pub seed: u64,
    pub way: Way,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub enum Step {
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
    Grant(LeaseGrantRequest),
    Revoke(LeaseRevokeRequest),
    Left(LeaseTimeToLiveRequest),
    Leases,
    /// One stream with a keep-alive for each of these.
    KeepAlive(Vec<i64>),
    /// Opens a stream with these requests; further ones only over gRPC.
    Watch(Vec<WatchRequest>),
    /// One more request on the last stream.
    Ask(WatchRequest),
    /// Until every watch has been told everything.
    Settle,
    /// A place in a queue that is free, or that is not: then it is waited until the place is taken.
    Queue {
        slot: usize,
        place: Place,
        waits: bool,
    },
    /// The turn of a place that waited has come, or would have: its lease may be gone.
    Turn {
        slot: usize,
        gone: bool,
    },
    /// The caller that waits for its turn goes away.
    Abandon(usize),
    Unlock(UnlockRequest),
    Proclaim(ProclaimRequest),
    Resign(ResignRequest),
    Leader(LeaderRequest),
    Observe(LeaderRequest),
    /// The next leader that the observer is told of.
    Observed,
}

#[derive(Debug, Clone)]
pub enum Place {
    Lock(LockRequest),
    Campaign(CampaignRequest),
}

impl Place {
    /// The key that a queue keeps for the lease.
    pub fn key(&self) -> Bytes {
        let (name, lease) = match self {
            Place::Lock(lock) => (&lock.name, lock.lease),
            Place::Campaign(campaign) => (&campaign.name, campaign.lease),
        };
        place_key(name, lease)
    }
}

/// The key of a lease's place in a queue.
pub fn place_key(name: &[u8], lease: i64) -> Bytes {
    let sign = if lease < 0 { "-" } else { "" };
    let suffix = format!("/{sign}{:x}", lease.unsigned_abs());
    [name, suffix.as_bytes()].concat().into()
}

impl fmt::Display for Script {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "seed {}, {:?}", self.seed, self.way)?;
        self.steps.iter().enumerate().try_for_each(|(n, step)| writeln!(out, "{n:3}  {step}"))
    }
}

/// Without the fields that have their defaults.
impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{self:?}");
        for default in ["b\"\"", "false", "[]", "None", "0"] {
            let (first, later) = (format!(": {default}, "), format!(": {default} }}"));
            while let Some(end) = text.find(&first) {
                let name = text[..end].rfind(' ').map_or(0, |at| at + 1);
                text.replace_range(name..end + first.len(), "");
            }
            while let Some(end) = text.find(&later) {
                let name = text[..end].rfind([',', '{']).map_or(0, |at| at + 1);
                text.replace_range(name..end + later.len() - 2, " ");
            }
        }
        out.write_str(text.trim())
    }
}

/// Where a script stands on one server.
#[derive(Debug, Default, Clone)]
pub struct Anchor {
    /// The server's revision at which the script begins.
    pub base: i64,
    /// Leases that the server named.
    pub drawn: Vec<i64>,
}

impl Anchor {
    pub fn revision(&self, revision: i64) -> i64 {
        if revision > 0 { revision + self.base - ORIGIN } else { revision }
    }

    pub fn lease(&self, lease: i64) -> i64 {
        let nth = usize::try_from(lease - DRAWN).ok().filter(|_| lease <= DRAWN_MAX);
        nth.and_then(|nth| self.drawn.get(nth).copied()).unwrap_or(lease)
    }

    pub fn range(&self, mut range: RangeRequest) -> RangeRequest {
        for revision in [
            &mut range.revision,
            &mut range.min_mod_revision,
            &mut range.max_mod_revision,
            &mut range.min_create_revision,
            &mut range.max_create_revision,
        ] {
            *revision = self.revision(*revision);
        }
        range
    }

    pub fn put(&self, put: PutRequest) -> PutRequest {
        PutRequest { lease: self.lease(put.lease), ..put }
    }

    pub fn txn(&self, mut txn: TxnRequest) -> TxnRequest {
        for compare in &mut txn.compare {
            match &mut compare.target_union {
                Some(
                    TargetUnion::CreateRevision(revision) | TargetUnion::ModRevision(revision),
                ) => {
                    *revision = self.revision(*revision);
                }
                Some(TargetUnion::Lease(lease)) => *lease = self.lease(*lease),
                _ => {}
            }
        }
        for op in txn.success.iter_mut().chain(&mut txn.failure) {
            op.request = op.request.take().map(|op| match op {
                Request::RequestRange(range) => Request::RequestRange(self.range(range)),
                Request::RequestPut(put) => Request::RequestPut(self.put(put)),
                Request::RequestTxn(txn) => Request::RequestTxn(self.txn(txn)),
                other => other,
            });
        }
        txn
    }

    pub fn watch(&self, mut watch: WatchRequest) -> WatchRequest {
        if let Some(RequestUnion::CreateRequest(create)) = &mut watch.request_union {
            create.start_revision = self.revision(create.start_revision);
        }
        watch
    }
}

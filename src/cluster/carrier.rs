//! Carries Raft's messages between servers of one cluster: by id, and never to a stranger.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use crate::model::NodeId;
use crate::net::peer::{CallError, Links, Purpose, Refused};
use crate::raft::Transport;

use super::roster::Roster;

/// Cluster, sender and receiver, before the message.
const HEAD: usize = 16 + 8 + 8;

pub(super) struct Carrier {
    pub cluster: u128,
    pub me: NodeId,
    pub roster: Arc<Roster>,
    pub links: Links,
}

impl Transport for Carrier {
    fn call(
        &self,
        to: NodeId,
        purpose: Purpose,
        body: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>> {
        let Some(addr) = self.roster.addr(to) else {
            let why = format!("the address of server {to} is not known");
            return ready(Err(CallError::NotSent(why))).boxed();
        };
        let mut out = BytesMut::with_capacity(HEAD + body.len());
        out.put_u128_le(self.cluster);
        out.put_u64_le(self.me.0);
        out.put_u64_le(to.0);
        out.put_slice(&body);
        self.links.call(addr, purpose, out.freeze(), within).boxed()
    }
}

/// Who sent a message, and the message. Addresses move between clusters: a message for another
/// server or of another cluster must not reach the log.
pub(super) fn open(mut body: Bytes, cluster: u128, me: NodeId) -> Result<(NodeId, Bytes), Refused> {
    if body.len() < HEAD {
        return Err(Refused("no message of a server".to_owned()));
    }
    let (theirs, from, to) = (body.get_u128_le(), body.get_u64_le(), body.get_u64_le());
    if theirs != cluster {
        return Err(Refused(format!("this server belongs to another cluster: {cluster:032x}")));
    }
    if to != me.0 {
        return Err(Refused(format!("this is server {me}, not {to}")));
    }
    Ok((NodeId(from), body))
}

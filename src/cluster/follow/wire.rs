//! The frames of a follower's stream.
//!
//! The follower asks once with `Follow`; from then on the server pushes. A frame is a tag and its
//! content: changes and chunks of a snapshot are raw, so that neither is copied through a decoder.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::model::{Applied, NodeId};
use crate::replica::Checksum;

/// Where the follower stands. A cluster of 0: nowhere yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) struct Follow {
    pub cluster: u128,
    pub lineage: u64,
    pub applied: Applied,
    /// The tail did not fit: a snapshot is wanted, not older than `applied`.
    pub anew: bool,
    /// It passes on what it gets.
    pub relay: bool,
}

/// How who is followed is, told several times a second: its silence means its death.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) struct Pulse {
    pub id: NodeId,
    pub leader: Option<NodeId>,
    pub term: u64,
    pub voters: Vec<NodeId>,
    /// Time since it knew itself in touch with the leader.
    pub last_contact: Duration,
    /// How far it has come.
    pub applied: Applied,
    /// The relays that its changes have come through, itself included; none on a server.
    pub path: Vec<NodeId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// A snapshot of this many bytes follows, in chunks.
    Snapshot(u64),
    Chunk(Bytes),
    /// Encoded changes, oldest first.
    Changes(Vec<Bytes>),
    Pulse(Pulse),
    /// The server stands behind the follower, who must not go back.
    Behind(Applied),
    /// It takes no follower now; why.
    Declined(String),
    /// What the servers agree that everyone's state comes to after a checkpoint.
    Agreed(Checksum),
}

/// Bytes of a snapshot in one frame.
pub(super) const CHUNK: usize = 256 << 10;

const SNAPSHOT: u8 = 1;
const CHUNK_OF: u8 = 2;
const CHANGES: u8 = 3;
const PULSE: u8 = 4;
const BEHIND: u8 = 5;
const DECLINED: u8 = 6;
const AGREED: u8 = 7;

/// A frame that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the upstream sent garbage: {0}")]
pub(super) struct Garbled(pub &'static str);

impl Frame {
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Frame::Snapshot(length) => {
                out.put_u8(SNAPSHOT);
                out.put_u64_le(*length);
            }
            Frame::Chunk(bytes) => {
                out.put_u8(CHUNK_OF);
                out.put_slice(bytes);
            }
            Frame::Changes(all) => {
                out.put_u8(CHANGES);
                for changes in all {
                    out.put_u64_le(changes.len() as u64);
                    out.put_slice(changes);
                }
            }
            Frame::Pulse(pulse) => {
                out.put_u8(PULSE);
                out.put_slice(&plain(pulse));
            }
            Frame::Behind(applied) => {
                out.put_u8(BEHIND);
                out.put_slice(&plain(applied));
            }
            Frame::Declined(why) => {
                out.put_u8(DECLINED);
                out.put_slice(why.as_bytes());
            }
            Frame::Agreed(checksum) => {
                out.put_u8(AGREED);
                out.put_slice(&plain(checksum));
            }
        }
        out.freeze()
    }

    pub fn decode(mut bytes: Bytes) -> Result<Frame, Garbled> {
        let tag = bytes.try_get_u8().map_err(|_| Garbled("an empty frame"))?;
        match tag {
            SNAPSHOT => {
                let length = bytes.try_get_u64_le().map_err(|_| Garbled("no length"))?;
                Ok(Frame::Snapshot(length))
            }
            CHUNK_OF => Ok(Frame::Chunk(bytes)),
            CHANGES => {
                let mut all = Vec::new();
                while bytes.has_remaining() {
                    let length = bytes.try_get_u64_le().map_err(|_| Garbled("half a length"))?;
                    let length = usize::try_from(length).unwrap_or(usize::MAX);
                    if length > bytes.len() {
                        return Err(Garbled("changes cut short"));
                    }
                    all.push(bytes.split_to(length));
                }
                Ok(Frame::Changes(all))
            }
            PULSE => read(&bytes).map(Frame::Pulse),
            BEHIND => read(&bytes).map(Frame::Behind),
            DECLINED => Ok(Frame::Declined(String::from_utf8_lossy(&bytes).into_owned())),
            AGREED => read(&bytes).map(Frame::Agreed),
            _ => Err(Garbled("a frame of an unknown kind")),
        }
    }
}

fn plain<T: Serialize>(value: &T) -> Vec<u8> {
    match postcard::to_stdvec(value) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("pulses are plain data: {error}"),
    }
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Garbled> {
    postcard::from_bytes(bytes).map_err(|_| Garbled("a frame that cannot be read"))
}

//! Encoded snapshots for followers: many who start together are given the same one.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use tokio::sync::Mutex;

use crate::lifecycle::aside;
use crate::model::Applied;
use crate::replica::{Fetch, Replica};
use crate::state::{Part, State};

use super::wire::{CHUNK, Frame};

/// A snapshot in the frames in which it travels.
pub(super) struct Picture {
    pub applied: Applied,
    pub lineage: u64,
    pub frames: Vec<Bytes>,
}

/// The last one, for as long as anyone holds it.
#[derive(Default)]
pub(super) struct Pictures {
    last: Mutex<Weak<Picture>>,
}

impl Pictures {
    /// A snapshot that is not older than `least` and behind which the tail goes on. Who comes while
    /// one is being encoded waits for it.
    pub async fn take(&self, replica: &Replica, least: Applied) -> io::Result<Arc<Picture>> {
        let mut last = self.last.lock().await;
        if let Some(known) = last.upgrade().filter(|known| fits(known, replica, least)) {
            return Ok(known);
        }
        let state = replica.snapshot();
        let picture = aside(move || Arc::new(Picture::of(&state))).await?;
        *last = Arc::downgrade(&picture);
        Ok(picture)
    }
}

fn fits(known: &Picture, replica: &Replica, least: Applied) -> bool {
    known.applied >= least
        && known.lineage == replica.snapshot().identity().lineage
        && matches!(replica.feed().after(known.applied, 0), Fetch::Tail(_))
}

impl Picture {
    fn of(state: &State) -> Picture {
        // The first frame says how long it is in all, which is known at the end.
        let (mut frames, mut chunk, mut length) = (vec![Bytes::new()], BytesMut::new(), 0);
        let Ok(()) = state.encode_to(Part::Shared, |piece| {
            length += piece.len() as u64;
            if !chunk.is_empty() && chunk.len() + piece.len() > CHUNK {
                frames.push(Frame::Chunk(chunk.split().freeze()).encode());
            }
            chunk.extend_from_slice(piece);
            Ok::<(), Infallible>(())
        });
        frames.push(Frame::Chunk(chunk.freeze()).encode());
        if let Some(first) = frames.first_mut() {
            *first = Frame::Snapshot(length).encode();
        }
        Picture { applied: state.applied(), lineage: state.identity().lineage, frames }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::future::join_all;

    use super::*;
    use crate::cluster::Cluster;
    use crate::model::NodeName;
    use crate::replica::Replica;
    use crate::state::{Command, KvCommand};

    async fn put(cluster: &Cluster, key: &'static str) {
        let (key, value) = (Bytes::from_static(key.as_bytes()), Bytes::new());
        let command = KvCommand::Set { key, value, flags: 0, cas: None };
        cluster.propose(Command::Kv(command)).await.unwrap();
    }

    #[tokio::test]
    async fn those_who_come_together_share_one_snapshot() {
        let cluster = Cluster::solo(NodeName::new("n1").unwrap());
        let replica: Replica = cluster.replica.clone();
        let pictures = Pictures::default();
        put(&cluster, "a").await;
        let none = Applied::default();
        let all = join_all((0..50).map(|_| pictures.take(&replica, none))).await;
        let all: Vec<Arc<Picture>> = all.into_iter().map(Result::unwrap).collect();
        assert!(all.iter().all(|picture| Arc::ptr_eq(picture, &all[0])));
        // The tail leads on from it, so it does for who comes later; not for who has more.
        put(&cluster, "b").await;
        let later = pictures.take(&replica, none).await.unwrap();
        assert!(Arc::ptr_eq(&later, &all[0]));
        let now = replica.snapshot().applied();
        let newer = pictures.take(&replica, now).await.unwrap();
        assert_eq!(newer.applied, now);
        // It is kept by nobody but those who hold it.
        drop((all, later, newer));
        put(&cluster, "c").await;
        let fresh = pictures.take(&replica, none).await.unwrap();
        assert_eq!(fresh.applied, replica.snapshot().applied());
    }
}

//! etcd's snapshot: our own backup in etcd's chunks, filled up to whole sectors, and then the
//! SHA-256 of it all. What is in memory of it is a few chunks.

use std::io::{self, Write};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

use crate::cluster::{Consistency, padding};
use crate::etcd::error::{Code, Failure};
use crate::etcd::gate::Visit;
use crate::etcd::proto::{SnapshotRequest, SnapshotResponse};
use crate::identity::Sum;
use crate::net::http::written;
use crate::state::State;

use super::{elsewhere, over, turn};

type Answers = BoxStream<'static, Result<SnapshotResponse, Failure>>;

/// Bytes of one message (etcd's).
const CHUNK: usize = 32 * 1024;

/// Everything that was acknowledged before the call.
pub(in crate::etcd) fn snapshot(visit: Visit, _: SnapshotRequest) -> Answers {
    stream::once(begin(visit)).try_flatten().boxed()
}

async fn begin(visit: Visit) -> Result<Answers, Failure> {
    let front = &visit.front;
    front.cluster.is_for_operators().map_err(elsewhere)?;
    let permit = turn(front).await?;
    let state = front.cluster.read(Consistency::Linearizable).await?;
    // How long it is has to be said first: it is written twice, and the first time for nobody.
    let len = over(&permit, &state, measure).await?;
    let zeros = padding(len);
    let pieces = written(CHUNK, move |out| {
        let _permit = permit;
        state.back_up(out)?;
        out.write_all(&vec![0; zeros])
    });
    Ok(chunks(pieces.boxed(), len + zeros as u64))
}

fn measure(state: &State) -> u64 {
    struct Length(u64);
    impl Write for Length {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    // Counting cannot fail.
    let _ = state.back_up(&mut length);
    length.0
}

/// The pieces, each with how much is to come, and the sum of all.
fn chunks(pieces: BoxStream<'static, Bytes>, len: u64) -> Answers {
    let begun = Some((pieces, len, Sum::default()));
    let chunks = stream::unfold(begun, |rest| async {
        let (mut pieces, left, mut sum) = rest?;
        let Some(blob) = pieces.next().await else {
            return Some((last(left, sum), None));
        };
        sum.update(&blob);
        let left = left.saturating_sub(blob.len() as u64);
        let answer = SnapshotResponse { remaining_bytes: left, blob, ..Default::default() };
        Some((Ok(answer), Some((pieces, left, sum))))
    });
    chunks.boxed()
}

fn last(left: u64, sum: Sum) -> Result<SnapshotResponse, Failure> {
    if left > 0 {
        return Err(Failure::new(
            Code::Unknown,
            format!("{left} bytes of the snapshot are missing"),
        ));
    }
    let blob = Bytes::copy_from_slice(&sum.finish());
    Ok(SnapshotResponse { blob, ..Default::default() })
}

//! etcd's snapshot: our own backup in etcd's chunks, filled up to whole sectors, and then the
//! SHA-256 of it all. What is in memory of it is a few chunks.

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

use crate::cluster::{Backup, SurveyError, padding};
use crate::etcd::error::{Code, Failure};
use crate::etcd::gate::Visit;
use crate::etcd::proto::{SnapshotRequest, SnapshotResponse};
use crate::identity::Sum;

type Answers = BoxStream<'static, Result<SnapshotResponse, Failure>>;

/// Everything that was acknowledged before the call.
pub(in crate::etcd) fn snapshot(visit: Visit, _: SnapshotRequest) -> Answers {
    stream::once(begin(visit)).try_flatten().boxed()
}

async fn begin(visit: Visit) -> Result<Answers, Failure> {
    let Backup { len, pieces } = visit.front.cluster.back_up(&visit.asker).await?;
    let (zeros, mut left) = (padding(len), len);
    // They have no message of their own, as etcd's have none.
    let padded = pieces.map(move |piece| {
        let piece = piece?;
        left = left.saturating_sub(piece.len() as u64);
        Ok(if left > 0 { piece } else { [&piece[..], &vec![0; zeros]].concat().into() })
    });
    Ok(chunks(padded.boxed(), len + zeros as u64))
}

/// The pieces, each with how much is to come, and the sum of all.
fn chunks(pieces: BoxStream<'static, Result<Bytes, SurveyError>>, len: u64) -> Answers {
    let begun = Some((pieces, len, Sum::default()));
    let chunks = stream::unfold(begun, |rest| async {
        let (mut pieces, left, mut sum) = rest?;
        let blob = match pieces.next().await {
            Some(Ok(blob)) => blob,
            Some(Err(error)) => return Some((Err(error.into()), None)),
            None => return Some((last(left, sum), None)),
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

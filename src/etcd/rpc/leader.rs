//! Callers that would rather be refused than be answered without a leader: metadata `hasleader`.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::time::sleep;
use tonic::Request;

use crate::etcd::Front;
use crate::etcd::error::Failure;

/// How often it is looked, as long as an election of etcd's may take.
const LOOK: Duration = Duration::from_secs(1);
/// Looks in a row that find no leader.
const LOOKS: u32 = 3;

pub(super) fn wanted<Q>(request: &Request<Q>) -> bool {
    let value = request.metadata().get("hasleader");
    value.is_some_and(|value| value.as_bytes() == b"true")
}

pub(super) fn there(front: &Front) -> Result<(), Failure> {
    front.cluster.standing().leader.map(drop).ok_or_else(Failure::no_leader)
}

/// The same answers; where a leader is wanted, they end once there has been none for a while.
pub(super) fn kept<A: Send + 'static>(
    front: Arc<Front>,
    wanted: bool,
    answers: BoxStream<'static, Result<A, Failure>>,
) -> BoxStream<'static, Result<A, Failure>> {
    if !wanted {
        return answers;
    }
    let lost = lost(move || there(&front).is_ok());
    until(answers, lost).boxed()
}

async fn lost(is_there: impl Fn() -> bool) {
    let mut without = 0;
    while without < LOOKS {
        sleep(LOOK).await;
        without = if is_there() { 0 } else { without + 1 };
    }
}

fn until<A: Send + 'static>(
    answers: BoxStream<'static, Result<A, Failure>>,
    lost: impl Future<Output = ()> + Send + 'static,
) -> impl futures::Stream<Item = Result<A, Failure>> + Send {
    stream::unfold(Some((answers, Box::pin(lost))), async |rest| {
        let (mut answers, mut lost) = rest?;
        tokio::select! {
            answer = answers.next() => Some((answer?, Some((answers, lost)))),
            () = &mut lost => Some((Err(Failure::no_leader()), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_once_there_was_no_leader_for_three_looks() {
        let there = Arc::new(AtomicBool::new(true));
        let (looked, begun) = (there.clone(), Instant::now());
        let answers = stream::iter([Ok(1), Ok(2)]).chain(stream::pending()).boxed();
        let lost = lost(move || looked.load(Ordering::Relaxed));
        let mut told = std::pin::pin!(until(answers, lost));
        assert_eq!(told.next().await, Some(Ok(1)));
        assert_eq!(told.next().await, Some(Ok(2)));
        // It comes back before the third look.
        for (after, is_there) in [(10_500, false), (2_000, true), (5_000, false)] {
            let after = Duration::from_millis(after);
            assert!(tokio::time::timeout(after, told.next()).await.is_err());
            there.store(is_there, Ordering::Relaxed);
        }
        assert_eq!(told.next().await, Some(Err(Failure::no_leader())));
        assert_eq!(told.next().await, None);
        assert_eq!(begun.elapsed().as_secs(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_ends_by_itself_is_no_failure() {
        let answers = stream::iter([Ok(1)]).boxed();
        let told: Vec<_> = until(answers, std::future::pending()).collect().await;
        assert_eq!(told, [Ok(1)]);
    }
}

//! Outlasts a leader that has lost its quorum: another may be elected while a client still waits.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::cluster::{Asker, Cluster, Consistency, ProposeError, ReadError};
use crate::model::limits;
use crate::state::{Command, Outcome, State};

/// Such a leader answers at once.
const PAUSE: Duration = Duration::from_millis(100);

/// A state with everything that was acknowledged before.
pub async fn read(cluster: &Cluster) -> Result<Arc<State>, ReadError> {
    let deadline = Instant::now() + limits::LEADER_PATIENCE;
    let lost = |error: &ReadError| *error == ReadError::NoQuorum;
    let read = outlast(deadline, lost, || cluster.read(Consistency::Linearizable));
    timeout_at(deadline, read).await.unwrap_or(Err(ReadError::NoLeader))
}

/// What was not appended is proposed again; what may have been never is.
pub async fn propose(
    cluster: &Cluster,
    asker: &Asker,
    command: Command,
) -> Result<Outcome, ProposeError> {
    let deadline = Instant::now() + limits::LEADER_PATIENCE;
    let lost = |error: &ProposeError| *error == ProposeError::NoQuorum;
    outlast(deadline, lost, || cluster.propose_for(asker, command.clone())).await
}

async fn outlast<T, E, F: Future<Output = Result<T, E>>>(
    deadline: Instant,
    lost: impl Fn(&E) -> bool,
    mut ask: impl FnMut() -> F,
) -> Result<T, E> {
    loop {
        match ask().await {
            Err(error) if lost(&error) && Instant::now() + PAUSE < deadline => sleep(PAUSE).await,
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lost_quorum_is_waited_for_and_nothing_else_is() {
        let begun = Instant::now();
        let deadline = begun + Duration::from_secs(7);
        let mut tries = 0;
        let done = outlast(
            deadline,
            |lost| *lost,
            || {
                tries += 1;
                let result = if tries < 4 { Err(true) } else { Ok(tries) };
                async move { result }
            },
        );
        assert_eq!(done.await, Ok(4));
        assert_eq!(begun.elapsed(), 3 * PAUSE);
        let never = outlast(deadline, |lost| *lost, || async { Err::<(), _>(true) });
        assert_eq!(never.await, Err(true));
        let waited = begun.elapsed();
        assert!(waited <= Duration::from_secs(7) && waited > Duration::from_secs(6), "{waited:?}");
        let other =
            outlast(Instant::now() + PAUSE * 9, |lost| *lost, || async { Err::<(), _>(false) });
        assert_eq!(other.await, Err(false));
        assert_eq!(begun.elapsed(), waited);
    }
}

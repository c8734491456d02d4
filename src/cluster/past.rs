//! What happened before the present revision: servers answer from their history, others ask on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout, timeout_at};

use crate::model::limits;
use crate::net::peer::CallError;
use crate::replica::Replica;
use crate::state::{PastAnswer, PastQuery};

use super::ReadError;
use super::asks::{self, Reply};
use super::edge::Edge;
use super::patience::{Way, pause, pauses};

/// How long a server may take to get as far as the one who asks; it is asked again.
const CATCH_UP: Duration = Duration::from_secs(1);
/// How long the answer may take, over relays too.
pub(super) const ANSWER: Duration = Duration::from_secs(4);

/// A server's answer; none if it has not got to that place in the log in time.
pub(super) async fn recall(replica: &Replica, query: &PastQuery, seen: u64) -> Option<PastAnswer> {
    timeout(CATCH_UP, replica.wait_for(seen)).await.ok()?;
    Some(replica.snapshot().recall(query))
}

/// Asks whoever is followed until there is an answer, but not for ever.
pub(super) async fn ask_on(
    edge: &Arc<Edge>,
    replica: &Replica,
    query: &PastQuery,
) -> Result<PastAnswer, ReadError> {
    let seen = replica.snapshot().applied().index;
    let asked = async {
        let mut pauses = pauses();
        loop {
            let turn = edge.turn();
            if let Some(answer) = edge.recall(query, seen).await {
                return answer;
            }
            pause(&mut pauses, turn).await;
        }
    };
    let deadline = Instant::now() + limits::LEADER_PATIENCE;
    timeout_at(deadline, asked).await.map_err(|_| ReadError::NoLeader)
}

impl From<Option<PastAnswer>> for Reply {
    fn from(answer: Option<PastAnswer>) -> Reply {
        answer.map_or(Reply::NotYet, Reply::Past)
    }
}

/// What the answer to a question about the past means.
pub(super) fn answered(answer: Result<Bytes, CallError>) -> Option<PastAnswer> {
    match asks::decode(&answer.ok()?) {
        Ok(Reply::Past(answer)) => Some(answer),
        Ok(_) | Err(_) => None,
    }
}

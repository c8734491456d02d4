//! Reads all of a server's state for an agent that has none of its history; a relay passes it on.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use tokio::time::timeout;

use crate::access::{Caller, Need};
use crate::cluster::desk::{Desk, Place};
use crate::cluster::edge::Edge;
use crate::cluster::server::Server;
use crate::cluster::{asks, patience};
use crate::model::limits;
use crate::net::peer::{Purpose, Pushes, Streamer};
use crate::state::{Refusal, State};

use super::{Frame, ReadError, Request, Survey, SurveyError, Surveys};

/// Serves those who follow this agent.
pub(in crate::cluster) fn surveyor(desk: Arc<Desk>, surveys: Surveys) -> Streamer {
    Arc::new(move |_, ask: Bytes, mut pushes: Pushes| {
        let (desk, surveys) = (desk.clone(), surveys.clone());
        async move {
            let heard = match desk.place.get() {
                Some(Place::Server(server)) => serve(server, &surveys, &ask, &mut pushes).await,
                Some(Place::Relay(relay)) => pass_on(&relay.edge, ask, &mut pushes).await,
                None => say(&mut pushes, &Frame::NotYet).await,
            };
            if let Err(error) = heard {
                tracing::debug!(%error, "nobody heard all of a checksum or a backup");
            }
        }
        .boxed()
    })
}

async fn say(pushes: &mut Pushes, frame: &Frame) -> io::Result<()> {
    pushes.push(asks::encode(frame)).await
}

async fn serve(
    server: &Arc<Server>,
    surveys: &Surveys,
    ask: &[u8],
    pushes: &mut Pushes,
) -> io::Result<()> {
    let request: Request = asks::decode(ask)
        .map_err(|refused| io::Error::new(io::ErrorKind::InvalidData, refused.0))?;
    match answer(server, surveys, request, pushes).await {
        Ok(told) => told,
        Err(SurveyError::Refused(refusal)) => say(pushes, &Frame::Refused(refusal)).await,
        Err(SurveyError::Read(_) | SurveyError::Broken(_)) => say(pushes, &Frame::NotYet).await,
    }
}

/// Fails before anything was said; what then went wrong with saying it is in the answer.
async fn answer(
    server: &Arc<Server>,
    surveys: &Surveys,
    request: Request,
    pushes: &mut Pushes,
) -> Result<io::Result<()>, SurveyError> {
    match request.survey {
        Survey::KeyHash(revision) => {
            let reached = timeout(limits::SURVEY_CATCH_UP, server.replica.wait_for(request.seen));
            reached.await.map_err(|_| ReadError::NotSynced)?;
            let state = server.replica.snapshot();
            permit(server, &state, request.caller)?;
            let hash = surveys.key_hash(state, revision).await?;
            Ok(say(pushes, &Frame::KeyHash(hash)).await)
        }
        Survey::Backup => {
            let state = patience::read(&**server, &server.replica).await?;
            permit(server, &state, request.caller)?;
            let mut backup = surveys.back_up(state).await?;
            let told = async {
                say(pushes, &Frame::Backup(backup.len)).await?;
                while let Some(piece) = backup.pieces.next().await {
                    let piece = piece.map_err(io::Error::other)?;
                    say(pushes, &Frame::Piece(piece)).await?;
                }
                Ok(())
            };
            Ok(told.await)
        }
    }
}

/// Both are for root alone. An edge's word on who that is counts for nothing.
fn permit(server: &Server, state: &State, caller: Caller) -> Result<(), Refusal> {
    let caller = match caller {
        Caller::Bearer(token) => server.logins.look_at(&token).caller,
        Caller::Nobody => Caller::Nobody,
        Caller::Stranger | Caller::User { .. } | Caller::Holder(_) => Caller::Stranger,
    };
    Ok(state.judge(&caller, Need::Root)?)
}

/// Frame by frame, no faster than they are taken.
async fn pass_on(edge: &Edge, ask: Bytes, pushes: &mut Pushes) -> io::Result<()> {
    let Some(pushed) = edge.open_upstream(Purpose::Survey, ask).await else {
        return say(pushes, &Frame::NotYet).await;
    };
    let mut pushed = pushed?;
    while let Some(frame) = pushed.next().await? {
        pushes.push(frame).await?;
    }
    Ok(())
}

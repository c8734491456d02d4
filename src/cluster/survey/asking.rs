//! Has a server read all of its state, by way of whoever is followed.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use tokio::time::timeout;

use crate::cluster::asks;
use crate::cluster::edge::Edge;
use crate::model::limits;
use crate::net::peer::{Purpose, Pushed};
use crate::state::KeyHash;

use super::{Backup, Frame, ReadError, Request, SurveyError};

pub(super) async fn key_hash(edge: &Edge, request: &Request) -> Result<KeyHash, SurveyError> {
    match begin(edge, request).await? {
        (Frame::KeyHash(hash), _) => Ok(hash),
        (frame, _) => Err(other(frame)),
    }
}

pub(super) async fn back_up(edge: &Edge, request: &Request) -> Result<Backup, SurveyError> {
    let (len, pushed) = match begin(edge, request).await? {
        (Frame::Backup(len), pushed) => (len, pushed),
        (frame, _) => return Err(other(frame)),
    };
    let pieces = stream::unfold(Some(pushed), |rest| async {
        let mut pushed = rest?;
        match next(&mut pushed, limits::BACKUP_PAUSE).await {
            Ok(Some(Frame::Piece(piece))) => Some((Ok(piece), Some(pushed))),
            Ok(Some(frame)) => Some((Err(other(frame)), None)),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(Backup { len, pieces: pieces.boxed() })
}

/// The first frame, and what follows it.
async fn begin(edge: &Edge, request: &Request) -> Result<(Frame, Pushed), SurveyError> {
    let opened = edge.open_upstream(Purpose::Survey, asks::encode(request)).await;
    let mut pushed = opened.ok_or(ReadError::NoLeader)??;
    let first = next(&mut pushed, limits::SURVEY).await?;
    // Who ends at once has no place in the cluster any more.
    let first = first.ok_or(ReadError::NoLeader)?;
    Ok((first, pushed))
}

async fn next(pushed: &mut Pushed, within: Duration) -> Result<Option<Frame>, SurveyError> {
    let frame = timeout(within, pushed.next()).await;
    let frame =
        frame.map_err(|_| SurveyError::Broken(format!("nothing came for {within:?}")))??;
    let frame = frame.map(|frame| asks::decode(&frame)).transpose();
    frame.map_err(|refused| SurveyError::Broken(refused.0))
}

/// Why what was asked for does not come.
fn other(frame: Frame) -> SurveyError {
    match frame {
        Frame::Refused(refusal) => refusal.into(),
        Frame::NotYet => ReadError::NoLeader.into(),
        Frame::KeyHash(_) | Frame::Backup(_) | Frame::Piece(_) => {
            SurveyError::Broken("an answer to another question".to_owned())
        }
    }
}

//! A backup on its way into the state: its pieces lie here, logged, until one command takes them.

use bytes::Bytes;
use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use crate::model::Stamp;

use super::State;
use super::backup::{BackupError, BackupReader};

/// What was staged so far. Servers have it, followers do not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staging {
    pub id: u128,
    /// When its last piece came.
    pub at: Stamp,
    /// Bytes so far.
    pub bytes: u64,
    /// By where they begin.
    pub(super) pieces: OrdMap<u64, Bytes>,
}

/// One piece of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    pub id: u128,
    pub at: Stamp,
    pub offset: u64,
    pub bytes: Bytes,
}

impl Staging {
    pub(super) fn read(&self) -> Result<State, BackupError> {
        let mut reader = BackupReader::default();
        for piece in self.pieces.values() {
            reader.push(piece)?;
        }
        reader.finish().map(|(_, state)| state)
    }
}

impl State {
    /// The backup that is being restored, as far as it has come.
    pub fn staging(&self) -> Option<&Staging> {
        self.staging.as_ref()
    }

    pub(super) fn absorb_piece(&mut self, piece: &Piece) {
        if piece.offset == 0 {
            self.staging = None;
        }
        let new = Staging { id: piece.id, at: piece.at, bytes: 0, pieces: OrdMap::new() };
        let staging = self.staging.get_or_insert(new);
        staging.at = piece.at;
        staging.bytes += piece.bytes.len() as u64;
        staging.pieces.insert(piece.offset, piece.bytes.clone());
    }
}

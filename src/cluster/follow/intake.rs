//! Takes a stream's frames into the replica, in order and never backwards. No I/O.

use bytes::{Bytes, BytesMut};

use crate::model::Applied;
use crate::replica::Writer;
use crate::state::{Changes, Part, State};

use super::wire::{Follow, Frame, Garbled, Pulse};

/// Why a stream cannot be taken in any further.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error(transparent)]
    Garbled(#[from] Garbled),
    #[error("the upstream's snapshot cannot be read: {0}")]
    Snapshot(#[from] crate::state::SnapshotError),
    #[error("the upstream jumped from entry {from} to {to}")]
    Gap { from: u64, to: u64 },
    #[error("the upstream is at entry {0}, behind this agent")]
    Behind(u64),
}

pub(super) struct Intake {
    writer: Writer,
    /// A snapshot on its way, and the length it will have.
    arriving: Option<(BytesMut, u64)>,
    /// The last stream did not fit: the next one is to begin with a snapshot.
    anew: bool,
}

impl Intake {
    pub fn new(writer: Writer) -> Intake {
        Intake { writer, arriving: None, anew: false }
    }

    pub fn state(&self) -> &State {
        self.writer.state()
    }

    /// What a new stream is asked for.
    pub fn position(&self) -> Follow {
        let state = self.writer.state();
        let identity = state.identity();
        let (cluster, lineage) = (identity.cluster, identity.lineage);
        let applied = if self.anew { Applied::default() } else { state.applied() };
        Follow { cluster, lineage, applied }
    }

    /// A stream begins: half a snapshot from the last one is worth nothing.
    pub fn begin(&mut self) {
        self.arriving = None;
    }

    /// Takes one frame in; hands a pulse back. After an error the stream is over.
    pub fn take(&mut self, frame: Bytes) -> Result<Option<Pulse>, Unfit> {
        let taken = self.take_frame(frame);
        self.anew |= matches!(taken, Err(Unfit::Gap { .. } | Unfit::Garbled(_)));
        taken
    }

    fn take_frame(&mut self, frame: Bytes) -> Result<Option<Pulse>, Unfit> {
        match Frame::decode(frame)? {
            Frame::Pulse(pulse) => return Ok(Some(pulse)),
            Frame::Behind(applied) => return Err(Unfit::Behind(applied.index)),
            Frame::Snapshot(length) => self.arriving = Some((BytesMut::new(), length)),
            Frame::Chunk(chunk) => self.take_chunk(&chunk)?,
            Frame::Changes(all) => {
                for encoded in all {
                    self.take_changes(&encoded)?;
                }
                self.writer.publish();
            }
        }
        Ok(None)
    }

    fn take_chunk(&mut self, chunk: &[u8]) -> Result<(), Unfit> {
        let Some((arrived, length)) = &mut self.arriving else {
            return Err(Garbled("a chunk of no snapshot").into());
        };
        arrived.extend_from_slice(chunk);
        match (arrived.len() as u64).cmp(length) {
            std::cmp::Ordering::Less => Ok(()),
            std::cmp::Ordering::Greater => Err(Garbled("more snapshot than announced").into()),
            std::cmp::Ordering::Equal => {
                let state = State::decode(arrived, Part::Shared)?;
                self.arriving = None;
                self.install(state)
            }
        }
    }

    /// Within one lineage an agent never goes back.
    fn install(&mut self, state: State) -> Result<(), Unfit> {
        let (old, new) = (self.writer.state(), &state);
        let same = (old.identity().cluster, old.identity().lineage)
            == (new.identity().cluster, new.identity().lineage);
        if same && new.applied() < old.applied() {
            return Err(Unfit::Behind(new.applied().index));
        }
        self.writer.install(state);
        self.anew = false;
        Ok(())
    }

    fn take_changes(&mut self, encoded: &[u8]) -> Result<(), Unfit> {
        let changes: Changes =
            postcard::from_bytes(encoded).map_err(|_| Garbled("changes that cannot be read"))?;
        let Applied { index: at, .. } = self.writer.state().applied();
        if changes.applied.index <= at {
            return Ok(());
        }
        if changes.applied.index != at + 1 {
            self.writer.publish();
            return Err(Unfit::Gap { from: at, to: changes.applied.index });
        }
        self.writer.absorb(changes);
        Ok(())
    }
}

//! Takes a stream's frames into the replica, in order and never backwards. No I/O.

use bytes::Bytes;

use crate::model::{Applied, limits};
use crate::replica::{Replica, Writer};
use crate::state::{Change, Changes, Decoder, Part, Refusal, State};

use super::comparison::Comparison;
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
    #[error("it takes no follower: {0}")]
    Declined(String),
    /// What was taken in is not what the servers have.
    #[error("this agent's state differs from that of the servers")]
    Differs,
    /// Nothing of it was taken in.
    #[error("{}", Refusal::Outdated { spoken: *spoken, current: *current })]
    Outdated { spoken: u32, current: u32 },
}

pub(super) struct Intake {
    writer: Writer,
    /// A snapshot on its way, and how many bytes of it are missing.
    arriving: Option<(Decoder, u64)>,
    /// The last stream did not fit: the next one is to begin with a snapshot.
    anew: bool,
    /// What is taken in is passed on.
    relay: bool,
    /// The level that this agent speaks at most.
    level: u32,
    comparison: Comparison,
}

impl Intake {
    pub fn new(writer: Writer, relay: bool, level: u32, comparison: Comparison) -> Intake {
        Intake { writer, arriving: None, anew: false, relay, level, comparison }
    }

    pub fn replica(&self) -> Replica {
        self.writer.replica()
    }

    pub fn comparison(&self) -> &Comparison {
        &self.comparison
    }

    /// Makes this agent's state another than it was told.
    #[cfg(test)]
    pub fn corrupt(&mut self, key: &[u8]) {
        self.writer.corrupt(key);
    }

    pub fn state(&self) -> &State {
        self.writer.state()
    }

    /// What a new stream is asked for.
    pub fn position(&self) -> Follow {
        let state = self.writer.state();
        let identity = state.identity();
        let (cluster, lineage) = (identity.cluster, identity.lineage);
        let (applied, anew, relay) = (state.applied(), self.anew, self.relay);
        Follow { cluster, lineage, applied, anew, relay }
    }

    /// A stream begins: half a snapshot from the last one is worth nothing.
    pub fn begin(&mut self) {
        self.arriving = None;
    }

    /// Takes one frame in; hands a pulse back. After an error the stream is over.
    pub fn take(&mut self, frame: Bytes) -> Result<Option<Pulse>, Unfit> {
        let mut taken = self.take_frame(frame);
        if taken.is_ok() && self.comparison.differs() {
            taken = Err(Unfit::Differs);
        }
        self.anew |= matches!(taken, Err(Unfit::Gap { .. } | Unfit::Garbled(_) | Unfit::Differs));
        taken
    }

    fn take_frame(&mut self, frame: Bytes) -> Result<Option<Pulse>, Unfit> {
        match Frame::decode(frame)? {
            Frame::Pulse(pulse) => return Ok(Some(pulse)),
            Frame::Declined(why) => return Err(Unfit::Declined(why)),
            Frame::Agreed(checksum) => {
                self.comparison.hear(checksum);
                // For those who follow this agent.
                self.writer.replica().agree(checksum);
            }
            Frame::Behind(applied) => return Err(Unfit::Behind(applied.index)),
            Frame::Snapshot(length) => {
                if length > limits::SNAPSHOT as u64 {
                    return Err(Garbled("a snapshot that is too large").into());
                }
                self.arriving = Some((Decoder::new(Part::Shared), length));
            }
            Frame::Chunk(chunk) => self.take_chunk(&chunk)?,
            Frame::Changes(all) => {
                for encoded in all {
                    self.take_changes(encoded)?;
                }
                self.writer.publish();
            }
        }
        Ok(None)
    }

    fn take_chunk(&mut self, chunk: &[u8]) -> Result<(), Unfit> {
        let Some((mut decoder, missing)) = self.arriving.take() else {
            return Err(Garbled("a chunk of no snapshot").into());
        };
        let Some(missing) = missing.checked_sub(chunk.len() as u64) else {
            return Err(Garbled("more snapshot than announced").into());
        };
        decoder.push(chunk)?;
        if missing > 0 {
            self.arriving = Some((decoder, missing));
            return Ok(());
        }
        let state = decoder.finish()?;
        self.install(state)
    }

    /// Within one lineage an agent never goes back.
    fn install(&mut self, state: State) -> Result<(), Unfit> {
        self.speaks(state.identity().level)?;
        let (old, new) = (self.writer.state(), &state);
        let same = (old.identity().cluster, old.identity().lineage)
            == (new.identity().cluster, new.identity().lineage);
        if same && new.applied() < old.applied() {
            return Err(Unfit::Behind(new.applied().index));
        }
        self.writer.install(state);
        self.comparison.begin();
        self.anew = false;
        Ok(())
    }

    fn take_changes(&mut self, encoded: Bytes) -> Result<(), Unfit> {
        let changes: Changes =
            postcard::from_bytes(&encoded).map_err(|_| Garbled("changes that cannot be read"))?;
        let Applied { index: at, .. } = self.writer.state().applied();
        if changes.applied.index <= at {
            return Ok(());
        }
        if changes.applied.index != at + 1 {
            self.writer.publish();
            return Err(Unfit::Gap { from: at, to: changes.applied.index });
        }
        for change in &changes.rows {
            if let Change::Identity(identity) = change {
                self.speaks(identity.level)?;
            }
        }
        if self.relay {
            self.writer.absorb_encoded(changes, encoded);
        } else {
            self.writer.absorb(changes);
        }
        Ok(())
    }

    /// Rows of a level above its own may mean what this agent does not know.
    fn speaks(&self, current: u32) -> Result<(), Unfit> {
        let spoken = self.level;
        if current > spoken { Err(Unfit::Outdated { spoken, current }) } else { Ok(()) }
    }
}

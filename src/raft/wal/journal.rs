//! The log's files, written in order: one batch, one frame, one write, one sync.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::lifecycle::chance;

use super::super::disk::{Disk, DiskFile};
use super::error::WalError;
use super::frame;
use super::record::{Position, Record};
use super::recovery::{self, Found};
use super::replay::Recovered;
use super::segment::{self, Header};
use super::spares::Spares;

/// Synchronous and single-threaded; the writer's thread owns it, or a simulation.
pub(super) struct Journal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_size: usize,
    current: Current,
    /// Those before the current one, oldest first.
    sealed: VecDeque<Sealed>,
    spares: Spares,
    carried: Carried,
    next_frame: u64,
    /// A segment was begun since the floor was last kept.
    rolled: bool,
    /// The frame that was written and not yet synced purges entries.
    purges: bool,
}

struct Current {
    file: Box<dyn DiskFile>,
    header: Header,
    last_index: Option<u64>,
    size: usize,
    at: usize,
}

#[derive(Debug)]
struct Sealed {
    sequence: u64,
    last_index: Option<u64>,
    size: usize,
}

/// What each segment repeats at its head, so that the ones before it can go.
#[derive(Debug, Default)]
struct Carried {
    vote: Option<Bytes>,
    committed: Option<Position>,
    purged: Option<Position>,
}

impl Carried {
    fn note(&mut self, record: &Record) {
        match record {
            Record::Vote(vote) => self.vote = Some(vote.clone()),
            Record::Committed(position) => self.committed = *position,
            Record::Purge(position) => self.purged = self.purged.max(Some(*position)),
            Record::Entry(..) | Record::Truncate(_) => {}
        }
    }

    fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        records.extend(self.vote.clone().map(Record::Vote));
        records.extend(self.committed.map(|committed| Record::Committed(Some(committed))));
        records.extend(self.purged.map(Record::Purge));
        records
    }
}

impl Journal {
    /// Opens the log in a directory that exists, making a first segment if there is none.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        segment_size: usize,
    ) -> Result<(Journal, Recovered), WalError> {
        let Found { recovered, mut segments } = recovery::recover(&*disk, dir)?;
        let mut spares = Spares::open(disk.clone(), dir, segment_size)
            .map_err(WalError::io("look for spare segments in", dir))?;
        let (current, next_frame) = match segments.pop() {
            Some(last) => {
                let path = segment::path(dir, last.header.sequence);
                let file = disk.open(&path).map_err(WalError::io("open", &path))?;
                let (header, last_index) = (last.header, last.last_index);
                let current = Current { file, header, last_index, size: last.size, at: last.end };
                (current, last.next_frame)
            }
            None => {
                // Frame numbers begin at 1: zeros are no frame.
                let header = Header { sequence: 1, salt: chance::random(), first_frame: 1 };
                (begin(&*disk, dir, &mut spares, header, segment_size, segment_size)?, 1)
            }
        };
        let sealed = segments.into_iter().map(|segment| Sealed {
            sequence: segment.header.sequence,
            last_index: segment.last_index,
            size: segment.size,
        });
        let carried = Carried {
            vote: recovered.vote.clone(),
            committed: recovered.committed,
            purged: recovered.purged,
        };
        let dir = dir.to_owned();
        let (sealed, rolled) = (sealed.collect(), false);
        let mut journal = Journal {
            disk,
            dir,
            segment_size,
            current,
            sealed,
            spares,
            carried,
            next_frame,
            rolled,
            purges: false,
        };
        journal.spares.prepare();
        Ok((journal, recovered))
    }

    /// Makes a batch durable: when it returns, all of it is.
    #[cfg(test)]
    pub(super) fn commit(&mut self, records: &[Record]) -> Result<usize, WalError> {
        let bytes = self.write(records)?;
        self.sync()?;
        Ok(bytes)
    }

    /// How long the disk is about to take, if that is not for the disk itself to wait out.
    pub(super) fn latency(&self) -> Duration {
        self.disk.latency()
    }

    /// Writes a batch, which is durable after the `sync` that must follow. After an error of either
    /// nothing can be known of what is on disk, and nothing more may be written; but `NoRoom` says
    /// that nothing was. Returns the bytes written.
    pub(super) fn write(&mut self, records: &[Record]) -> Result<usize, WalError> {
        let size = |records: &[Record]| records.iter().map(Record::size).sum::<usize>();
        let mut head = self.carried.records();
        // A segment's first frame always fits: the segment is made for it.
        if !self.fits(records) {
            self.roll(frame::size(size(&head) + size(records)))?;
        }
        // Also where a crash came between a segment's making and its first frame.
        if self.current.at != segment::HEADER {
            head.clear();
        }
        let mut bytes = vec![0; frame::HEADER];
        for record in head.iter().chain(records) {
            record.encode(&mut bytes);
            self.carried.note(record);
            if let Record::Entry(position, _) = record {
                self.current.last_index = self.current.last_index.max(Some(position.index));
            }
        }
        frame::seal(&mut bytes, self.current.header.salt, self.next_frame);
        let path = || segment::path(&self.dir, self.current.header.sequence);
        let written = self.current.file.write_at(&bytes, self.current.at as u64);
        written.map_err(|error| WalError::io("write", &path())(error))?;
        self.current.at += bytes.len();
        self.next_frame += 1;
        self.purges = records.iter().any(|record| matches!(record, Record::Purge(_)));
        Ok(bytes.len())
    }

    /// Has the disk keep what was written.
    pub(super) fn sync(&mut self) -> Result<(), WalError> {
        let path = || segment::path(&self.dir, self.current.header.sequence);
        self.current.file.sync().map_err(|error| WalError::io("sync", &path())(error))?;
        if std::mem::take(&mut self.purges) {
            self.drop_purged();
        }
        self.spares.prepare();
        Ok(())
    }

    /// Tries again to have a next segment ready, where that failed.
    pub(super) fn tend(&mut self) {
        self.spares.prepare();
    }

    /// There is no next segment, as the disk has no room for it.
    pub(super) fn is_short(&self) -> bool {
        self.spares.is_short()
    }

    /// Bytes that can be written without another segment, and leave a reserve for votes.
    pub(super) fn room(&self) -> usize {
        (self.current.size / 2).saturating_sub(self.current.at)
    }

    /// Whether these records go into the present segment.
    pub(super) fn fits(&self, records: &[Record]) -> bool {
        let size = records.iter().map(Record::size).sum();
        self.current.at + frame::size(size) <= self.current.size
    }

    /// The index behind which this log can never fall again, where it is time to write that down:
    /// `kept` is what was written down last.
    pub(super) fn floor_due(&self, kept: u64) -> Option<u64> {
        // Truncation never reaches what is committed. A log's entry 1 is its founder's, who was
        // alone with it, so that it is committed wherever it comes.
        let first = self.current.last_index.map_or(0, |last| last.min(1));
        let reached = self.carried.committed.map_or(0, |committed| committed.index).max(first);
        ((self.rolled || kept == 0) && reached > kept).then_some(reached)
    }

    /// The floor has been written down.
    pub(super) fn floor_kept(&mut self) {
        self.rolled = false;
    }

    fn roll(&mut self, needed: usize) -> Result<(), WalError> {
        let header = Header {
            sequence: self.current.header.sequence + 1,
            salt: chance::random(),
            first_frame: self.next_frame,
        };
        let size = (segment::HEADER + needed).max(self.segment_size);
        let next =
            begin(&*self.disk, &self.dir, &mut self.spares, header, size, self.segment_size)?;
        self.rolled = true;
        let before = std::mem::replace(&mut self.current, next);
        self.sealed.push_back(Sealed {
            sequence: before.header.sequence,
            last_index: before.last_index,
            size: before.size,
        });
        Ok(())
    }

    /// Frees the oldest segments that hold nothing but purged entries. A failure costs only room.
    fn drop_purged(&mut self) {
        let Some(purged) = self.carried.purged else { return };
        while let Some(oldest) = self.sealed.front()
            && oldest.last_index.is_none_or(|last| last <= purged.index)
        {
            let path = segment::path(&self.dir, oldest.sequence);
            if let Err(error) = self.spares.give(&path, oldest.size) {
                tracing::warn!(%error, file = %path.display(), "cannot free a purged segment");
                return;
            }
            self.sealed.pop_front();
        }
    }
}

/// Turns a spare file into a segment; it has its name only once its header is durable.
fn begin(
    disk: &dyn Disk,
    dir: &Path,
    spares: &mut Spares,
    header: Header,
    size: usize,
    spare_size: usize,
) -> Result<Current, WalError> {
    let spare = if size == spare_size { spares.take() } else { spares.take_new(size) };
    let spare = spare.map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            WalError::NoRoom(dir.display().to_string())
        }
        _ => WalError::io("make the next segment in", dir)(error),
    })?;
    let file = disk.open(&spare).map_err(WalError::io("open", &spare))?;
    file.write_at(&header.encode(), 0).map_err(WalError::io("write", &spare))?;
    file.sync().map_err(WalError::io("sync", &spare))?;
    let path = segment::path(dir, header.sequence);
    disk.rename(&spare, &path).map_err(WalError::io("rename a spare segment to", &path))?;
    disk.sync_dir(dir).map_err(WalError::io("sync", dir))?;
    Ok(Current { file, header, last_index: None, size, at: segment::HEADER })
}

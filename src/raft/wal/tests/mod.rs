//! Tests of the log on real files, and of what it says of damaged ones.

mod damage;
mod faults;
mod history;
mod power;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

use super::super::disk::{Disk, RealDisk};
use super::error::WalError;
use super::journal::Journal;
use super::record::{Position, Record};
use super::replay::Recovered;

const SEGMENT: usize = 4096;

fn dir() -> TempDir {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/raft-tests");
    std::fs::create_dir_all(&base).unwrap();
    tempfile::tempdir_in(base).unwrap()
}

fn open(dir: &TempDir) -> Result<(Journal, Recovered), WalError> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    Journal::open(disk, dir.path(), SEGMENT)
}

fn entry(index: u64, size: usize) -> Record {
    let byte = u8::try_from(index % 251).unwrap();
    Record::Entry(Position { index, term: 1 }, Bytes::from(vec![byte; size]))
}

fn indexes(recovered: &Recovered) -> Vec<u64> {
    recovered.entries.iter().map(|(position, _)| position.index).collect()
}

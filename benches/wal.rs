//! Durable entries per second of the log, at one writer and at 64, beside plain writes and syncs.
//!
//! `cargo bench --bench wal [DIR]`; the figures mean something on a real disk only.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use remora::raft::RealDisk;
use remora::raft::wal::{Position, Record, Wal};

const TIME: Duration = Duration::from_secs(3);
const ENTRY: usize = 128;
const SEGMENT: usize = 16 * 1024 * 1024;

fn main() -> anyhow::Result<()> {
    // Cargo passes flags of its own.
    let dir = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let base = match dir {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
    };
    let dir = tempfile::tempdir_in(base)?;
    println!("one write and fdatasync, {ENTRY} bytes: {:>9.0} a second", plain(dir.path())?);
    for writers in [1, 64] {
        let entries = durable(dir.path(), writers)?;
        println!("the log, {writers:>2} writers:              {entries:>9.0} entries a second");
    }
    Ok(())
}

/// What the disk gives without a log: in place, in a file that was filled before.
fn plain(dir: &Path) -> anyhow::Result<f64> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).open(dir.join("plain"))?;
    file.write_all_at(&vec![0; SEGMENT], 0)?;
    file.sync_all()?;
    let (started, mut count) = (Instant::now(), 0_u32);
    while started.elapsed() < TIME {
        let at = u64::from(count) * ENTRY as u64 % SEGMENT as u64;
        file.write_all_at(&[7; ENTRY], at)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}

/// Each writer waits for its entry before it sends the next one.
fn durable(dir: &Path, writers: usize) -> anyhow::Result<f64> {
    let dir = dir.join(format!("wal-{writers}"));
    std::fs::create_dir(&dir)?;
    let (wal, _) = Wal::open(Arc::new(RealDisk), &dir, SEGMENT)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (wal, payload) = (&wal, Bytes::from(vec![7; ENTRY]));
    let next = std::cell::Cell::new(0);
    let started = Instant::now();
    let write = || async {
        while started.elapsed() < TIME {
            let position = Position { index: next.replace(next.get() + 1), term: 1 };
            wal.commit(vec![Record::Entry(position, payload.clone())]).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    runtime.block_on(futures::future::try_join_all((0..writers).map(|_| write())))?;
    Ok(f64::from(next.get() as u32) / started.elapsed().as_secs_f64())
}

//! Disks that fail: nothing is acknowledged after a failed sync, and a full disk is waited out.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::super::disk::DiskFile;
use super::super::writer::Wal;
use super::*;

/// The machine's disk, until told to fail.
#[derive(Default)]
struct Faulty {
    sync_fails: AtomicBool,
    full: AtomicBool,
}

struct FaultyFile {
    file: Box<dyn DiskFile>,
    disk: Arc<Faulty>,
}

struct Shared(Arc<Faulty>);

impl Disk for Shared {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealDisk.read(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        RealDisk.len(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if self.0.full.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(Box::new(FaultyFile { file: RealDisk.create(path)?, disk: self.0.clone() }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(FaultyFile { file: RealDisk.open(path)?, disk: self.0.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        RealDisk.lock(path)
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn zero_at(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.zero_at(offset, len)
    }

    fn sync(&self) -> io::Result<()> {
        if self.disk.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected"));
        }
        self.file.sync()
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_after_a_failed_sync() {
    let (dir, faulty) = (dir(), Arc::new(Faulty::default()));
    let (wal, _) = Wal::open(Arc::new(Shared(faulty.clone())), dir.path(), SEGMENT).unwrap();
    wal.commit(vec![entry(0, 10)]).await.unwrap();
    faulty.sync_fails.store(true, Ordering::SeqCst);
    let error = wal.commit(vec![entry(1, 10)]).await.unwrap_err();
    assert!(error.to_string().contains("injected"), "{error}");
    assert!(error.to_string().contains(".wal"), "{error}");
    faulty.sync_fails.store(false, Ordering::SeqCst);
    wal.commit(vec![entry(2, 10)]).await.unwrap_err();
    drop(wal);
    let (_, recovered) = open(&dir).unwrap();
    assert!(indexes(&recovered).len() <= 2);
}

#[tokio::test]
async fn a_full_disk_is_seen_before_it_hurts_and_waited_out() {
    let (dir, faulty) = (dir(), Arc::new(Faulty::default()));
    let (wal, _) = Wal::open(Arc::new(Shared(faulty.clone())), dir.path(), SEGMENT).unwrap();
    let pressure = wal.pressure();
    faulty.full.store(true, Ordering::SeqCst);
    let mut index = 0;
    while !pressure.is_full() {
        wal.commit(vec![entry(index, 100)]).await.unwrap();
        index += 1;
        assert!(index < 1000, "the log never says that it is full");
    }
    // There is still room for votes.
    wal.commit(vec![Record::Vote(Bytes::from_static(b"vote"))]).await.unwrap();
    faulty.full.store(false, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(10);
    while pressure.is_full() {
        assert!(Instant::now() < deadline, "the log stays full");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wal.commit(vec![entry(index, 100)]).await.unwrap();
}

#[tokio::test]
async fn what_nobody_waits_for_is_written_all_the_same() {
    let dir = dir();
    let (wal, _) = Wal::open(Arc::new(RealDisk), dir.path(), SEGMENT).unwrap();
    wal.submit_lazily(vec![Record::Committed(Some(Position { index: 0, term: 1 }))]);
    wal.close();
    let (_, recovered) = open(&dir).unwrap();
    assert_eq!(recovered.committed, Some(Position { index: 0, term: 1 }));
    wal.commit(vec![entry(0, 1)]).await.unwrap_err();
}

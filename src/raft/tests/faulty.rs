//! A disk that fails when it is told to.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::raft::disk::{Disk, DiskFile, RealDisk};

/// The machine's disk, until told to fail.
#[derive(Default)]
pub struct Faulty {
    pub sync_fails: AtomicBool,
    /// No room for new files, nor for more in those that are new.
    pub full: AtomicBool,
    /// Full once this many bytes more were written to new files; 0: no matter how many.
    pub room: AtomicU64,
}

impl Faulty {
    fn check_room(&self, bytes: u64) -> io::Result<()> {
        let room = self.room.load(Ordering::SeqCst);
        if room > 0 {
            self.room.store(room.saturating_sub(bytes).max(1), Ordering::SeqCst);
            self.full.fetch_or(room <= bytes, Ordering::SeqCst);
        }
        if self.full.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

struct FaultyFile {
    file: Box<dyn DiskFile>,
    disk: Arc<Faulty>,
    /// How long it was when it was opened: what lies beyond needs room.
    len: u64,
}

pub struct Shared(pub Arc<Faulty>);

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
        self.0.check_room(0)?;
        Ok(Box::new(FaultyFile { file: RealDisk.create(path)?, disk: self.0.clone(), len: 0 }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let (file, disk) = (RealDisk.open(path)?, self.0.clone());
        Ok(Box::new(FaultyFile { file, disk, len: RealDisk.len(path)? }))
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

impl FaultyFile {
    fn check_growth(&self, offset: u64, len: u64) -> io::Result<()> {
        if offset + len > self.len { self.disk.check_room(len) } else { Ok(()) }
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check_growth(offset, bytes.len() as u64)?;
        self.file.write_at(bytes, offset)
    }

    fn zero_at(&self, offset: u64, len: u64) -> io::Result<()> {
        self.check_growth(offset, len)?;
        self.file.zero_at(offset, len)
    }

    fn sync(&self) -> io::Result<()> {
        if self.disk.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected"));
        }
        self.file.sync()
    }
}

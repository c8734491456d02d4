//! Files that are ready to become the next segment: recycled ones, else zero-filled ahead of need.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use tokio::time::Instant;

use crate::lifecycle;

use super::super::disk::Disk;
use super::segment;

/// Segments kept for another life; more are removed.
const KEPT: usize = 4;
/// How long to wait after a failure to make one: the disk may have room again.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Spares {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    size: usize,
    ready: VecDeque<PathBuf>,
    /// Names count up and are used once.
    next_name: u64,
    making: Option<(PathBuf, Receiver<io::Result<()>>)>,
    failed: Option<Instant>,
}

impl Spares {
    /// Takes over what a former run left.
    pub(super) fn open(disk: Arc<dyn Disk>, dir: &Path, size: usize) -> io::Result<Spares> {
        let mut ready = VecDeque::new();
        let mut next_name = 1;
        for name in disk.list(dir)? {
            let Some(digits) = name.strip_prefix(segment::SPARE_PREFIX) else { continue };
            next_name = next_name.max(digits.parse().unwrap_or(0) + 1);
            let path = dir.join(&name);
            // One that a crash left half filled, or of another segment size, is of no use.
            if disk.len(&path)? == size as u64 && ready.len() < KEPT {
                ready.push_back(path);
            } else {
                disk.remove(&path)?;
            }
        }
        let dir = dir.to_owned();
        Ok(Spares { disk, dir, size, ready, next_name, making: None, failed: None })
    }

    fn name(&mut self) -> PathBuf {
        self.next_name += 1;
        segment::spare_path(&self.dir, self.next_name - 1)
    }

    /// Has the next one made in the background, if none is there. Called again and again.
    pub(super) fn prepare(&mut self) {
        self.collect(false);
        let resting = self.failed.is_some_and(|at| at.elapsed() < RETRY);
        if !self.ready.is_empty() || self.making.is_some() || resting {
            return;
        }
        let path = self.name();
        let (sender, receiver) = channel();
        let (disk, size, made) = (self.disk.clone(), self.size, path.clone());
        let spawned = lifecycle::thread("wal-spare", move || {
            // The receiver is gone only when the log has been closed.
            let _ = sender.send(make(&*disk, &made, size));
        });
        match spawned {
            Ok(()) => self.making = Some((path, receiver)),
            Err(_) => self.failed = Some(Instant::now()),
        }
    }

    /// Takes in the result of the background work; with `wait` only once it is there.
    fn collect(&mut self, wait: bool) {
        let Some((path, receiver)) = self.making.take() else { return };
        let result = if wait {
            receiver.recv().unwrap_or_else(|_| Err(io::Error::other("its thread has died")))
        } else {
            match receiver.try_recv() {
                Ok(result) => result,
                Err(TryRecvError::Empty) => {
                    self.making = Some((path, receiver));
                    return;
                }
                Err(TryRecvError::Disconnected) => Err(io::Error::other("its thread has died")),
            }
        };
        match result {
            Ok(()) => {
                self.failed = None;
                self.ready.push_back(path);
            }
            Err(error) => {
                if self.failed.is_none() {
                    tracing::warn!(%error, file = %path.display(), "no room for the next segment");
                }
                self.failed = Some(Instant::now());
                let _ = self.disk.remove(&path);
            }
        }
    }

    /// The making of the next one failed and there is none.
    pub(super) fn is_short(&self) -> bool {
        self.failed.is_some() && self.ready.is_empty()
    }

    /// A file of the segment size, waiting for one that is being made.
    pub(super) fn take(&mut self) -> io::Result<PathBuf> {
        if self.ready.is_empty() {
            self.collect(true);
        }
        match self.ready.pop_front() {
            Some(path) => Ok(path),
            None => self.take_new(self.size),
        }
    }

    /// A new file of any size.
    pub(super) fn take_new(&mut self, size: usize) -> io::Result<PathBuf> {
        let path = self.name();
        let made = make(&*self.disk, &path, size);
        made.inspect_err(|_| {
            // Half a segment would only be in the way.
            let _ = self.disk.remove(&path);
        })?;
        Ok(path)
    }

    /// Keeps a segment that is no longer needed for another life, or removes it.
    pub(super) fn give(&mut self, segment: &Path, size: usize) -> io::Result<()> {
        if self.ready.len() >= KEPT || size != self.size {
            return self.disk.remove(segment);
        }
        let path = self.name();
        self.disk.rename(segment, &path)?;
        // Before its next life begins its old name must be gone for good, or a crash could show
        // the new header under it.
        self.disk.sync_dir(&self.dir)?;
        self.ready.push_back(path);
        Ok(())
    }
}

impl Drop for Spares {
    /// Whoever opens the log next must not meet a file that is still being made.
    fn drop(&mut self) {
        if let Some((_, receiver)) = self.making.take() {
            // How that ended is of no interest: the next one looks at what is there.
            let _ = receiver.recv();
        }
    }
}

/// Writes zeros rather than reserving blocks, so that later a sync has no metadata to write.
fn make(disk: &dyn Disk, path: &Path, size: usize) -> io::Result<()> {
    let file = disk.create(path)?;
    file.zero_at(0, size as u64)?;
    file.sync()
}

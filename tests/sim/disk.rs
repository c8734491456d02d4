//! A disk in memory: slow, full or failing on demand, and forgetful when the power goes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use remora::raft::{Disk, DiskFile};

/// What a power loss may tear a write into.
const SECTOR: usize = 512;

type Bytes = Vec<u8>;

#[derive(Default)]
struct File {
    durable: Bytes,
    now: Bytes,
    /// Not yet synced, in order.
    pending: Vec<(usize, Bytes)>,
}

fn put(bytes: &mut Bytes, at: usize, written: &[u8]) {
    bytes.resize(bytes.len().max(at + written.len()), 0);
    bytes[at..at + written.len()].copy_from_slice(written);
}

/// A change of a directory.
#[derive(Clone)]
enum Naming {
    Give(PathBuf, usize),
    Take(PathBuf),
}

fn rename(names: &mut BTreeMap<PathBuf, usize>, naming: &Naming) {
    match naming {
        Naming::Give(path, file) => drop(names.insert(path.clone(), *file)),
        Naming::Take(path) => drop(names.remove(path)),
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Each sync takes this long.
    Slow(Duration),
    /// Nothing can grow.
    Full,
    /// The next sync fails, and every one after it.
    Failing,
    /// The power goes after this many more changes.
    Fuse(u64),
}

struct Content {
    random: SmallRng,
    files: BTreeMap<usize, File>,
    next: usize,
    names: BTreeMap<PathBuf, usize>,
    /// Not yet synced, in order; what belongs together is one.
    namings: Vec<Vec<Naming>>,
    durable_names: BTreeMap<PathBuf, usize>,
    latency: Duration,
    full: bool,
    failing: bool,
    /// Changes until the power goes.
    fuse: u64,
    /// Counts starts: what was opened before a start is of no use after it.
    life: u64,
    /// The last life in which it refused something.
    refused: Option<u64>,
    lost: u64,
}

#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Content>>);

/// A sync of a disk that is well.
pub const QUICK: Duration = Duration::from_micros(1500);

impl SimDisk {
    pub fn new(seed: u64) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(Content {
            random: SmallRng::seed_from_u64(seed),
            files: BTreeMap::new(),
            next: 0,
            names: BTreeMap::new(),
            namings: Vec::new(),
            durable_names: BTreeMap::new(),
            latency: QUICK,
            full: false,
            failing: false,
            fuse: u64::MAX,
            life: 0,
            refused: None,
            lost: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    pub fn trouble(&self, trouble: Trouble) {
        let mut content = self.lock();
        match trouble {
            Trouble::Slow(latency) => content.latency = latency,
            Trouble::Full => content.full = true,
            Trouble::Failing => content.failing = true,
            Trouble::Fuse(fuse) => content.fuse = fuse,
        }
    }

    /// Slow, full and failing no more.
    pub fn mend(&self) {
        let mut content = self.lock();
        (content.latency, content.full, content.failing) = (QUICK, false, false);
        content.fuse = u64::MAX;
    }

    /// It has refused nothing since the last start.
    pub fn is_well(&self) -> bool {
        let content = self.lock();
        content.refused != Some(content.life)
    }

    /// The fuse has burnt down: whatever runs on this disk is dead.
    pub fn is_dead(&self) -> bool {
        self.lock().fuse == 0
    }

    /// The power goes: what was not synced is forgotten, in part or whole, and torn.
    pub fn lose_power(&self) {
        let mut content = self.lock();
        let content = &mut *content;
        for file in content.files.values_mut() {
            for (at, written) in std::mem::take(&mut file.pending) {
                for (number, sector) in written.chunks(SECTOR).enumerate() {
                    if content.random.random_bool(0.5) {
                        put(&mut file.durable, at + number * SECTOR, sector);
                    } else {
                        content.lost += 1;
                    }
                }
            }
            file.now = file.durable.clone();
        }
        let kept = content.random.random_range(0..=content.namings.len());
        for naming in content.namings.drain(..).take(kept).flatten() {
            rename(&mut content.durable_names, &naming);
        }
        content.names = content.durable_names.clone();
        content.life += 1;
        content.fuse = u64::MAX;
        content.sweep();
    }

    /// An empty one takes its place.
    pub fn wipe(&self) {
        let mut content = self.lock();
        content.files.clear();
        content.names.clear();
        content.namings.clear();
        content.durable_names.clear();
        content.life += 1;
    }

    /// The process dies and the machine does not: everything written stays, as it will be synced.
    pub fn change_hands(&self) {
        let mut content = self.lock();
        content.life += 1;
        content.fuse = u64::MAX;
    }

    /// The content, for a change by who opened it in this life; an error once the power is gone.
    fn change(&self, life: Option<u64>) -> io::Result<MutexGuard<'_, Content>> {
        let mut content = self.lock();
        if life.is_some_and(|life| life != content.life) {
            return Err(io::Error::other("of a former life"));
        }
        match content.fuse {
            u64::MAX => {}
            0 | 1 => {
                content.fuse = 0;
                return Err(io::Error::other("no power"));
            }
            _ => content.fuse -= 1,
        }
        Ok(content)
    }

    fn name(&self, namings: Vec<Naming>) -> io::Result<()> {
        let mut content = self.change(None)?;
        for naming in &namings {
            rename(&mut content.names, naming);
        }
        content.namings.push(namings);
        content.sweep();
        Ok(())
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let found = self.lock().names.get(path).copied();
        found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn opened(&self, file: usize) -> Box<dyn DiskFile> {
        let life = self.lock().life;
        Box::new(Open { disk: self.clone(), file, life })
    }
}

impl Content {
    /// Forgets files that no name leads to, nor will after a power loss.
    fn sweep(&mut self) {
        if !self.namings.is_empty() {
            return;
        }
        let (names, durable) = (&self.names, &self.durable_names);
        self.files.retain(|file, _| names.values().chain(durable.values()).any(|at| at == file));
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let content = self.lock();
        let inside = content.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Bytes> {
        let file = self.find(path)?;
        Ok(self.lock().files[&file].now.clone())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let file = self.find(path)?;
        Ok(self.lock().files[&file].now.len() as u64)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = {
            let mut content = self.change(None)?;
            content.next += 1;
            let file = content.next;
            content.files.insert(file, File::default());
            file
        };
        self.name(vec![Naming::Give(path.to_owned(), file)])?;
        Ok(self.opened(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = self.find(path)?;
        Ok(self.opened(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.find(from)?;
        self.name(vec![Naming::Take(from.to_owned()), Naming::Give(to.to_owned(), file)])
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.find(path)?;
        self.name(vec![Naming::Take(path.to_owned())])
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut content = self.change(None)?;
        content.durable_names = content.names.clone();
        content.namings.clear();
        content.sweep();
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Send + Sync>> {
        Ok(Box::new(()))
    }

    fn latency(&self) -> Duration {
        self.lock().latency
    }
}

struct Open {
    disk: SimDisk,
    file: usize,
    life: u64,
}

impl Open {
    fn write(&self, bytes: Bytes, offset: u64) -> io::Result<()> {
        let mut content = self.disk.change(Some(self.life))?;
        let (full, at) = (content.full, usize::try_from(offset).unwrap());
        let Some(file) = content.files.get_mut(&self.file) else { return Ok(()) };
        if full && at + bytes.len() > file.now.len() {
            content.refused = Some(self.life);
            return Err(io::ErrorKind::StorageFull.into());
        }
        put(&mut file.now, at, &bytes);
        file.pending.push((at, bytes));
        Ok(())
    }
}

impl DiskFile for Open {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write(bytes.to_vec(), offset)
    }

    fn zero_at(&self, offset: u64, len: u64) -> io::Result<()> {
        self.write(vec![0; usize::try_from(len).unwrap()], offset)
    }

    fn sync(&self) -> io::Result<()> {
        let mut content = self.disk.change(Some(self.life))?;
        if content.failing {
            content.refused = Some(self.life);
            return Err(io::Error::from_raw_os_error(5));
        }
        let Some(file) = content.files.get_mut(&self.file) else { return Ok(()) };
        for (at, written) in std::mem::take(&mut file.pending) {
            put(&mut file.durable, at, &written);
        }
        Ok(())
    }
}

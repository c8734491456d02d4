//! A disk in memory that loses power: what was not synced is forgotten, in part or whole.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::raft::disk::{Disk, DiskFile};

/// What a power loss may tear a write into.
const SECTOR: usize = 512;

type Bytes = Vec<u8>;

#[derive(Clone, Default)]
struct File {
    durable: Bytes,
    /// Not yet synced, in order.
    pending: Vec<(usize, Bytes)>,
}

impl File {
    fn now(&self) -> Bytes {
        let mut bytes = self.durable.clone();
        self.pending.iter().for_each(|(at, written)| put(&mut bytes, *at, written));
        bytes
    }
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

fn rename(names: &mut BTreeMap<PathBuf, usize>, naming: Naming) {
    match naming {
        Naming::Give(path, file) => drop(names.insert(path, file)),
        Naming::Take(path) => drop(names.remove(&path)),
    }
}

#[derive(Default)]
struct Content {
    files: Vec<File>,
    names: BTreeMap<PathBuf, usize>,
    /// Not yet synced, in order; what belongs together is one.
    namings: Vec<Vec<Naming>>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Operations until the power goes.
    fuse: u64,
}

#[derive(Clone, Default)]
pub struct Forgetful(Arc<Mutex<Content>>);

impl Forgetful {
    /// The power goes after this many operations that change something.
    pub fn light(&self, fuse: u64) {
        self.0.lock().unwrap().fuse = fuse;
    }

    /// What a new start finds on the disk.
    pub fn after_power_loss(&self, seed: u64) -> Forgetful {
        let random = &mut StdRng::seed_from_u64(seed);
        let content = self.0.lock().unwrap();
        let mut files = content.files.clone();
        for file in &mut files {
            for (at, written) in std::mem::take(&mut file.pending) {
                let sectors = written.chunks(SECTOR).enumerate();
                for (number, sector) in sectors.filter(|_| random.random_bool(0.5)) {
                    put(&mut file.durable, at + number * SECTOR, sector);
                }
            }
        }
        let mut names = content.durable_names.clone();
        let kept = random.random_range(0..=content.namings.len());
        for naming in content.namings[..kept].iter().flatten() {
            rename(&mut names, naming.clone());
        }
        let durable_names = names.clone();
        let fuse = u64::MAX;
        let namings = Vec::new();
        Forgetful(Arc::new(Mutex::new(Content { files, names, namings, durable_names, fuse })))
    }

    /// The content, for a change; an error once the power is gone.
    fn change(&self) -> io::Result<MutexGuard<'_, Content>> {
        let mut content = self.0.lock().unwrap();
        match content.fuse.checked_sub(1) {
            Some(fuse) => content.fuse = fuse,
            None => return Err(io::Error::other("no power")),
        }
        Ok(content)
    }

    fn name(&self, namings: Vec<Naming>) -> io::Result<()> {
        let mut content = self.change()?;
        namings.iter().for_each(|naming| rename(&mut content.names, naming.clone()));
        content.namings.push(namings);
        Ok(())
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let found = self.0.lock().unwrap().names.get(path).copied();
        found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Disk for Forgetful {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let content = self.0.lock().unwrap();
        let inside = content.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Bytes> {
        let file = self.find(path)?;
        Ok(self.0.lock().unwrap().files[file].now())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(self.read(path)?.len() as u64)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = {
            let mut content = self.change()?;
            content.files.push(File::default());
            content.files.len() - 1
        };
        self.name(vec![Naming::Give(path.to_owned(), file)])?;
        Ok(Box::new(Open { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Open { disk: self.clone(), file: self.find(path)? }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let file = self.find(from)?;
        self.name(vec![Naming::Take(from.to_owned()), Naming::Give(to.to_owned(), file)])
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.name(vec![Naming::Take(path.to_owned())])
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut content = self.change()?;
        content.durable_names = content.names.clone();
        content.namings.clear();
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Send + Sync>> {
        Ok(Box::new(()))
    }
}

struct Open {
    disk: Forgetful,
    file: usize,
}

impl DiskFile for Open {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.disk.change()?;
        let write = (usize::try_from(offset).unwrap(), bytes.to_vec());
        content.files[self.file].pending.push(write);
        Ok(())
    }

    fn zero_at(&self, offset: u64, len: u64) -> io::Result<()> {
        self.write_at(&vec![0; usize::try_from(len).unwrap()], offset)
    }

    fn sync(&self) -> io::Result<()> {
        let mut content = self.disk.change()?;
        let file = &mut content.files[self.file];
        file.durable = file.now();
        file.pending.clear();
        Ok(())
    }
}

//! What the tests of this module share: directories, commands, servers that can be killed.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::model::{LeaseId, NodeId, NodeName, Role};
use crate::net::peer::{CallError, Purpose};
use crate::raft::{
    Config, Disk as _, LogMark, LogSizes, Marker, ProposeError, Raft, RealDisk, Status, Transport,
};
use crate::replica::{self, Replica};
use crate::state::{Admission, Command, Founding, Part, Put, Settings};
use crate::telemetry::Metrics;

use super::faulty::{Faulty, Shared};

/// A directory on a file system where a sync means something: below the build's own.
pub fn dir() -> TempDir {
    let base = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/raft-tests");
    std::fs::create_dir_all(&base).unwrap();
    tempfile::tempdir_in(base).unwrap()
}

/// Bytes of a snapshot that are sent at once.
pub const CHUNK: usize = 4096;

pub fn config(id: u64, dir: &TempDir) -> Config {
    let sizes = LogSizes {
        segment_bytes: 64 * 1024,
        keep_entries: 2,
        snapshot_chunk: CHUNK,
        ..LogSizes::default()
    };
    Config { sizes, ..Config::new(NodeId(id), dir.path()) }
}

/// Reaches nobody.
pub struct Nowhere;

impl Transport for Nowhere {
    fn call(
        &self,
        to: NodeId,
        _: Purpose,
        _: Bytes,
        _: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>> {
        Box::pin(async move { Err(CallError::NotSent(format!("there is no way to {to}"))) })
    }
}

pub fn found() -> Command {
    Command::Found(Founding {
        cluster: 7,
        lineage: 1,
        settings: Settings::default(),
        founder: Admission {
            name: NodeName::new("one").unwrap(),
            nonce: 1,
            role: Role::Server,
            peer_addr: ([127, 0, 0, 1], 8300).into(),
            client_urls: Vec::new(),
            version: "test".to_owned(),
            level: crate::state::LEVEL,
            token: None,
        },
        trust: Default::default(),
        acl: None,
    })
}

pub fn put(key: &str, value: impl Into<Bytes>) -> Command {
    Command::Put(Put {
        key: key.as_bytes().to_vec().into(),
        value: value.into(),
        lease: LeaseId::NONE,
        prev_kv: false,
        ignore_value: false,
        ignore_lease: false,
    })
}

/// Carries messages between the servers of one process, along links that can be cut.
#[derive(Default)]
struct Switch {
    servers: Mutex<BTreeMap<u64, Raft>>,
    cut: Mutex<BTreeSet<u64>>,
    pieces: Mutex<Pieces>,
}

/// Messages with a piece of a snapshot.
#[derive(Default)]
struct Pieces {
    carried: usize,
    /// From this one on they are lost.
    stop_at: Option<usize>,
}

impl Switch {
    /// Whether a piece gets through.
    fn carries(&self) -> bool {
        let mut pieces = self.pieces.lock().unwrap();
        if pieces.stop_at.is_some_and(|most| pieces.carried >= most) {
            return false;
        }
        pieces.carried += 1;
        true
    }
}

struct Port {
    from: u64,
    switch: Arc<Switch>,
}

impl Transport for Port {
    fn call(
        &self,
        to: NodeId,
        purpose: Purpose,
        body: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>> {
        if purpose == Purpose::Snapshot && body.len() > CHUNK && !self.switch.carries() {
            return Box::pin(async { Err(CallError::Lost("broken off".to_owned())) });
        }
        let is_cut = |id: u64| self.switch.cut.lock().unwrap().contains(&id);
        let target = self.switch.servers.lock().unwrap().get(&to.0).cloned();
        let Some(target) = target.filter(|_| !is_cut(self.from) && !is_cut(to.0)) else {
            return Box::pin(async move { Err(CallError::NotSent(format!("{to} is away"))) });
        };
        let mut answer = Box::pin(target.handle(&body));
        // Once at the moment of the call: that keeps the order of calls.
        let first = answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        Box::pin(async move {
            match first {
                Poll::Ready(answer) => Ok(answer),
                Poll::Pending => timeout(within, answer)
                    .await
                    .map_err(|_| CallError::Lost("no answer in time".to_owned())),
            }
        })
    }
}

struct Server {
    runtime: Runtime,
    raft: Raft,
    replica: Replica,
}

/// Servers that each live in a runtime of their own, so that one can be killed.
pub struct Cluster {
    here: Runtime,
    switch: Arc<Switch>,
    dirs: BTreeMap<u64, TempDir>,
    disks: BTreeMap<u64, Arc<Faulty>>,
    /// What each server has written down about its log.
    marks: BTreeMap<u64, Arc<Mutex<Option<LogMark>>>>,
    servers: BTreeMap<u64, Server>,
    /// How long a leader may be silent before another stands; none: as in production.
    silence: Option<Duration>,
}

pub const PATIENCE: Duration = Duration::from_secs(30);

impl Cluster {
    /// All are voters, and the state is founded.
    pub fn new(servers: u64) -> Cluster {
        Cluster::of(servers, None)
    }

    /// The same, led by the first however busy the machine is.
    pub fn led_by_the_first(servers: u64) -> Cluster {
        Cluster::of(servers, Some(2 * PATIENCE))
    }

    fn of(servers: u64, silence: Option<Duration>) -> Cluster {
        let here = Runtime::new().unwrap();
        let dirs = (1..=servers).map(|id| (id, dir())).collect();
        let disks = (1..=servers).map(|id| (id, Arc::default())).collect();
        let marks = (1..=servers).map(|id| (id, Arc::default())).collect();
        let switch = Arc::default();
        let mut cluster =
            Cluster { here, switch, dirs, disks, marks, servers: BTreeMap::new(), silence };
        (1..=servers).for_each(|id| cluster.start(id));
        let first = cluster.raft(1);
        cluster.here.block_on(async {
            first.found().await.unwrap();
            first.propose(found()).await.unwrap();
            for id in 2..=servers {
                first.add_learner(NodeId(id)).await.unwrap();
            }
            first.change_voters((1..=servers).map(NodeId).collect()).await.unwrap();
        });
        cluster
    }

    pub fn start(&mut self, id: u64) {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mark = self.marks[&id].clone();
        // What was lost lies above the floor: nothing but the other servers can tell.
        let known = mark.lock().unwrap().map(|mark| LogMark { floor: 0, ..mark });
        let keep = move |now| {
            *mark.lock().unwrap() = Some(now);
            Ok(())
        };
        let marker = Marker(Arc::new(keep));
        let mut config = Config { mark: known, marker, ..config(id, &self.dirs[&id]) };
        if let Some(silence) = self.silence {
            (config.election_min, config.election_max) = (silence, 2 * silence);
        }
        let port = Arc::new(Port { from: id, switch: self.switch.clone() });
        let (writer, replica) = replica::new(Part::Server);
        let metrics = Metrics::default();
        let disk = Arc::new(Shared(self.disks[&id].clone()));
        let opening = Raft::open_on(disk, config, writer, port, &metrics);
        let raft = runtime.block_on(opening).unwrap();
        self.switch.servers.lock().unwrap().insert(id, raft.clone());
        self.servers.insert(id, Server { runtime, raft, replica });
    }

    /// Ends a server between one instruction and the next, without a word to anyone.
    pub fn kill(&mut self, id: u64) {
        self.switch.servers.lock().unwrap().remove(&id);
        let Server { runtime, raft, .. } = self.servers.remove(&id).unwrap();
        runtime.shutdown_timeout(Duration::from_secs(5));
        drop(raft);
        // Who was asking it something keeps it for a moment.
        let lock = self.dirs[&id].path().join("lock");
        self.wait("its files are closed", || RealDisk.lock(&lock).is_ok());
    }

    pub fn stop_all(&mut self) {
        for (id, server) in std::mem::take(&mut self.servers) {
            self.switch.servers.lock().unwrap().remove(&id);
            server.runtime.block_on(server.raft.shutdown());
        }
    }

    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.here.block_on(future)
    }

    pub fn raft(&self, id: u64) -> Raft {
        self.servers[&id].raft.clone()
    }

    pub fn status(&self, id: u64) -> Status {
        self.servers[&id].raft.status().borrow().clone()
    }

    pub fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < deadline, "in vain: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The server that leads in the highest term, once there is one.
    pub fn leader(&self) -> u64 {
        let find = || {
            let all = self.servers.keys().map(|id| (self.status(*id), *id));
            all.filter(|(status, _)| status.leads()).max_by_key(|(status, _)| status.term)
        };
        self.wait("a server leads", || find().is_some());
        find().unwrap().1
    }

    /// Writes through whoever leads; a refusal that appended nothing is tried again.
    pub fn write(&self, key: &str) {
        self.write_value(key, 1);
    }

    pub fn write_large(&self, key: &str) {
        self.write_value(key, 4000);
    }

    fn write_value(&self, key: &str, size: usize) {
        self.write_bytes(key, vec![7; size]);
    }

    fn write_bytes(&self, key: &str, value: Vec<u8>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "nobody takes {key}");
            match self.here.block_on(self.raft(self.leader()).propose(put(key, value.clone()))) {
                Ok(_) => return,
                Err(
                    ProposeError::NotLeader { .. }
                    | ProposeError::Unknown(_)
                    | ProposeError::DiskFull
                    | ProposeError::Stopped(_),
                ) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub fn all_have(&self, keys: &[String]) {
        for (id, server) in &self.servers {
            self.wait(&format!("server {id} has every key"), || {
                let state = server.replica.snapshot();
                keys.iter().all(|key| state.key(key.as_bytes()).is_some())
            });
        }
    }

    pub fn disk(&self, id: u64) -> &Faulty {
        &self.disks[&id]
    }

    /// Takes everything from a server that was killed.
    pub fn wipe(&mut self, id: u64) {
        self.dirs.insert(id, dir());
        self.marks.insert(id, Arc::default());
    }

    /// Takes the last frames from the log of a server that was killed, as if never written.
    pub fn shorten(&mut self, id: u64, frames: usize) {
        let wal = self.dirs[&id].path().join("wal");
        let segments = std::fs::read_dir(&wal).unwrap().map(|file| file.unwrap().path());
        let last = segments.filter(|path| path.extension().is_some_and(|e| e == "wal")).max();
        let path = last.unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let starts = crate::raft::wal::frames(&bytes);
        let from = starts[starts.len() - frames];
        bytes[from..].fill(0);
        std::fs::write(&path, bytes).unwrap();
    }

    /// How many full pieces of snapshots were carried so far.
    pub fn pieces(&self) -> usize {
        self.switch.pieces.lock().unwrap().carried
    }

    /// Lets that many full pieces through, and then none; none given: all.
    pub fn stop_pieces_at(&self, most: Option<usize>) {
        self.switch.pieces.lock().unwrap().stop_at = most;
    }

    /// A value that does not become smaller when it is packed.
    pub fn write_noise(&self, key: &str, size: usize) {
        let noise: Vec<u8> = std::iter::repeat_with(rand::random).take(size).collect();
        self.write_bytes(key, noise);
    }

    /// The files in a server's directory of snapshots, by name, with their lengths.
    pub fn snapshot_files(&self, id: u64) -> Vec<(String, u64)> {
        let files = std::fs::read_dir(self.dirs[&id].path().join("snapshots")).unwrap();
        let files = files.map(|file| file.unwrap());
        files
            .map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().len()))
            .collect()
    }

    /// Nothing goes to or comes from this server any more.
    pub fn cut(&self, id: u64) {
        self.switch.cut.lock().unwrap().insert(id);
    }

    pub fn heal(&self) {
        self.switch.cut.lock().unwrap().clear();
    }

    pub fn snapshot(&self, id: u64) {
        self.servers[&id].runtime.block_on(self.servers[&id].raft.snapshot_now()).unwrap();
    }

    /// The index of the oldest entry that a server's log still has.
    pub fn first_entry(&self, id: u64) -> u64 {
        self.servers[&id].raft.first_entry()
    }

    pub fn has_snapshot(&self, id: u64) -> bool {
        std::fs::read_dir(self.dirs[&id].path().join("snapshots"))
            .unwrap()
            .any(|file| file.unwrap().file_name().to_string_lossy().ends_with(".snap"))
    }
}

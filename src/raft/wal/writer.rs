//! The writer: drains the queue, commits it as one batch, tells everyone who waits.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};

use crate::lifecycle::Worker;

use super::super::disk::Disk;
use super::error::WalError;
use super::journal::Journal;
use super::record::Record;
use super::replay::Recovered;

/// Bytes of one batch after which no more is drained into it.
const BATCH: usize = 4 * 1024 * 1024;
/// How long a record that nobody waits for may lie in the queue.
const LAZY: Duration = Duration::from_millis(50);
/// How often a full disk is tried again.
const TEND: Duration = Duration::from_secs(1);

/// Called once with the result, when the records are durable or never will be.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

struct Operation {
    records: Vec<Record>,
    /// None: nobody waits, and the records may go with the next batch.
    done: Option<Done>,
}

/// Where it is written down how far the log has come for good.
pub struct Floors {
    /// What was written down last.
    pub known: u64,
    /// Makes a floor durable; called from the writer's thread.
    pub keep: Box<dyn FnMut(u64) -> io::Result<()> + Send>,
}

impl Floors {
    fn none() -> Floors {
        Floors { known: u64::MAX, keep: Box::new(|_| Ok(())) }
    }

    /// What fails is tried again with the next batch: a floor that is too low is merely of less
    /// use, and no reason for the log to fail.
    fn follow(&mut self, journal: &mut Journal) {
        let Some(floor) = journal.floor_due(self.known) else { return };
        match (self.keep)(floor) {
            Ok(()) => {
                self.known = floor;
                journal.floor_kept();
            }
            Err(error) => tracing::warn!(%error, floor, "cannot write down how far the log is"),
        }
    }
}

/// How the log stands, for whoever decides what may still be written.
#[derive(Debug, Default)]
pub struct Pressure {
    full: AtomicBool,
    written: AtomicU64,
}

impl Pressure {
    /// The disk has no room for the next segment: nothing new should be proposed.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Bytes written since the log was opened.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

/// The log, open. Dropping it writes what is queued and waits for the writer to end.
pub struct Wal {
    open: Mutex<Option<Writer>>,
    pressure: Arc<Pressure>,
}

struct Writer {
    queue: UnboundedSender<Operation>,
    worker: Worker,
}

impl Wal {
    /// Opens the log in `dir`, which exists. Segments have `segment_size` bytes.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        segment_size: usize,
    ) -> Result<(Wal, Recovered), WalError> {
        Wal::open_with(disk, dir, segment_size, Floors::none())
    }

    /// The same, and writes down how far the log has come.
    pub fn open_with(
        disk: Arc<dyn Disk>,
        dir: &Path,
        segment_size: usize,
        floors: Floors,
    ) -> Result<(Wal, Recovered), WalError> {
        let (journal, recovered) = Journal::open(disk, dir, segment_size)?;
        // Bounded by who waits: proposals and appends in flight have bounds of their own.
        let (queue, operations) = unbounded_channel();
        let pressure = Arc::new(Pressure::default());
        let shown = pressure.clone();
        let worker = Worker::start("wal", async move {
            run(journal, floors, operations, &shown).await;
        })
        .map_err(WalError::io("start the writer of", dir))?;
        let open = Mutex::new(Some(Writer { queue, worker }));
        Ok((Wal { open, pressure }, recovered))
    }

    /// Queues records; `done` hears of them after all that were queued before.
    pub fn submit(&self, records: Vec<Record>, done: Done) {
        self.send(Operation { records, done: Some(done) });
    }

    /// Queues records that may become durable later, with the next batch or after a moment.
    pub fn submit_lazily(&self, records: Vec<Record>) {
        self.send(Operation { records, done: None });
    }

    /// Returns when the records are durable.
    pub async fn commit(&self, records: Vec<Record>) -> io::Result<()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.submit(records, Box::new(move |result| drop(sender.send(result))));
        receiver.await.unwrap_or_else(|_| Err(closed()))
    }

    pub fn pressure(&self) -> Arc<Pressure> {
        self.pressure.clone()
    }

    /// Writes what is queued, waits for the writer to end, and takes nothing more.
    pub fn close(&self) {
        let writer = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Writer { queue, worker }) = writer {
            drop(queue);
            worker.join();
        }
    }

    fn send(&self, operation: Operation) {
        let refused = match self.open.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(writer) => writer.queue.send(operation).err().map(|refused| refused.0),
            None => Some(operation),
        };
        if let Some(Operation { done: Some(done), .. }) = refused {
            done(Err(closed()));
        }
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.close();
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log is closed")
}

async fn run(
    mut journal: Journal,
    mut floors: Floors,
    mut operations: UnboundedReceiver<Operation>,
    pressure: &Pressure,
) {
    while let Some(batch) = next_batch(&mut journal, &mut operations, pressure).await {
        let mut records = Vec::new();
        let mut waiting = Vec::new();
        for operation in batch {
            records.extend(operation.records);
            waiting.extend(operation.done);
        }
        match commit(&mut journal, &records).await {
            Ok(bytes) => {
                pressure.written.fetch_add(bytes as u64, Ordering::Relaxed);
                pressure.full.store(journal.is_full(), Ordering::Relaxed);
                floors.follow(&mut journal);
                waiting.into_iter().for_each(|done| done(Ok(())));
            }
            Err(error) => return fail(&error, waiting, operations).await,
        }
    }
}

/// After a failed write or sync nobody knows what is on disk: nothing is acknowledged any more.
async fn fail(error: &WalError, waiting: Vec<Done>, mut operations: UnboundedReceiver<Operation>) {
    tracing::error!(%error, "the log has failed; this node stops");
    let text = error.to_string();
    let failed = || Err(io::Error::new(error.kind(), text.clone()));
    waiting.into_iter().for_each(|done| done(failed()));
    while let Some(operation) = operations.recv().await {
        operation.done.into_iter().for_each(|done| done(failed()));
    }
}

/// Everything that is queued, up to a bound; none once the log is closed.
async fn next_batch(
    journal: &mut Journal,
    operations: &mut UnboundedReceiver<Operation>,
    pressure: &Pressure,
) -> Option<Vec<Operation>> {
    let first = loop {
        if !pressure.is_full() {
            break operations.recv().await?;
        }
        match timeout(TEND, operations.recv()).await {
            Ok(operation) => break operation?,
            Err(_) => {
                journal.tend();
                pressure.full.store(journal.is_full(), Ordering::Relaxed);
            }
        }
    };
    let mut batch = vec![first];
    if batch.iter().all(|operation| operation.done.is_none()) {
        batch.extend(timeout(LAZY, operations.recv()).await.ok().flatten());
    }
    let mut bytes: usize = batch.iter().map(size).sum();
    while bytes < BATCH {
        let Ok(operation) = operations.try_recv() else { break };
        bytes += size(&operation);
        batch.push(operation);
    }
    Some(batch)
}

/// Makes a batch durable.
async fn commit(journal: &mut Journal, records: &[Record]) -> Result<usize, WalError> {
    let bytes = journal.write(records)?;
    let latency = journal.latency();
    if !latency.is_zero() {
        sleep(latency).await;
    }
    journal.sync()?;
    Ok(bytes)
}

fn size(operation: &Operation) -> usize {
    operation.records.iter().map(Record::size).sum()
}

//! The writer: drains the queue, commits it as one batch, tells everyone who waits.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, timeout};

use crate::lifecycle::Worker;
use crate::telemetry::{Histogram, latencies};

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
    /// That it could not be is said once, not with every batch.
    pub failing: bool,
}

impl Floors {
    fn none() -> Floors {
        Floors { known: u64::MAX, keep: Box::new(|_| Ok(())), failing: false }
    }

    /// What fails is tried again with the next batch: a floor that is too low is merely of less
    /// use, and no reason for the log to fail.
    fn follow(&mut self, journal: &mut Journal) {
        let Some(floor) = journal.floor_due(self.known) else { return };
        match (self.keep)(floor) {
            Ok(()) => {
                self.known = floor;
                journal.floor_kept();
                self.failing = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, floor, "cannot write down how far the log is");
                }
            }
        }
    }
}

/// How the log stands, for whoever decides what may still be written.
#[derive(Debug)]
pub struct Pressure {
    short: AtomicBool,
    /// Bytes that are sure to find room while there is no next segment.
    room: AtomicU64,
    /// Bytes handed over and not written yet.
    queued: AtomicU64,
    written: AtomicU64,
    /// How long the disk took to make what was written durable.
    syncs: Histogram,
}

impl Default for Pressure {
    fn default() -> Pressure {
        Pressure {
            short: AtomicBool::default(),
            room: AtomicU64::default(),
            queued: AtomicU64::default(),
            written: AtomicU64::default(),
            syncs: latencies(),
        }
    }
}

/// What a record takes beside its payload, generously.
const OVERHEAD: u64 = 64;

impl Pressure {
    /// The disk has no room for the next segment: nothing new should be proposed.
    pub fn is_full(&self) -> bool {
        self.refuses(0)
    }

    /// There is no next segment; the present one still takes something.
    pub fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// A record with that many bytes might find no room: the disk has none for a next segment.
    pub fn refuses(&self, bytes: usize) -> bool {
        let wanted = self.queued.load(Ordering::Relaxed) + bytes as u64 + OVERHEAD;
        self.is_short() && wanted > self.room.load(Ordering::Relaxed)
    }

    /// Bytes written since the log was opened.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// How long syncs took, in seconds.
    pub fn syncs(&self) -> Histogram {
        self.syncs.clone()
    }

    fn show(&self, journal: &Journal) {
        self.room.store(journal.room() as u64, Ordering::Relaxed);
        self.short.store(journal.is_short(), Ordering::Relaxed);
    }

    /// The log has no room even for what it was given.
    fn stuck(&self) {
        self.room.store(0, Ordering::Relaxed);
        self.short.store(true, Ordering::Relaxed);
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
        let commits = Commits::new(journal, floors, operations, shown);
        let worker = Worker::start("wal", commits.run())
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
        self.pressure.queued.fetch_add(size(&operation) as u64, Ordering::Relaxed);
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

/// The writer at work.
struct Commits {
    journal: Journal,
    floors: Floors,
    operations: UnboundedReceiver<Operation>,
    /// Taken from the queue while the disk was full, and still to be written.
    behind: VecDeque<Operation>,
    pressure: Arc<Pressure>,
}

impl Commits {
    fn new(
        journal: Journal,
        floors: Floors,
        operations: UnboundedReceiver<Operation>,
        pressure: Arc<Pressure>,
    ) -> Commits {
        Commits { journal, floors, operations, behind: VecDeque::new(), pressure }
    }

    async fn run(mut self) {
        while let Some(mut batch) = self.next_batch().await {
            if let Err(error) = self.commit(&mut batch).await {
                return self.fail(&error, batch).await;
            }
        }
    }

    /// Waits where the disk is full until it is not: what was handed over before that was known
    /// must not be the end of this node. Votes go ahead meanwhile, into the reserve: nothing that
    /// waits here was acknowledged to anyone.
    async fn commit(&mut self, batch: &mut Vec<Operation>) -> Result<(), WalError> {
        loop {
            match self.write(batch, Pressure::show).await {
                Err(error) if error.is_full() => self.wait(batch, error).await?,
                written => return written,
            }
            if batch.is_empty() {
                return Ok(());
            }
        }
    }

    /// Makes operations durable, shows how the log stands, and then tells who waits for them.
    async fn write(
        &mut self,
        batch: &mut Vec<Operation>,
        show: fn(&Pressure, &Journal),
    ) -> Result<(), WalError> {
        let records = batch.iter().flat_map(|operation| operation.records.iter().cloned());
        let bytes = self.journal.write(&records.collect::<Vec<_>>())?;
        let latency = self.journal.latency();
        if !latency.is_zero() {
            sleep(latency).await;
        }
        let begun = Instant::now();
        self.journal.sync()?;
        self.pressure.syncs.observe(begun.elapsed().as_secs_f64());
        let queued: usize = batch.iter().map(size).sum();
        self.pressure.queued.fetch_sub(queued as u64, Ordering::Relaxed);
        self.pressure.written.fetch_add(bytes as u64, Ordering::Relaxed);
        show(&self.pressure, &self.journal);
        self.floors.follow(&mut self.journal);
        let waiting = batch.drain(..).filter_map(|operation| operation.done);
        waiting.for_each(|done| done(Ok(())));
        Ok(())
    }

    /// Lets votes go ahead, and takes one more operation into those that wait.
    async fn wait(&mut self, batch: &mut Vec<Operation>, error: WalError) -> Result<(), WalError> {
        let (mut votes, rest): (Vec<_>, Vec<_>) =
            batch.drain(..).partition(|operation| self.may_go_ahead(operation));
        *batch = rest;
        // Before the votes are answered: there is no room, though there is some for them.
        self.pressure.stuck();
        if !votes.is_empty()
            && let Err(error) = self.write(&mut votes, |pressure, _| pressure.stuck()).await
        {
            batch.append(&mut votes);
            return Err(error);
        }
        match timeout(TEND, self.operations.recv()).await {
            Ok(Some(operation)) if self.may_go_ahead(&operation) => batch.push(operation),
            Ok(Some(operation)) => self.behind.push_back(operation),
            Ok(None) => return Err(error),
            Err(_) => self.journal.tend(),
        }
        Ok(())
    }

    fn may_go_ahead(&self, operation: &Operation) -> bool {
        let mut records = operation.records.iter();
        records.all(|record| matches!(record, Record::Vote(_)))
            && self.journal.fits(&operation.records)
    }

    /// After a failed write or sync nobody knows what is on disk: nothing is acknowledged any
    /// more.
    async fn fail(mut self, error: &WalError, batch: Vec<Operation>) {
        tracing::error!(%error, "the log has failed; this node stops");
        let text = error.to_string();
        let failed = || Err(io::Error::new(error.kind(), text.clone()));
        let waiting = batch.into_iter().chain(self.behind);
        waiting.filter_map(|operation| operation.done).for_each(|done| done(failed()));
        while let Some(operation) = self.operations.recv().await {
            operation.done.into_iter().for_each(|done| done(failed()));
        }
    }

    /// Everything that is queued, up to a bound; none once the log is closed.
    async fn next_batch(&mut self) -> Option<Vec<Operation>> {
        let first = self.first().await?;
        let mut batch = vec![first];
        if self.behind.is_empty() && batch.iter().all(|operation| operation.done.is_none()) {
            batch.extend(timeout(LAZY, self.operations.recv()).await.ok().flatten());
        }
        let mut bytes: usize = batch.iter().map(size).sum();
        while bytes < BATCH {
            let behind = self.behind.pop_front();
            let Some(operation) = behind.or_else(|| self.operations.try_recv().ok()) else {
                break;
            };
            bytes += size(&operation);
            batch.push(operation);
        }
        Some(batch)
    }

    async fn first(&mut self) -> Option<Operation> {
        loop {
            if let Some(operation) = self.behind.pop_front() {
                return Some(operation);
            }
            if !self.pressure.is_short() {
                return self.operations.recv().await;
            }
            match timeout(TEND, self.operations.recv()).await {
                Ok(operation) => return operation,
                Err(_) => {
                    self.journal.tend();
                    self.pressure.show(&self.journal);
                }
            }
        }
    }
}

fn size(operation: &Operation) -> usize {
    operation.records.iter().map(Record::size).sum()
}

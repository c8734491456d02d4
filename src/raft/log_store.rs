//! openraft's log storage over the write-ahead log: entries readable in memory, durable in files.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};

use super::codec::{self, CodecError, PlainVote};
use super::open::Lock;
use super::types::{Entry, LogId, Types, Vote, log_id, position};
use super::wal::{Record, Recovered, Wal};

/// Bytes of entries handed to replication at once; one entry is handed out whatever its size.
const READ_AT_ONCE: u64 = 1024 * 1024;

/// Cheap to clone: every clone reads and writes the one log.
#[derive(Clone)]
pub(super) struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    wal: Wal,
    log: RwLock<Log>,
    /// Given up when the log is closed.
    lock: Mutex<Option<Lock>>,
}

/// The log as it stands with everything that was handed over, durable or not yet.
#[derive(Debug, Default)]
struct Log {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    /// Consecutive, following `purged`.
    entries: VecDeque<Entry>,
}

impl Log {
    /// The index of the first entry that is kept, or would be.
    fn first(&self) -> u64 {
        match self.entries.front() {
            Some(first) => first.log_id.index,
            None => self.purged.as_ref().map_or(0, |purged| purged.index + 1),
        }
    }

    fn last(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.log_id).or(self.purged)
    }

    /// How many of the kept entries come before `index`.
    fn offset(&self, index: u64) -> usize {
        let offset = usize::try_from(index.saturating_sub(self.first())).unwrap_or(usize::MAX);
        offset.min(self.entries.len())
    }

    fn range(&self, range: &impl RangeBounds<u64>) -> impl Iterator<Item = &Entry> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        let (start, end) = (self.offset(start), self.offset(end));
        self.entries.range(start..end.max(start))
    }
}

impl LogStore {
    /// Takes over an open log with what was found in it.
    pub(super) fn new(wal: Wal, recovered: Recovered, lock: Lock) -> Result<LogStore, CodecError> {
        let vote =
            recovered.vote.as_deref().map(|bytes| codec::decode::<PlainVote>("a vote", bytes));
        let entries = recovered.entries.iter().map(|(at, bytes)| codec::decode_entry(*at, bytes));
        let log = Log {
            vote: vote.transpose()?.map(Vote::from),
            committed: recovered.committed.map(log_id),
            purged: recovered.purged.map(log_id),
            entries: entries.collect::<Result<_, _>>()?,
        };
        let (log, lock) = (RwLock::new(log), Mutex::new(Some(lock)));
        Ok(LogStore { shared: Arc::new(Shared { wal, log, lock }) })
    }

    /// Writes what is queued and gives the directory free; nothing can be written any more.
    pub(super) fn close(&self) {
        self.shared.wal.close();
        self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// The index of the oldest entry that is kept, or would be.
    pub(super) fn first(&self) -> u64 {
        self.read().first()
    }

    /// The index after the last entry, durable or not yet.
    pub(super) fn next(&self) -> u64 {
        self.read().last().map_or(0, |last| last.index + 1)
    }

    /// The same, if no later term than `term` has begun here: its leader may cut entries off.
    pub(super) fn next_in(&self, term: u64) -> Option<u64> {
        let log = self.read();
        let over = log.vote.is_some_and(|vote| vote.leader_id().term > term);
        (!over).then(|| log.last().map_or(0, |last| last.index + 1))
    }

    /// The last entry that is known to be committed.
    pub(super) fn committed(&self) -> Option<LogId> {
        self.read().committed
    }

    /// The term that this server last voted in; 0: none.
    pub(super) fn term(&self) -> u64 {
        self.read().vote.map_or(0, |vote| vote.leader_id().term)
    }

    /// The entries behind the first `index`; at the very beginning, the first one as well.
    pub(super) fn after(&self, index: Option<u64>) -> Vec<Entry> {
        let from = index.map_or(0, |index| index + 1);
        self.read().range(&(from..)).cloned().collect()
    }

    /// Begins anew behind `at`, where a snapshot reaches, in one durable step.
    pub(super) async fn begin_at(&self, at: LogId, vote: Vote) -> io::Result<()> {
        let vote = Record::Vote(codec::encode(&PlainVote::from(&vote)).into());
        let at = position(&at);
        let records = vec![vote, Record::Purge(at), Record::Committed(Some(at))];
        self.shared.wal.commit(records).await
    }

    /// The last entry to be purged so that those after it, up to `upto`, have no more than `most`
    /// bytes; none if they have no more.
    pub(super) fn excess(&self, upto: u64, most: u64) -> Option<u64> {
        let log = self.read();
        let mut bytes = 0;
        let upto = ..=upto;
        let tail = log.range(&upto);
        // Not a reverse iterator: the deque is walked by position.
        let tail: Vec<(u64, u64)> = tail.map(|entry| (entry.log_id.index, size(entry))).collect();
        tail.into_iter().rev().find_map(|(index, size)| {
            bytes += size;
            (bytes > most).then_some(index)
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Log> {
        self.shared.log.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Log> {
        self.shared.log.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of an entry's command.
fn size(entry: &Entry) -> u64 {
    match &entry.payload {
        openraft::EntryPayload::Normal(logged) => logged.0.len() as u64,
        _ => 0,
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        Ok(self.read().range(&range).cloned().collect())
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let mut bytes = 0;
        let log = self.read();
        let range = start..end;
        let few = log.range(&range).take_while(|entry| {
            let fits = bytes < READ_AT_ONCE;
            bytes += size(entry);
            fits
        });
        Ok(few.cloned().collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.read().vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let log = self.read();
        Ok(LogState { last_purged_log_id: log.purged, last_log_id: log.last() })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let record = Record::Vote(codec::encode(&PlainVote::from(vote)).into());
        // Readers stop following a leader as soon as the vote is given, durable or not.
        self.write().vote = Some(*vote);
        self.shared.wal.commit(vec![record]).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.write().committed = committed;
        let record = Record::Committed(committed.as_ref().map(position));
        self.shared.wal.submit_lazily(vec![record]);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.read().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        {
            let mut log = self.write();
            for entry in entries {
                let payload = codec::encode_payload(&entry.payload);
                records.push(Record::Entry(position(&entry.log_id), payload));
                log.entries.push_back(entry);
            }
        }
        self.shared.wal.submit(records, Box::new(|result| callback.io_completed(result)));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        {
            let mut log = self.write();
            let keep = log.offset(last.as_ref().map_or(0, |last| last.index + 1));
            log.entries.truncate(keep);
        }
        self.shared.wal.commit(vec![Record::Truncate(last.as_ref().map(position))]).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        {
            let mut log = self.write();
            let drop = log.offset(upto.index + 1);
            log.entries.drain(..drop);
            log.purged = log.purged.max(Some(upto));
        }
        self.shared.wal.submit_lazily(vec![Record::Purge(position(&upto))]);
        Ok(())
    }
}

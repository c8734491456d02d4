//! Watch: any number of watches on one stream of requests and answers.
//!
//! Answers wait in no queue but the connection's: while the client does not take them, nothing is
//! looked up, and each watch goes on from its own place in the history afterwards.

mod watcher;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, FuturesUnordered, StreamExt as _};
use prost::Message as _;
use rand::RngExt as _;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::{Instant, sleep, sleep_until};

use crate::access::Need;
use crate::cluster::{Cluster, Consistency};
use crate::lifecycle::Backoff;
use crate::lifecycle::chance::Dice;
use crate::model::limits;
use crate::replica::Watch;
use crate::state::{PastAnswer, PastQuery, Refusal, State};

use super::counts::Held;
use super::error::{Code, Failure};
use super::event::Event;
use super::gate::Visit;
use super::kv::{header, header_at};
use super::proto::watch_request::RequestUnion;
use super::proto::{WatchCreateRequest, WatchRequest, WatchResponse};

use watcher::{Next, Refused, Watcher};

/// Answers between the watch and the connection.
const AHEAD: usize = 4;
/// How often a quiet watch that asked for it is told how far the store is, and up to a tenth more.
const PROGRESS: Duration = Duration::from_secs(600);
/// Least and longest wait before a server is asked again about the past.
const RECALL_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Of an answer that is for no watch in particular.
const NO_WATCH: i64 = -1;

pub(super) type Requests = BoxStream<'static, Result<WatchRequest, Failure>>;
pub(super) type Answers = BoxStream<'static, Result<WatchResponse, Failure>>;

/// Answers until the client is gone: that it asks for nothing more ends nothing.
pub(super) fn answers(visit: Visit, requests: Requests) -> Answers {
    let (out, answers) = mpsc::channel(AHEAD);
    let work = async move {
        let ending = visit.front.life.shutdown.clone();
        let counts = visit.front.counts.clone();
        let _stream = Held::new(&counts.streams, 1);
        let mut line = Line {
            visit,
            out: out.clone(),
            watchers: BTreeMap::new(),
            free: 0,
            serial: 0,
            progress: false,
            wakes: FuturesUnordered::new(),
            counted: Held::new(&counts.watchers, 0),
        };
        tokio::select! {
            ended = line.run(requests) => if let Err(End::Failed(failure)) = ended {
                let _ = out.send(Err(failure)).await;
            },
            () = ending.begun() => {
                let stopped = Failure::new(Code::Unavailable, "etcdserver: server stopped");
                let _ = out.send(Err(stopped)).await;
            }
        }
    };
    let answers = stream::unfold(answers, |mut answers| async {
        answers.recv().await.map(|answer| (answer, answers))
    });
    // The work goes on wherever the answers are asked for: nothing of it outlives them.
    let work = stream::once(work).filter_map(|()| async { None });
    stream::select(answers, work).boxed()
}

/// Why a stream does not go on.
enum End {
    Failed(Failure),
    /// Nobody takes the answers any more.
    Gone,
}

struct Line {
    visit: Visit,
    out: mpsc::Sender<Result<WatchResponse, Failure>>,
    watchers: BTreeMap<i64, Watcher>,
    /// Where the search for an id begins.
    free: i64,
    /// How many watches there were: an id is used again, this number is not.
    serial: u64,
    /// Asked for how far the store is while a watch waited for a server's word on the past.
    progress: bool,
    wakes: FuturesUnordered<BoxFuture<'static, (i64, Wake)>>,
    /// The watches, for the metrics.
    counted: Held,
}

/// Why a watch is looked at again.
enum Wake {
    /// Its range was touched.
    Touched { serial: u64, watch: Watch },
    /// A server's word on the past that it asked for.
    Recalled { serial: u64, answer: PastAnswer },
}

async fn woken(id: i64, serial: u64, mut watch: Watch) -> (i64, Wake) {
    watch.changed().await;
    (id, Wake::Touched { serial, watch })
}

/// Asks until a server answers: a watch outlasts the time that there is none.
async fn recalled(cluster: Cluster, id: i64, serial: u64, query: PastQuery) -> (i64, Wake) {
    let mut backoff = Backoff::new(RECALL_AGAIN.0, RECALL_AGAIN.1);
    loop {
        match cluster.recall(&query).await {
            Ok(answer) => return (id, Wake::Recalled { serial, answer }),
            Err(error) => tracing::debug!(%error, "nobody tells a watch of the past"),
        }
        sleep(backoff.next_delay()).await;
    }
}

impl Line {
    async fn run(&mut self, mut requests: Requests) -> Result<(), End> {
        let mut notify = Instant::now() + progress_interval();
        let mut asking = true;
        loop {
            tokio::select! {
                request = requests.next(), if asking => match request {
                    Some(Ok(request)) => self.take(request).await?,
                    Some(Err(failure)) => return Err(End::Failed(failure)),
                    None => asking = false,
                },
                Some((id, wake)) = self.wakes.next() => self.wake(id, wake).await?,
                () = sleep_until(notify) => {
                    notify = Instant::now() + progress_interval();
                    self.notify().await?;
                }
                () = self.out.closed() => return Err(End::Gone),
            }
            self.counted.set(self.watchers.len());
        }
    }

    /// The wake of a watch that was cancelled ends here.
    async fn wake(&mut self, id: i64, wake: Wake) -> Result<(), End> {
        let (Wake::Touched { serial, .. } | Wake::Recalled { serial, .. }) = &wake;
        let Some(watcher) = self.watchers.get_mut(&id).filter(|now| now.serial == *serial) else {
            return Ok(());
        };
        match wake {
            Wake::Touched { serial, watch } => {
                self.tell(id).await?;
                self.wakes.push(Box::pin(woken(id, serial, watch)));
                Ok(())
            }
            Wake::Recalled { answer, .. } => {
                watcher.recalling = false;
                let next = match answer {
                    PastAnswer::Events(page) => watcher.take(page),
                    PastAnswer::Refused(Refusal::Compacted { compacted, .. }) => {
                        Next::Compacted(compacted)
                    }
                    // An answer to another question is no answer.
                    _ => Next::More,
                };
                self.say(id, next).await?;
                self.tell(id).await?;
                if self.progress { self.progress().await } else { Ok(()) }
            }
        }
    }

    async fn take(&mut self, request: WatchRequest) -> Result<(), End> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(&create).await,
            Some(RequestUnion::CancelRequest(cancel)) => {
                let Some(watcher) = self.watchers.remove(&cancel.watch_id) else { return Ok(()) };
                let canceled = WatchResponse { canceled: true, ..self.now(watcher.id) };
                self.send(canceled).await
            }
            Some(RequestUnion::ProgressRequest(_)) if self.watchers.is_empty() => Ok(()),
            Some(RequestUnion::ProgressRequest(_)) => self.progress().await,
            None => Ok(()),
        }
    }

    /// Watches before it looks at the state: no revision lies between the two.
    async fn create(&mut self, request: &WatchCreateRequest) -> Result<(), End> {
        // An agent without the cluster's state cannot tell what of the past is gone.
        let state = self.visit.front.cluster.read(Consistency::Local).await;
        let state = state.map_err(|error| End::Failed(error.into()))?;
        let range = Watcher::range_of(request);
        let allowed = state.judge(&self.visit.asker.caller, Need::Read(&range));
        self.serial += 1;
        let serial = self.serial;
        let watcher = allowed.map_err(Refused::Denied);
        let watcher = watcher.and_then(|()| Watcher::new(serial, request, &state));
        let watcher = watcher.and_then(|mut watcher| {
            // What is refused uses up no id.
            watcher.id = match request.watch_id {
                0 => self.draw_id(),
                id if self.watchers.contains_key(&id) => return Err(Refused::DuplicateId),
                id => id,
            };
            Ok(watcher)
        });
        let watcher = match watcher {
            Ok(watcher) => watcher,
            Err(refused) => {
                let cancel_reason = refused.reason().to_owned();
                let now = self.now(NO_WATCH);
                let refused = WatchResponse { created: true, canceled: true, cancel_reason, ..now };
                return self.send(refused).await;
            }
        };
        let id = watcher.id;
        let header = Some(header(&self.visit.front, &state));
        let created = WatchResponse { header, created: true, ..self.now(id) };
        let watch = self.visit.front.cluster.watch([watcher.topic()]);
        self.watchers.insert(id, watcher);
        self.send(created).await?;
        self.tell(id).await?;
        self.wakes.push(Box::pin(woken(id, serial, watch)));
        Ok(())
    }

    fn draw_id(&mut self) -> i64 {
        while self.watchers.contains_key(&self.free) {
            self.free += 1;
        }
        self.free += 1;
        self.free - 1
    }

    /// Tells a watch everything that it does not know yet, or has a server asked about it.
    async fn tell(&mut self, id: i64) -> Result<(), End> {
        loop {
            let state = self.visit.front.cluster.snapshot();
            let Some(watcher) = self.watchers.get_mut(&id) else { return Ok(()) };
            if watcher.recalling {
                return Ok(());
            }
            match watcher.next(&state) {
                Next::Nothing => return Ok(()),
                Next::Elsewhere => {
                    watcher.recalling = true;
                    let query = PastQuery::Events(watcher.query());
                    let cluster = self.visit.front.cluster.clone();
                    self.wakes.push(Box::pin(recalled(cluster, id, watcher.serial, query)));
                    return Ok(());
                }
                next => self.say(id, next).await?,
            }
        }
    }

    async fn say(&mut self, id: i64, next: Next) -> Result<(), End> {
        match next {
            Next::Nothing | Next::Elsewhere => Ok(()),
            Next::More => {
                tokio::task::yield_now().await;
                Ok(())
            }
            Next::Events(events, revision) => {
                let state = self.visit.front.cluster.snapshot();
                let Some(watcher) = self.watchers.get(&id) else { return Ok(()) };
                let fragment = watcher.fragment;
                // Rights may be withdrawn while it goes on.
                if let Err(refused) = watcher.is_open_to(&self.visit.asker.caller, &state) {
                    self.watchers.remove(&id);
                    let cancel_reason = refused.reason().to_owned();
                    let now = self.now(id);
                    let canceled = WatchResponse { canceled: true, cancel_reason, ..now };
                    return self.send(canceled).await;
                }
                let header = Some(header_at(&self.visit.front, &state, revision));
                let known = &self.visit.front.events;
                let events = events.iter().map(|past| known.of(past)).collect();
                let told = WatchResponse { header, watch_id: id, ..WatchResponse::default() };
                self.send_events(told, events, fragment).await
            }
            Next::Compacted(compact_revision) => {
                self.watchers.remove(&id);
                // As etcd's: whose it is, but no revision.
                let front = &self.visit.front;
                let header = header_at(front, &front.cluster.snapshot(), 0);
                let canceled = WatchResponse {
                    header: Some(header),
                    watch_id: id,
                    canceled: true,
                    compact_revision,
                    ..WatchResponse::default()
                };
                self.send(canceled).await
            }
        }
    }

    /// All of one answer, or in pieces where the client can put them together again.
    async fn send_events(
        &mut self,
        told: WatchResponse,
        events: Vec<Event>,
        fragment: bool,
    ) -> Result<(), End> {
        let most = self.visit.front.config.request_limit + limits::ETCD_FRAGMENT_ROOM;
        let mut pieces = vec![events];
        if fragment {
            pieces = cut(pieces.pop().unwrap_or_default(), most);
        }
        let last = pieces.len() - 1;
        for (nth, events) in pieces.into_iter().enumerate() {
            let fragment = nth < last;
            self.send(WatchResponse { events, fragment, ..told.clone() }).await?;
        }
        Ok(())
    }

    /// Everything up to the revision that it names has been told to every watch of this stream.
    async fn progress(&mut self) -> Result<(), End> {
        let ids: Vec<i64> = self.watchers.keys().copied().collect();
        let state = self.visit.front.cluster.snapshot();
        for id in ids {
            self.tell(id).await?;
        }
        self.progress = self.watchers.values().any(|watcher| !watcher.is_synced(&state));
        if self.progress {
            return Ok(());
        }
        // What came meanwhile may be told to some of them only.
        let header = Some(header(&self.visit.front, &state));
        self.send(WatchResponse { header, ..self.now(NO_WATCH) }).await
    }

    async fn notify(&mut self) -> Result<(), End> {
        let wanting = self.watchers.values().filter(|watcher| watcher.progress_notify);
        let ids: Vec<i64> = wanting.map(|watcher| watcher.id).collect();
        for id in ids {
            let state = self.visit.front.cluster.snapshot();
            self.tell(id).await?;
            let Some(watcher) = self.watchers.get_mut(&id) else { continue };
            if !std::mem::take(&mut watcher.told) && watcher.is_synced(&state) {
                let header = Some(header(&self.visit.front, &state));
                self.send(WatchResponse { header, ..self.now(id) }).await?;
            }
        }
        Ok(())
    }

    /// An answer without events at this moment.
    fn now(&self, watch_id: i64) -> WatchResponse {
        let state: Arc<State> = self.visit.front.cluster.snapshot();
        let header = Some(header(&self.visit.front, &state));
        WatchResponse { header, watch_id, ..WatchResponse::default() }
    }

    async fn send(&mut self, answer: WatchResponse) -> Result<(), End> {
        let place = match self.out.try_reserve() {
            Ok(place) => place,
            Err(TrySendError::Closed(())) => return Err(End::Gone),
            Err(TrySendError::Full(())) => {
                // None of them is told anything until the client takes what they were told.
                self.counted.set(self.watchers.len());
                let _slow = Held::new(&self.visit.front.counts.slow, self.watchers.len());
                self.out.reserve().await.map_err(|_| End::Gone)?
            }
        };
        place.send(Ok(answer));
        Ok(())
    }
}

/// Pieces of at most so many bytes, but of one event at least.
fn cut(events: Vec<Event>, most: usize) -> Vec<Vec<Event>> {
    let mut pieces = vec![Vec::new()];
    let mut size = 0;
    for event in events {
        let len = event.encoded_len();
        if size + len > most && size > 0 {
            pieces.push(Vec::new());
            size = 0;
        }
        size += len;
        if let Some(piece) = pieces.last_mut() {
            piece.push(event);
        }
    }
    pieces
}

fn progress_interval() -> Duration {
    PROGRESS + PROGRESS.mul_f64(Dice.random_range(0.0..0.1))
}

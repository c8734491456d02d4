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
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::lifecycle::chance::Dice;
use crate::model::limits;
use crate::replica::Watch;
use crate::state::State;

use super::Front;
use super::error::{Code, Failure};
use super::kv::{header, header_at};
use super::proto::watch_request::RequestUnion;
use super::proto::{Event, ResponseHeader, WatchCreateRequest, WatchRequest, WatchResponse};

use watcher::{Next, Refused, Watcher};

/// Answers between the watch and the connection.
const AHEAD: usize = 4;
/// How often a quiet watch that asked for it is told how far the store is, and up to a tenth more.
const PROGRESS: Duration = Duration::from_secs(600);
/// Of an answer that is for no watch in particular.
const NO_WATCH: i64 = -1;

pub(super) type Requests = BoxStream<'static, Result<WatchRequest, Failure>>;
pub(super) type Answers = BoxStream<'static, Result<WatchResponse, Failure>>;

/// Answers until the client is gone: that it asks for nothing more ends nothing.
pub(super) fn answers(front: Arc<Front>, requests: Requests) -> Answers {
    let (out, answers) = mpsc::channel(AHEAD);
    let work = async move {
        let ending = front.life.shutdown.clone();
        let mut line = Line { front, out: out.clone(), watchers: BTreeMap::new(), free: 0 };
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
    front: Arc<Front>,
    out: mpsc::Sender<Result<WatchResponse, Failure>>,
    watchers: BTreeMap<i64, Watcher>,
    /// Where the search for an id begins.
    free: i64,
}

type Wakes = FuturesUnordered<BoxFuture<'static, (i64, Watch)>>;

async fn woken(id: i64, mut watch: Watch) -> (i64, Watch) {
    watch.changed().await;
    (id, watch)
}

impl Line {
    async fn run(&mut self, mut requests: Requests) -> Result<(), End> {
        // A state without a past cannot be watched: an edge's.
        let state = self.front.cluster.snapshot();
        if state.history().is_none() {
            let why = "etcdserver: not capable";
            return Err(End::Failed(Failure::new(Code::FailedPrecondition, why)));
        }
        let mut wakes = Wakes::new();
        let mut notify = Instant::now() + progress_interval();
        let mut asking = true;
        loop {
            tokio::select! {
                request = requests.next(), if asking => match request {
                    Some(Ok(request)) => self.take(request, &mut wakes).await?,
                    Some(Err(failure)) => return Err(End::Failed(failure)),
                    None => asking = false,
                },
                Some((id, watch)) = wakes.next() => {
                    // One that is cancelled has no watcher any more, and its wake ends here.
                    if self.watchers.contains_key(&id) {
                        self.tell(id).await?;
                        wakes.push(Box::pin(woken(id, watch)));
                    }
                }
                () = sleep_until(notify) => {
                    notify = Instant::now() + progress_interval();
                    self.notify().await?;
                }
                () = self.out.closed() => return Err(End::Gone),
            }
        }
    }

    async fn take(&mut self, request: WatchRequest, wakes: &mut Wakes) -> Result<(), End> {
        match request.request_union {
            Some(RequestUnion::CreateRequest(create)) => self.create(&create, wakes).await,
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
    async fn create(&mut self, request: &WatchCreateRequest, wakes: &mut Wakes) -> Result<(), End> {
        let state = self.front.cluster.snapshot();
        let watcher = match request.watch_id {
            0 => Ok(self.draw_id()),
            id if self.watchers.contains_key(&id) => Err(Refused::DuplicateId),
            id => Ok(id),
        };
        let watcher = watcher.and_then(|id| Watcher::new(id, request, &state));
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
        let header = Some(header(&self.front, &state));
        let created = WatchResponse { header, created: true, ..self.now(id) };
        let watch = self.front.cluster.watch([watcher.topic()]);
        self.watchers.insert(id, watcher);
        self.send(created).await?;
        self.tell(id).await?;
        wakes.push(Box::pin(woken(id, watch)));
        Ok(())
    }

    fn draw_id(&mut self) -> i64 {
        while self.watchers.contains_key(&self.free) {
            self.free += 1;
        }
        self.free += 1;
        self.free - 1
    }

    /// Tells a watch everything that it does not know yet.
    async fn tell(&mut self, id: i64) -> Result<(), End> {
        loop {
            let state = self.front.cluster.snapshot();
            let Some(watcher) = self.watchers.get_mut(&id) else { return Ok(()) };
            let fragment = watcher.fragment;
            let Some(history) = state.history() else { return Ok(()) };
            match watcher.next(&state, history) {
                Next::Nothing => return Ok(()),
                Next::More => tokio::task::yield_now().await,
                Next::Events(events, revision) => {
                    let header = Some(header_at(&self.front, &state, revision));
                    let told = WatchResponse { header, watch_id: id, ..WatchResponse::default() };
                    self.send_events(told, events, fragment).await?;
                }
                Next::Compacted(compact_revision) => {
                    self.watchers.remove(&id);
                    return self
                        .send(WatchResponse {
                            header: Some(ResponseHeader::default()),
                            watch_id: id,
                            canceled: true,
                            compact_revision,
                            ..WatchResponse::default()
                        })
                        .await;
                }
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
        let most = self.front.config.request_limit + limits::ETCD_FRAGMENT_ROOM;
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
        let state = self.front.cluster.snapshot();
        for id in ids {
            self.tell(id).await?;
        }
        // What came meanwhile may be told to some of them only.
        let header = Some(header(&self.front, &state));
        self.send(WatchResponse { header, ..self.now(NO_WATCH) }).await
    }

    async fn notify(&mut self) -> Result<(), End> {
        let wanting = self.watchers.values().filter(|watcher| watcher.progress_notify);
        let ids: Vec<i64> = wanting.map(|watcher| watcher.id).collect();
        for id in ids {
            let state = self.front.cluster.snapshot();
            self.tell(id).await?;
            let Some(watcher) = self.watchers.get_mut(&id) else { continue };
            if !std::mem::take(&mut watcher.told) {
                let header = Some(header(&self.front, &state));
                self.send(WatchResponse { header, ..self.now(id) }).await?;
            }
        }
        Ok(())
    }

    /// An answer without events at this moment.
    fn now(&self, watch_id: i64) -> WatchResponse {
        let state: Arc<State> = self.front.cluster.snapshot();
        let header = Some(header(&self.front, &state));
        WatchResponse { header, watch_id, ..WatchResponse::default() }
    }

    async fn send(&self, answer: WatchResponse) -> Result<(), End> {
        self.out.send(Ok(answer)).await.map_err(|_| End::Gone)
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

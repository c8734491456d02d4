//! Many watches of one prefix while somebody writes there steadily: what the writer notices of them,
//! how many events come and how late.
//!
//! `scripts/bench-watches` starts what is measured and runs this:
//! `cargo bench --bench watches -- AUTHORITY WATCHES WRITES SECONDS`.

#[path = "../tests/against/etcd/event.rs"]
mod event;
#[allow(dead_code, unused_imports, reason = "the product's own")]
#[path = "../src/etcd/proto/mod.rs"]
mod proto;
/// The generated messages name it by this path.
mod etcd {
    pub(crate) use crate::event;
}

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::{StreamExt, future, stream};
use http::uri::PathAndQuery;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use proto::watch_request::RequestUnion;
use proto::{PutRequest, PutResponse, WatchCreateRequest, WatchRequest, WatchResponse};

/// Each carries one stream, which the watches share.
const CONNECTIONS: usize = 20;
/// Who write, in turn: so many that one which waits for its answer does not hold the others up.
const WRITERS: u32 = 50;
const PREFIX: &str = "watched/";
const PREFIX_END: &str = "watched0";
/// Of a value; its first eight bytes say when it was sent.
const VALUE: usize = 128;
/// What comes later after the last write counts as lost.
const CATCH_UP: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);
/// Of one answer: a watch that is behind is told much at once.
const ANSWER: usize = 64 << 20;

type Connection = Grpc<Client<HttpConnector, tonic::body::Body>>;

/// Microseconds, counted in steps of an eighth of their size.
#[derive(Default)]
struct Times {
    counts: Vec<u64>,
}

impl Times {
    fn note(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(8);
        let doublings = micros.ilog2() - 3;
        let step = (u64::from(doublings) * 8 + (micros >> doublings) % 8) as usize;
        self.counts.resize(self.counts.len().max(step + 1), 0);
        self.counts[step] += 1;
    }

    fn add(&mut self, other: &Times) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// In milliseconds, at most an eighth too little.
    fn percentile(&self, part: f64) -> f64 {
        let mut left = (self.count() as f64 * part).ceil() as u64;
        let reaches = |count: &u64| {
            left = left.saturating_sub(*count);
            left == 0
        };
        let step = self.counts.iter().position(reaches).unwrap_or(0);
        ((8 + step as u64 % 8) << (step / 8)) as f64 / 1000.0
    }
}

struct Plan {
    authority: String,
    watches: usize,
    /// A second.
    writes: u32,
    seconds: u32,
    /// When this began: what a value says is counted from here.
    began: Instant,
}

fn main() -> anyhow::Result<()> {
    // Cargo passes flags of its own, and its tests nothing else.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let [authority, watches, writes, seconds] = arguments.as_slice() else {
        println!("usage: watches AUTHORITY WATCHES WRITES SECONDS (scripts/bench-watches does it)");
        return Ok(());
    };
    let plan = Arc::new(Plan {
        authority: authority.clone(),
        watches: watches.parse()?,
        writes: writes.parse()?,
        seconds: seconds.parse()?,
        began: Instant::now(),
    });
    // The writers have a thread of their own: they are not to wait for what the watches are told.
    let writers = Builder::new_current_thread().enable_all().build()?;
    let quiet = writers.block_on(write(&plan))?;
    println!("{:.2} {:.2}", quiet.percentile(0.5), quiet.percentile(0.99));

    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let mut watching = runtime.block_on(Watching::begin(&plan))?;
    println!("watching");
    let began = Instant::now();
    let busy = writers.block_on(write(&plan))?;
    let written = Instant::now();
    let due = busy.count() * watching.watches;
    watching.catch_up(due)?;
    let (lags, took) = (watching.lags(), began.elapsed().as_secs_f64());
    println!(
        "{:.2} {:.2} {:.0} {:.2} {:.1} {:.1} {:.1}",
        busy.percentile(0.5),
        busy.percentile(0.99),
        lags.count() as f64 / took,
        100.0 * lags.count() as f64 / due as f64,
        lags.percentile(0.5),
        lags.percentile(0.99),
        written.elapsed().as_secs_f64(),
    );
    Ok(())
}

async fn connect(authority: &str) -> anyhow::Result<Connection> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build(connector);
    let mut connection = Grpc::with_origin(client, format!("http://{authority}").parse()?);
    connection.ready().await?;
    Ok(connection.max_decoding_message_size(ANSWER))
}

/// So many writes a second, whether they are answered or not; how long each took.
async fn write(plan: &Arc<Plan>) -> anyhow::Result<Times> {
    let first = Instant::now();
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let connection = connect(&plan.authority).await?;
        writers.spawn(write_some(plan.clone(), connection, first, number));
    }
    let mut all = Times::default();
    while let Some(times) = writers.join_next().await {
        all.add(&times??);
    }
    Ok(all)
}

/// One writer's part of the writes.
async fn write_some(
    plan: Arc<Plan>,
    mut connection: Connection,
    first: Instant,
    number: u32,
) -> anyhow::Result<Times> {
    let mut times = Times::default();
    for nth in (number..plan.writes * plan.seconds).step_by(WRITERS as usize) {
        let mut due = first + Duration::from_secs(1) * nth / plan.writes;
        // One that could not begin in time has been waiting since then.
        if Instant::now() < due {
            tokio::time::sleep_until(due.into()).await;
            due = Instant::now();
        }
        let sent = u64::try_from(plan.began.elapsed().as_micros())?;
        let mut value = vec![b'v'; VALUE];
        value[..8].copy_from_slice(&sent.to_be_bytes());
        let key = format!("{PREFIX}{:04}", nth % 1000).into();
        let put = PutRequest { key, value: value.into(), ..PutRequest::default() };
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
        connection.ready().await?;
        let codec = ProstCodec::<_, PutResponse>::default();
        connection.unary(tonic::Request::new(put), path, codec).await.context("a put")?;
        times.note(due.elapsed());
    }
    Ok(times)
}

/// All watches, and what each connection was told.
struct Watching {
    watches: u64,
    lags: Vec<Arc<Mutex<Times>>>,
    streams: JoinSet<anyhow::Result<()>>,
}

impl Watching {
    /// Returns once all watches have begun.
    async fn begin(plan: &Arc<Plan>) -> anyhow::Result<Watching> {
        let each = plan.watches.div_ceil(CONNECTIONS);
        let (begun, mut beginning) = mpsc::channel(CONNECTIONS);
        let (mut lags, mut streams) = (Vec::new(), JoinSet::new());
        for _ in 0..CONNECTIONS {
            let connection = connect(&plan.authority).await?;
            let own = Arc::<Mutex<Times>>::default();
            lags.push(own.clone());
            streams.spawn(watch(plan.clone(), connection, each, own, begun.clone()));
        }
        drop(begun);
        for _ in 0..CONNECTIONS {
            if beginning.recv().await.is_none() {
                break;
            }
        }
        let mut watching = Watching { watches: (each * CONNECTIONS) as u64, lags, streams };
        watching.go_on()?;
        Ok(watching)
    }

    /// A stream that has ended says why.
    fn go_on(&mut self) -> anyhow::Result<()> {
        self.streams.try_join_next().map_or(Ok(()), |ended| ended?)
    }

    fn lags(&self) -> Times {
        let mut all = Times::default();
        for lags in &self.lags {
            all.add(&lags.lock().unwrap_or_else(PoisonError::into_inner));
        }
        all
    }

    /// Waits until all events have come that are due, or until it has waited for long.
    fn catch_up(&mut self, due: u64) -> anyhow::Result<()> {
        let until = Instant::now() + CATCH_UP;
        while self.lags().count() < due && Instant::now() < until {
            self.go_on()?;
            thread::sleep(LOOK);
        }
        let count = self.lags().count();
        ensure!(count <= due, "{count} events came where {due} are due");
        Ok(())
    }
}

/// So many watches on one stream: notes how late each event is, and ends with the first that is
/// out of order.
async fn watch(
    plan: Arc<Plan>,
    mut connection: Connection,
    watches: usize,
    lags: Arc<Mutex<Times>>,
    begun: mpsc::Sender<()>,
) -> anyhow::Result<()> {
    let create = |watch_id| WatchCreateRequest {
        key: PREFIX.into(),
        range_end: PREFIX_END.into(),
        watch_id,
        ..WatchCreateRequest::default()
    };
    let asks = (1..=i64::try_from(watches)?).map(move |id| WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create(id))),
    });
    // Who says that nothing more is asked for ends the watches.
    let asks = stream::iter(asks).chain(stream::once(future::pending()));
    let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
    let codec = ProstCodec::<_, WatchResponse>::default();
    let answers = connection.streaming(tonic::Request::new(asks), path, codec).await?;
    let (mut answers, mut left, mut last) = (answers.into_inner(), watches, vec![0; watches + 1]);
    while let Some(answer) = answers.next().await {
        let answer = answer?;
        ensure!(!answer.canceled, "a watch was ended: {answer:?}");
        if answer.created {
            left -= 1;
            if left == 0 {
                begun.send(()).await?;
            }
            continue;
        }
        let last = last.get_mut(usize::try_from(answer.watch_id)?).context("whose events?")?;
        let now = plan.began.elapsed();
        let mut lags = lags.lock().unwrap_or_else(PoisonError::into_inner);
        for event in answer.events {
            let row = event.kv.context("an event without a key")?;
            ensure!(row.mod_revision > *last, "{} comes after {last}", row.mod_revision);
            *last = row.mod_revision;
            let sent = row.value.first_chunk().context("a value that nobody wrote")?;
            lags.note(now.saturating_sub(Duration::from_micros(u64::from_be_bytes(*sent))));
        }
    }
    anyhow::bail!("the server ended a stream")
}

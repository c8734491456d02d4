//! The clients: they write and read through every agent, and remember what they were told.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::ask::Asker;
use super::clients;
use super::history::{Deed, End, History, Pending};
use super::node::Node;

/// Between two requests of one client: the machine has other work as well.
const PAUSE: Duration = Duration::from_millis(20);
/// Of each kind. More than agents, so that each agent has some.
const CLIENTS: usize = 5;
/// One request in so many goes to another agent, though nothing is wrong with the last.
const WANDERS: u32 = 30;

/// Where the agents are, now.
pub type Places = Arc<RwLock<Vec<Ipv4Addr>>>;

/// What all clients share.
pub struct Field {
    pub asker: Asker,
    pub places: Places,
    pub history: Mutex<History>,
    /// What else was seen to be wrong, in words.
    pub wrong: Mutex<Vec<String>>,
    begun: Instant,
    stopped: AtomicBool,
    acknowledged: AtomicU64,
    /// When a write was acknowledged last, and the longest time without since it was asked.
    gap: Mutex<(Instant, Duration)>,
}

pub struct Load {
    pub field: Arc<Field>,
    runtime: Runtime,
    clients: Vec<tokio::task::JoinHandle<()>>,
}

/// One client: it asks one agent until that one fails it, as an app asks its sidecar.
pub struct Visitor {
    pub field: Arc<Field>,
    name: String,
    agent: usize,
    count: u64,
}

impl Load {
    pub fn new(places: Places) -> Load {
        let runtime = Runtime::new().unwrap();
        let asker = runtime.block_on(async { Asker::new() });
        let field = Arc::new(Field {
            asker,
            places,
            history: Mutex::default(),
            wrong: Mutex::default(),
            begun: Instant::now(),
            stopped: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            gap: Mutex::new((Instant::now(), Duration::ZERO)),
        });
        Load { field, runtime, clients: Vec::new() }
    }

    /// Sets all clients to work.
    pub fn start(&mut self) {
        for number in 0..CLIENTS {
            let visitor = |kind| Visitor::new(self.field.clone(), kind, number);
            let runtime = &self.runtime;
            self.clients.extend([
                runtime.spawn(clients::etcd(visitor("etcd"))),
                runtime.spawn(clients::compare_and_set(visitor("cas"))),
                runtime.spawn(clients::consul(visitor("consul"))),
            ]);
        }
        let watcher = Visitor::new(self.field.clone(), "watcher", 0);
        self.clients.push(self.runtime.spawn(clients::watcher(watcher)));
    }

    /// No more requests; those under way are waited for.
    pub fn stop(&mut self) {
        self.field.stopped.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            self.runtime.block_on(client).expect("a client ends by itself");
        }
    }

    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

impl Field {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap()
    }

    pub fn authority(&self, agent: usize) -> String {
        Node::authority(self.places.read().unwrap()[agent])
    }

    /// Carries out a deed, and remembers how it ended.
    async fn record(&self, client: &str, deed: Deed, work: impl Future<Output = End>) -> End {
        let writes = matches!(deed, Deed::Put { .. } | Deed::Cas { .. });
        let pending = Pending::call(client, deed, self.now());
        let end = work.await;
        self.history.lock().unwrap().record(pending.end(end.clone(), self.now()));
        if writes && matches!(end, End::Wrote(_)) {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            let (last, longest) = &mut *self.gap.lock().unwrap();
            *longest = last.elapsed().max(*longest);
            *last = Instant::now();
        }
        end
    }

    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub fn complain(&self, why: String) {
        self.wrong.lock().unwrap().push(why);
    }

    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// The longest time between two acknowledged writes since this was asked last.
    pub fn longest_gap(&self) -> Duration {
        let (last, longest) = &mut *self.gap.lock().unwrap();
        std::mem::take(longest).max(last.elapsed())
    }
}

impl Visitor {
    fn new(field: Arc<Field>, kind: &str, number: usize) -> Visitor {
        let agent = number % field.places.read().unwrap().len();
        Visitor { field, name: format!("{kind}-{number}"), agent, count: 0 }
    }

    /// A name that nobody has had: the client's and a number.
    pub fn next(&mut self) -> String {
        self.count += 1;
        format!("{}/{}", self.name, self.count)
    }

    /// The agent that it asks now.
    pub fn agent(&self) -> String {
        self.field.authority(self.agent)
    }

    /// Takes a breath; false when it is time to go home.
    pub async fn goes_on(&mut self) -> bool {
        tokio::time::sleep(PAUSE).await;
        if rand::random_ratio(1, WANDERS) {
            self.move_on();
        }
        !self.field.stopped()
    }

    pub fn move_on(&mut self) {
        self.agent = rand::random_range(0..self.field.places.read().unwrap().len());
    }

    /// Carries out a deed and remembers it; where it fails, another agent is asked next.
    pub async fn record(&mut self, deed: Deed, work: impl Future<Output = End>) -> End {
        let compares = matches!(deed, Deed::Cas { .. });
        let end = self.field.record(&self.name, deed, work).await;
        if matches!(end, End::Failed | End::Unknown) && !compares {
            self.move_on();
        }
        end
    }
}

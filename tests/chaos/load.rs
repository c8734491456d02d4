//! The clients: they write and read through every agent, and remember what they were told.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::ask::Asker;
use super::history::{Deed, End, History, Pending};
use super::node::Node;

/// Between two requests of one client: the machine has other work as well.
const PAUSE: Duration = Duration::from_millis(20);
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
    /// The revision up to which those who follow have to see everything; 0: there is no end yet.
    goal: AtomicU64,
    acknowledged: AtomicU64,
    /// When a write was acknowledged last, and the longest time without since it was asked.
    gap: Mutex<(Instant, Duration)>,
}

pub struct Load {
    pub field: Arc<Field>,
    runtime: Runtime,
    clients: Vec<JoinHandle<()>>,
    followers: Vec<JoinHandle<()>>,
}

/// One client: it asks one agent until that one fails it, as an app asks its sidecar.
#[derive(Clone)]
pub struct Visitor {
    pub field: Arc<Field>,
    pub name: String,
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
            goal: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            gap: Mutex::new((Instant::now(), Duration::ZERO)),
        });
        Load { field, runtime, clients: Vec::new(), followers: Vec::new() }
    }

    /// Sets so many clients of a kind to work, until it is time to go home.
    pub fn send<C>(&mut self, kind: &str, count: usize, client: impl Fn(Visitor) -> C)
    where
        C: Future<Output = ()> + Send + 'static,
    {
        let clients = self.set_out(kind, count, client);
        self.clients.extend(clients);
    }

    /// Sets so many to work who follow what the clients do, until they have seen all of it.
    pub fn follow<C>(&mut self, kind: &str, count: usize, client: impl Fn(Visitor) -> C)
    where
        C: Future<Output = ()> + Send + 'static,
    {
        let followers = self.set_out(kind, count, client);
        self.followers.extend(followers);
    }

    fn set_out<C>(
        &self,
        kind: &str,
        count: usize,
        client: impl Fn(Visitor) -> C,
    ) -> Vec<JoinHandle<()>>
    where
        C: Future<Output = ()> + Send + 'static,
    {
        let visitors = (0..count).map(|number| Visitor::new(self.field.clone(), kind, number));
        visitors.map(|visitor| self.runtime.spawn(client(visitor))).collect()
    }

    /// A client that does what it is told.
    pub fn visitor(&self, name: &str) -> Visitor {
        Visitor::new(self.field.clone(), name, 0)
    }

    /// No more requests; those under way are waited for.
    pub fn stop(&mut self) {
        self.field.stopped.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            self.runtime.block_on(client).expect("a client ends by itself");
        }
    }

    /// Waits until those who follow have seen everything up to a revision.
    pub fn catch_up(&mut self, goal: u64) {
        self.field.goal.store(goal, Ordering::Relaxed);
        for follower in self.followers.drain(..) {
            self.runtime.block_on(follower).expect("a follower ends by itself");
        }
    }

    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

impl Field {
    /// Of the history's clock, in microseconds.
    pub fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap()
    }

    pub fn authority(&self, agent: usize) -> String {
        Node::authority(self.places.read().unwrap()[agent])
    }

    /// Carries out what is done at once, and remembers how it ended.
    async fn record(&self, client: &str, deeds: Vec<Deed>, work: impl Future<Output = End>) -> End {
        let writes = deeds.iter().any(|deed| matches!(deed, Deed::Put { .. } | Deed::Cas { .. }));
        let called = self.now();
        let pending = deeds.into_iter().map(|deed| Pending::call(client, deed, called));
        let end = work.await;
        let returned = self.now();
        let operations = pending.map(|pending| pending.end(end.clone(), returned));
        self.history.lock().unwrap().operations.extend(operations);
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

    /// The revision up to which those who follow have to see everything, once there is one.
    pub fn goal(&self) -> Option<u64> {
        Some(self.goal.load(Ordering::Relaxed)).filter(|goal| *goal > 0)
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
        self.pause().await;
        if rand::random_ratio(1, WANDERS) {
            self.move_on();
        }
        !self.field.stopped()
    }

    /// Takes a breath.
    pub async fn pause(&self) {
        tokio::time::sleep(PAUSE).await;
    }

    pub fn move_on(&mut self) {
        self.agent = rand::random_range(0..self.field.places.read().unwrap().len());
    }

    /// Carries out a deed and remembers it; where it fails, another agent is asked next.
    pub async fn record(&mut self, deed: Deed, work: impl Future<Output = End>) -> End {
        self.record_all(vec![deed], work).await
    }

    /// The same of several that are done at once.
    pub async fn record_all(&mut self, deeds: Vec<Deed>, work: impl Future<Output = End>) -> End {
        let compares = deeds.iter().any(|deed| matches!(deed, Deed::Cas { .. }));
        let end = self.field.record(&self.name, deeds, work).await;
        if matches!(end, End::Failed | End::Unknown) && !compares {
            self.move_on();
        }
        end
    }
}

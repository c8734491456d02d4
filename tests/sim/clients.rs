//! Clients of several agents: they write, compare, delete and read, and all they see is recorded.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use remora::cluster::{Cluster, Consistency, ProposeError};
use remora::lifecycle::chance::Dice;
use remora::state::{Command, DeleteRange, KeyRange, KvCommand, Outcome, Put, State};

use super::clock::{Now, micros};
use super::history::{Deed, End, History, Micros, Pending, Revision, Seen};
use super::host::Host;
use super::trace::Trace;

const KEYS: u32 = 6;
const COUNT: usize = 8;
/// Large enough that the log grows to a snapshot's size within seconds.
const PADDING: usize = 60;

/// How an operation ended, told by the task that made it.
type Desk = Arc<Mutex<Vec<(usize, u64, End, Micros)>>>;

pub struct Clients {
    clients: Vec<Client>,
    desk: Desk,
    written: u64,
    serial: u64,
    pub history: History,
    /// The last revision that anyone read of each key.
    known: Vec<Revision>,
    /// None: everyone rests.
    pub open: bool,
}

struct Client {
    next: Now,
    busy: Option<Busy>,
}

struct Busy {
    serial: u64,
    host: usize,
    pending: Pending,
}

impl Clients {
    pub fn new() -> Clients {
        let clients = (0..COUNT).map(|_| Client { next: Now::ZERO, busy: None }).collect();
        Clients {
            clients,
            desk: Arc::default(),
            written: 0,
            serial: 0,
            history: History::default(),
            known: vec![0; KEYS as usize],
            open: true,
        }
    }

    pub fn are_idle(&self) -> bool {
        self.clients.iter().all(|client| client.busy.is_none())
    }

    /// Takes in what has ended, and has whoever is idle ask for something.
    pub fn step(&mut self, now: Now, hosts: &[Host], trace: &mut Trace) {
        let ended: Vec<_> = std::mem::take(&mut *self.desk.lock().unwrap());
        for (number, serial, end, at) in ended {
            let client = &mut self.clients[number];
            if client.busy.as_ref().is_none_or(|busy| busy.serial != serial) {
                continue;
            }
            let Some(busy) = client.busy.take() else { continue };
            client.next = now + Duration::from_millis(Dice.random_range(4..110));
            if end == End::Failed {
                client.next += Duration::from_millis(100);
            }
            self.record(number, busy, end, at, trace);
        }
        for number in 0..self.clients.len() {
            let client = &self.clients[number];
            if self.open && client.busy.is_none() && client.next <= now {
                self.ask(number, hosts);
            }
        }
    }

    fn record(&mut self, number: usize, busy: Busy, end: End, at: Micros, trace: &mut Trace) {
        let operation = busy.pending.end(end, at);
        let key: usize = operation.deed.key()[1..].parse().unwrap();
        if let End::Read(Seen { value: Some((_, revision)), .. }) = &operation.end {
            self.known[key] = *revision;
        }
        let name = match &operation.deed {
            Deed::Put { value, .. } => format!("put {}", &value[..8]),
            Deed::Cas { value, expected, .. } => format!("cas {expected} {}", &value[..8]),
            Deed::Delete { .. } => "delete".to_owned(),
            Deed::Get { .. } => "get".to_owned(),
            Deed::StaleGet { .. } => "stale get".to_owned(),
        };
        let end = match &operation.end {
            End::Read(Seen { revision, value }) => {
                format!("read {revision} {:?}", value.as_ref().map(|(_, revision)| revision))
            }
            other => format!("{other:?}"),
        };
        let (host, called) = (busy.host, operation.called);
        trace.note(format!("c{number} h{host} k{key} {name}, {called}..{at}: {end}"));
        self.history.record(operation);
    }

    fn ask(&mut self, number: usize, hosts: &[Host]) {
        // Mostly the own agent: where one is cut off, the clients of the others go on.
        let host = match Dice.random_range(0..10) {
            0 => Dice.random_range(0..hosts.len()),
            _ => number % hosts.len(),
        };
        let Some(cluster) = hosts[host].cluster() else {
            self.clients[number].next += Duration::from_millis(20);
            return;
        };
        let deed = self.draw(number);
        self.serial += 1;
        let (serial, desk, cluster) = (self.serial, self.desk.clone(), cluster.clone());
        let pending = Pending::call(format!("c{number} at h{host}"), deed.clone(), micros());
        self.clients[number].busy = Some(Busy { serial, host, pending });
        hosts[host].spawn(async move {
            let end = act(&cluster, &deed).await;
            desk.lock().unwrap().push((number, serial, end, micros()));
        });
    }

    fn draw(&mut self, number: usize) -> Deed {
        let place = Dice.random_range(0..KEYS);
        let key = format!("k{place}");
        self.written += 1;
        let value = format!("v{number}.{:05}{}", self.written, "x".repeat(PADDING));
        match Dice.random_range(0..100) {
            0..40 => Deed::Put { key, value },
            40..52 => Deed::Cas { key, expected: self.known[place as usize], value },
            52..57 => Deed::Delete { key },
            57..90 => Deed::Get { key },
            _ => Deed::StaleGet { key },
        }
    }

    /// A host is gone: what was asked of it has no known outcome. Reads have none at all.
    pub fn lose(&mut self, host: usize, trace: &mut Trace) {
        let now = micros();
        for number in 0..self.clients.len() {
            let Some(busy) = self.clients[number].busy.take_if(|busy| busy.host == host) else {
                continue;
            };
            self.record(number, busy, End::Unknown, now, trace);
        }
    }
}

/// A revision as histories count.
pub fn at(revision: i64) -> Revision {
    u64::try_from(revision).unwrap()
}

async fn act(cluster: &Cluster, deed: &Deed) -> End {
    let key = Bytes::from(deed.key().to_owned());
    let command = match deed {
        Deed::Get { .. } => {
            return match cluster.read(Consistency::Linearizable).await {
                Ok(state) => End::Read(seen(&state, &key)),
                Err(_) => End::Failed,
            };
        }
        Deed::StaleGet { .. } => {
            return match cluster.read(Consistency::Local).await {
                Ok(state) => End::Read(seen(&state, &key)),
                Err(_) => End::Failed,
            };
        }
        Deed::Put { value, .. } => Command::Put(Put {
            key: key.clone(),
            value: value.clone().into(),
            lease: Default::default(),
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        }),
        Deed::Cas { value, expected, .. } => Command::Kv(KvCommand::Set {
            key: key.clone(),
            value: value.clone().into(),
            flags: 0,
            cas: Some(i64::try_from(*expected).unwrap()),
        }),
        Deed::Delete { .. } => {
            let range = KeyRange::one(key.clone());
            Command::DeleteRange(DeleteRange { range, prev_kv: false })
        }
    };
    match cluster.propose(command).await {
        Ok(Outcome::Put { revision, .. }) => End::Wrote(Some(at(revision))),
        Ok(Outcome::Deleted { count: 0, revision, .. }) => {
            End::Read(Seen { revision: at(revision), value: None })
        }
        Ok(Outcome::Deleted { revision, .. }) => End::Wrote(Some(at(revision))),
        Ok(Outcome::Kv(true)) => End::Wrote(own_revision(&cluster.snapshot(), &key, deed)),
        Ok(_) => End::Failed,
        Err(ProposeError::Unknown(_)) => End::Unknown,
        Err(_) => End::Failed,
    }
}

pub fn seen(state: &State, key: &Bytes) -> Seen {
    let value = state
        .key(key)
        .map(|row| (String::from_utf8_lossy(&row.value).into_owned(), at(row.modified)));
    Seen { revision: at(state.revision()), value }
}

/// Where a write is whose answer does not say; none if it is replaced already.
fn own_revision(state: &State, key: &Bytes, deed: &Deed) -> Option<Revision> {
    let row = state.key(key)?;
    let Deed::Cas { value, .. } = deed else { return None };
    (row.value == value.as_bytes()).then(|| at(row.modified))
}

//! Encoded answers that are still true, so that most queries are a look-up and a copy.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::model::{Index, fold, limits};
use crate::state::State;

use super::lookup::Found;
use super::target::Target;
use super::wire::NAME;

/// Bytes of an entry beside its records, roughly.
const ENTRY: usize = 320;

/// Services are told apart by so much of their hash where it is asked which of them moved.
const FIELDS: usize = 4096;

/// One worker's memory, bounded by `limits::DNS_MEMO`. It has two halves: what is asked for moves
/// into the younger, and when that is full the elder is forgotten and they change places.
#[derive(Default)]
pub struct Memo {
    young: Half,
    old: Half,
    moves: Moves,
}

/// When services moved last, as far as that is followed: most answers are known to be true
/// without a look into the state, however fast others change.
struct Moves {
    lineage: u64,
    /// Followed so far.
    upto: Index,
    /// All may have moved up to here.
    all: Index,
    /// By field: the state in which some service of it was found to have moved.
    fields: Box<[Index; FIELDS]>,
    hasher: RandomState,
}

#[derive(Default)]
struct Half {
    /// By lower-case name with the type behind it.
    entries: HashMap<Box<[u8]>, Entry>,
    weight: usize,
}

struct Entry {
    subject: Subject,
    found: Found,
    truth: Truth,
    /// The index of the state in which that was last compared.
    seen: Index,
    /// Of the service; none where the answer hangs on something else.
    field: Option<u16>,
    weight: usize,
}

/// What an answer is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    Service(Box<str>),
    Node(Box<str>),
    /// A prepared query of that service.
    Query(Box<str>),
}

/// Indexes of the subject. While they stand still, the answer is true.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Truth {
    own: Index,
    queries: Index,
}

impl Subject {
    /// Of what there is; of names that are not there would be no end.
    fn of(target: &Target, state: &State) -> Option<Subject> {
        match target {
            Target::Service { name, .. } if state.has_service(name) => {
                Some(Subject::Service(name.as_str().into()))
            }
            Target::Node(name) if state.node(name).is_some() => {
                Some(Subject::Node(name.as_str().into()))
            }
            Target::Query(name) => {
                let service = state.find_query(name)?.def.target.service.clone();
                state.has_service(&service).then(|| Subject::Query(service.into()))
            }
            _ => None,
        }
    }

    fn truth(&self, state: &State) -> Truth {
        match self {
            // It moves with the rows of the nodes under its instances, too.
            Subject::Service(name) => Truth { own: state.service_health_index(name), queries: 0 },
            Subject::Node(name) => Truth { own: state.node_catalog_index(name), queries: 0 },
            Subject::Query(service) => {
                let own = state.service_health_index(service);
                Truth { own, queries: state.queries_index() }
            }
        }
    }
}

impl Default for Moves {
    fn default() -> Moves {
        let fields = Box::new([0; FIELDS]);
        Moves { lineage: 0, upto: 0, all: 0, fields, hasher: RandomState::new() }
    }
}

impl Moves {
    fn field(&self, subject: &Subject) -> Option<u16> {
        match subject {
            Subject::Service(name) => Some(self.field_of(&fold(name))),
            Subject::Node(_) | Subject::Query(_) => None,
        }
    }

    fn field_of(&self, service: &str) -> u16 {
        (self.hasher.hash_one(service) % FIELDS as u64) as u16
    }

    /// False: it is another past, of which nothing is known.
    fn follow(&mut self, state: &State) -> bool {
        let (lineage, index) = (state.identity().lineage, state.index());
        if self.lineage != lineage {
            return false;
        }
        if self.upto == index {
            return true;
        }
        match state.services_moved_since(self.upto) {
            Some(services) => {
                for service in services {
                    let field = usize::from(self.field_of(service.as_str()));
                    if let Some(moved) = self.fields.get_mut(field) {
                        *moved = index;
                    }
                }
            }
            None => self.all = index,
        }
        self.upto = index;
        true
    }

    /// Whether that field stood still since.
    fn is_still(&self, field: Option<u16>, since: Index) -> bool {
        let moved = |field: u16| self.fields.get(usize::from(field)).copied();
        field.and_then(moved).unwrap_or(self.upto).max(self.all) <= since
    }
}

impl Entry {
    fn is_true(&mut self, state: &State, moves: &Moves) -> bool {
        if !moves.is_still(self.field, self.seen) {
            if self.truth != self.subject.truth(state) {
                return false;
            }
            self.seen = state.index();
        }
        true
    }
}

impl Half {
    fn insert(&mut self, key: Box<[u8]>, entry: Entry) {
        self.weight += entry.weight;
        let old = self.entries.insert(key, entry);
        self.weight -= old.map_or(0, |old| old.weight);
    }

    fn remove(&mut self, key: &[u8]) -> Option<(Box<[u8]>, Entry)> {
        let removed = self.entries.remove_entry(key)?;
        self.weight -= removed.1.weight;
        Some(removed)
    }
}

impl Memo {
    /// The answers to the name in lower case, if they are kept and true in this state.
    pub fn get(&mut self, name: &[u8], qtype: u16, state: &State) -> Option<&mut Found> {
        self.follow(state);
        let mut buffer = [0; NAME + 2];
        let key: &[u8] = key(name, qtype, &mut buffer)?;
        if !self.young.entries.contains_key(key) {
            let (key, entry) = self.old.remove(key)?;
            self.keep(key, entry);
        }
        let entry = self.young.entries.get_mut(key)?;
        if entry.is_true(state, &self.moves) { Some(&mut entry.found) } else { None }
    }

    /// Keeps what was found for something that is there.
    pub fn put(&mut self, name: &[u8], qtype: u16, state: &State, target: &Target, found: Found) {
        let weight = match &found {
            Found::Records(answers) if !answers.is_volatile() => answers.weight(),
            Found::Empty | Found::Absent => 0,
            _ => return,
        };
        let weight = ENTRY + name.len() + weight;
        if weight > limits::DNS_MEMO / 2 {
            return;
        }
        let Some(subject) = Subject::of(target, state) else { return };
        let mut buffer = [0; NAME + 2];
        let Some(key) = key(name, qtype, &mut buffer) else { return };
        self.follow(state);
        let (truth, field) = (subject.truth(state), self.moves.field(&subject));
        self.old.remove(key);
        let seen = state.index();
        self.keep(key.into(), Entry { subject, found, truth, seen, field, weight });
    }

    fn follow(&mut self, state: &State) {
        if !self.moves.follow(state) {
            *self = Memo::default();
            self.moves.lineage = state.identity().lineage;
            (self.moves.upto, self.moves.all) = (state.index(), state.index());
        }
    }

    fn keep(&mut self, key: Box<[u8]>, entry: Entry) {
        if self.young.weight + entry.weight > limits::DNS_MEMO / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, entry);
    }
}

fn key<'b>(name: &[u8], qtype: u16, buffer: &'b mut [u8; NAME + 2]) -> Option<&'b [u8]> {
    let key = buffer.get_mut(..name.len() + 2)?;
    let (head, tail) = key.split_at_mut(name.len());
    head.copy_from_slice(name);
    tail.copy_from_slice(&qtype.to_be_bytes());
    Some(key)
}

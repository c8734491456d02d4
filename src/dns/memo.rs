//! Encoded answers that are still true, so that most queries are a look-up and a copy.

use std::collections::HashMap;

use crate::model::{Index, limits};
use crate::state::State;

use super::lookup::Found;
use super::wire::NAME;

/// Bytes of an entry beside its records, roughly.
const ENTRY: usize = 256;

/// One worker's memory, bounded by `limits::DNS_MEMO`; when it is full it starts anew.
#[derive(Default)]
pub struct Memo {
    /// By lower-case name with the type behind it.
    entries: HashMap<Box<[u8]>, Entry>,
    weight: usize,
}

struct Entry {
    service: Box<str>,
    found: Found,
    truth: Truth,
    /// The state in which `truth` was last compared.
    seen: Seen,
    weight: usize,
}

/// What an answer about a service hangs on. While this stands still, it is true.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Truth {
    health: Index,
    nodes: Index,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    lineage: u64,
    index: Index,
}

impl Truth {
    fn of(state: &State, service: &str) -> Truth {
        Truth { health: state.service_health_index(service), nodes: state.nodes_index() }
    }
}

impl Seen {
    fn of(state: &State) -> Seen {
        Seen { lineage: state.identity().lineage, index: state.index() }
    }
}

impl Memo {
    /// The answers to the name in lower case, if they are kept and true in this state.
    pub fn get(&mut self, name: &[u8], qtype: u16, state: &State) -> Option<&mut Found> {
        let mut buffer = [0; NAME + 2];
        let key = key(name, qtype, &mut buffer)?;
        let entry = self.entries.get_mut(key)?;
        let seen = Seen::of(state);
        if entry.seen != seen {
            if entry.seen.lineage != seen.lineage || entry.truth != Truth::of(state, &entry.service)
            {
                return None;
            }
            entry.seen = seen;
        }
        Some(&mut entry.found)
    }

    /// Keeps what was found for a service that exists; of others there would be no end.
    pub fn put(&mut self, name: &[u8], qtype: u16, state: &State, service: &str, found: Found) {
        let weight = name.len()
            + match &found {
                Found::Records(answers) if !answers.is_volatile() => answers.weight(),
                Found::Empty => ENTRY,
                _ => return,
            };
        if weight > limits::DNS_MEMO / 8 {
            return;
        }
        if self.weight + weight > limits::DNS_MEMO {
            self.entries.clear();
            self.weight = 0;
        }
        let mut buffer = [0; NAME + 2];
        let Some(key) = key(name, qtype, &mut buffer) else { return };
        let (truth, seen) = (Truth::of(state, service), Seen::of(state));
        let entry = Entry { service: service.into(), found, truth, seen, weight };
        let old = self.entries.insert(key.into(), entry);
        self.weight += weight;
        self.weight -= old.map_or(0, |old| old.weight);
    }
}

fn key<'b>(name: &[u8], qtype: u16, buffer: &'b mut [u8; NAME + 2]) -> Option<&'b [u8]> {
    let key = buffer.get_mut(..name.len() + 2)?;
    let (head, tail) = key.split_at_mut(name.len());
    head.copy_from_slice(name);
    tail.copy_from_slice(&qtype.to_be_bytes());
    Some(key)
}

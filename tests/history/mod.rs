//! What clients saw of a cluster, and whether one single order of events can explain it. Pure.
//!
//! Times are of any one monotonic clock, in microseconds. A value is written once in a history:
//! so it names the write that it came from.

mod check;
mod leases;
mod locks;
#[cfg(test)]
mod tests;
mod versions;
mod watches;

pub use leases::Lease;
pub use locks::Hold;
pub use watches::{Event, Watch};

pub type Micros = u64;
pub type Revision = u64;

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    Put {
        key: String,
        value: String,
    },
    /// A put that holds only if the key was last changed at `expected`; 0: if it is absent.
    Cas {
        key: String,
        expected: Revision,
        value: String,
    },
    Delete {
        key: String,
    },
    /// At least everything that was acknowledged before the call.
    Get {
        key: String,
    },
    /// Whatever the agent had.
    StaleGet {
        key: String,
    },
}

/// What a read saw: the revision at which it was answered, the value and the revision of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub revision: Revision,
    pub value: Option<(String, Revision)>,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was applied at this revision; none if the answer does not say.
    Wrote(Option<Revision>),
    /// Also of a deletion that found nothing.
    Read(Seen),
    /// It did not happen and never will.
    Failed,
    /// It may or may not have happened, or happen yet.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Who asked, for the report.
    pub client: String,
    pub deed: Deed,
    pub called: Micros,
    /// Of an unknown outcome: when the client gave up.
    pub returned: Micros,
    pub end: End,
}

/// Everything that was seen.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub operations: Vec<Operation>,
    pub watches: Vec<Watch>,
    pub leases: Vec<Lease>,
    pub holds: Vec<Hold>,
    /// The keys at the end, after everything else: value and revision of each that exists. Keys
    /// that only a lease could have deleted are to be left out of `operations`.
    pub last: Option<Vec<(String, String, Revision)>>,
}

/// An operation that has been called and not returned; dropped, it is not recorded.
#[derive(Debug)]
pub struct Pending {
    client: String,
    deed: Deed,
    called: Micros,
}

impl Pending {
    pub fn call(client: impl Into<String>, deed: Deed, now: Micros) -> Pending {
        Pending { client: client.into(), deed, called: now }
    }

    pub fn end(self, end: End, now: Micros) -> Operation {
        let Pending { client, deed, called } = self;
        Operation { client, deed, called, returned: now, end }
    }
}

impl History {
    pub fn record(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// Everything in it that no single order of events explains, in words; empty: all is well.
    pub fn check(&self) -> Vec<String> {
        let (versions, mut wrong) = versions::Versions::gather(self);
        wrong.extend(check::operations(self, &versions));
        wrong.extend(check::last(self, &versions));
        wrong.extend(self.watches.iter().flat_map(|watch| watch.check(&versions)));
        wrong.extend(self.leases.iter().filter_map(Lease::check));
        wrong.extend(locks::check(&self.holds));
        wrong
    }

    /// Writes that were acknowledged.
    pub fn acknowledged(&self) -> usize {
        let wrote = |operation: &&Operation| matches!(operation.end, End::Wrote(_));
        self.operations.iter().filter(wrote).count()
    }
}

impl Deed {
    pub fn key(&self) -> &str {
        match self {
            Deed::Put { key, .. }
            | Deed::Cas { key, .. }
            | Deed::Delete { key }
            | Deed::Get { key }
            | Deed::StaleGet { key } => key,
        }
    }

    fn value(&self) -> Option<&str> {
        match self {
            Deed::Put { value, .. } | Deed::Cas { value, .. } => Some(value),
            _ => None,
        }
    }
}

//! What was asked and how it was answered, in numbers.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use crate::telemetry::{Counter, Family, Gauge, Labels, Metrics};

use super::answer::Verdict;
use super::wire::{Rcode, rtype};

/// Types that are counted by name; all others are "other".
const TYPES: [(u16, &str); 8] = [
    (rtype::A, "A"),
    (rtype::AAAA, "AAAA"),
    (rtype::SRV, "SRV"),
    (rtype::ANY, "ANY"),
    (rtype::TXT, "TXT"),
    (rtype::PTR, "PTR"),
    (rtype::SOA, "SOA"),
    (rtype::NS, "NS"),
];

/// All rcodes that we give.
const RCODES: [Rcode; 7] = [
    Rcode::NoError,
    Rcode::FormErr,
    Rcode::ServFail,
    Rcode::NxDomain,
    Rcode::NotImp,
    Rcode::Refused,
    Rcode::BadVers,
];

#[derive(Clone)]
pub struct Counts {
    queries: Family<Labels, Counter>,
    /// Members of the family by type and rcode, found without a lock and without allocating.
    found: Arc<[[OnceLock<Counter>; RCODES.len()]; TYPES.len() + 1]>,
    forwarded: Counter,
    pub staleness: Gauge<f64, AtomicU64>,
    pub connections: Gauge,
    pub limited: Counter,
}

impl Counts {
    pub fn register(metrics: &Metrics) -> Counts {
        Counts {
            queries: metrics.register(
                "dns_queries",
                "DNS queries answered from the catalog, by type and rcode",
                Family::default(),
            ),
            found: Arc::default(),
            forwarded: metrics.register(
                "dns_forwarded",
                "DNS queries for other names that were handed on",
                Counter::default(),
            ),
            staleness: metrics.register(
                "dns_staleness_seconds",
                "Time since this agent last knew itself in touch with the leader",
                Gauge::default(),
            ),
            connections: metrics.register(
                "dns_connections",
                "Open TCP connections of the DNS listeners",
                Gauge::default(),
            ),
            limited: metrics.register(
                "dns_limited",
                "DNS queries and connections put off because their source sends too many",
                Counter::default(),
            ),
        }
    }

    pub fn count(&self, verdict: Verdict) {
        match verdict {
            Verdict::Answered { qtype, rcode } => self.answered(qtype, rcode),
            Verdict::Outside { qtype } => self.answered(qtype, Rcode::NoError),
            Verdict::Forward { .. } => {
                self.forwarded.inc();
            }
            Verdict::Silent => {}
        }
    }

    fn answered(&self, qtype: u16, rcode: Rcode) {
        let row = TYPES.iter().position(|(known, _)| *known == qtype).unwrap_or(TYPES.len());
        let column = RCODES.iter().position(|known| *known == rcode);
        let place = column.and_then(|column| self.found.get(row)?.get(column));
        let Some(place) = place else { return };
        let counter = place.get_or_init(|| {
            let qtype = TYPES.get(row).map_or("other", |(_, name)| name).to_owned();
            let labels = vec![("qtype", qtype), ("rcode", rcode.name().to_owned())];
            self.queries.get_or_create(&labels).clone()
        });
        counter.inc();
    }
}

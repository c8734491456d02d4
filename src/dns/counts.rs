//! What was asked and how it was answered, in numbers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::telemetry::Metrics;

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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    qtype: Text,
    rcode: Text,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Text(&'static str);

impl EncodeLabelValue for Text {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }
}

#[derive(Clone)]
pub struct Counts {
    queries: Family<Labels, Counter>,
    forwarded: Counter,
    pub staleness: Gauge<f64, AtomicU64>,
    pub connections: Gauge,
    /// The commonest outcomes, found without a lock: A, AAAA and SRV answered with NOERROR.
    common: Arc<[Counter; 3]>,
}

impl Counts {
    pub fn register(metrics: &Metrics) -> Counts {
        let queries = Family::<Labels, Counter>::default();
        let of = |nth: usize| queries.get_or_create(&labels(nth, Rcode::NoError)).clone();
        let common = Arc::new([of(0), of(1), of(2)]);
        Counts {
            queries: metrics.register(
                "dns_queries",
                "DNS queries answered from the catalog, by type and rcode",
                queries.clone(),
            ),
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
            common,
        }
    }

    pub fn count(&self, verdict: Verdict) {
        match verdict {
            Verdict::Answered { qtype, rcode } => {
                let nth = TYPES.iter().position(|(known, _)| *known == qtype);
                let nth = nth.unwrap_or(TYPES.len());
                match (rcode, self.common.get(nth)) {
                    (Rcode::NoError, Some(counter)) => counter.inc(),
                    _ => self.queries.get_or_create(&labels(nth, rcode)).inc(),
                };
            }
            Verdict::Forward { .. } => {
                self.forwarded.inc();
            }
            Verdict::Silent => {}
        }
    }
}

fn labels(nth: usize, rcode: Rcode) -> Labels {
    let qtype = TYPES.get(nth).map_or("other", |(_, name)| name);
    Labels { qtype: Text(qtype), rcode: Text(rcode.name()) }
}

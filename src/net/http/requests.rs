//! Counts answered requests by class of route and status.

use crate::telemetry::{Counter, Family, Metrics};

type Labels = [(&'static str, &'static str); 2];

/// One for all fronts of an agent: clones count together.
#[derive(Clone)]
pub struct Requests {
    answered: Family<Labels, Counter>,
}

impl Requests {
    pub fn new(metrics: &Metrics) -> Requests {
        let help = "HTTP requests answered, by class of route and class of status";
        Requests { answered: metrics.register("http_requests", help, Family::default()) }
    }

    /// `route` is a fixed name such as `kv`, never a path that a client chose.
    pub fn count(&self, route: &'static str, status: http::StatusCode) {
        let status = match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.answered.get_or_create(&[("route", route), ("status", status)]).inc();
    }
}

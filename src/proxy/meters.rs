//! What the balancer counts, per service.

use crate::telemetry::{Counter, Family, Gauge, Labels, Metrics};

/// The families of all upstreams.
pub(super) struct Meters {
    requests: Family<Labels, Counter>,
    connections: Family<Labels, Counter>,
    connect_failures: Family<Labels, Counter>,
    refused: Family<Labels, Counter>,
    active: Family<Labels, Gauge>,
    endpoints: Family<Labels, Gauge>,
}

/// One upstream's own: taken out of the families once, so that counting takes no lock.
pub(super) struct Meter {
    /// By the hundreds of the status; the first is for what has none.
    requests: [Counter; 6],
    connections: Counter,
    pub connect_failures: Counter,
    pub refused: Counter,
    active: Gauge,
    pub endpoints: Gauge,
}

impl Meters {
    pub(super) fn new(metrics: &Metrics) -> Meters {
        let counters = |name: &str, help: &str| {
            metrics.register(name, help, Family::<Labels, Counter>::default())
        };
        let gauges = |name: &str, help: &str| {
            metrics.register(name, help, Family::<Labels, Gauge>::default())
        };
        Meters {
            requests: counters("proxy_requests", "Requests by service and class of status"),
            connections: counters("proxy_connections", "Accepted connections by service"),
            connect_failures: counters(
                "proxy_connect_failures",
                "Instances that could not be connected to, by service",
            ),
            refused: counters("proxy_refused", "Connections beyond the limit, by service"),
            active: gauges("proxy_active", "Connections open now, by service"),
            endpoints: gauges("proxy_endpoints", "Instances balanced over, by service"),
        }
    }

    pub(super) fn upstream(&self, service: &str) -> Meter {
        let of = || vec![("service", service.to_owned())];
        let class = |class: &str| {
            let labels = vec![("service", service.to_owned()), ("class", class.to_owned())];
            self.requests.get_or_create(&labels).clone()
        };
        Meter {
            requests: ["other", "1xx", "2xx", "3xx", "4xx", "5xx"].map(class),
            connections: self.connections.get_or_create(&of()).clone(),
            connect_failures: self.connect_failures.get_or_create(&of()).clone(),
            refused: self.refused.get_or_create(&of()).clone(),
            active: self.active.get_or_create(&of()).clone(),
            endpoints: self.endpoints.get_or_create(&of()).clone(),
        }
    }
}

/// A connection that is counted as open until dropped.
pub(super) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Meter {
    pub(super) fn open(&self) -> Open {
        self.connections.inc();
        self.active.inc();
        Open(self.active.clone())
    }

    pub(super) fn request(&self, status: http::StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(counter) = self.requests.get(class).or(self.requests.first()) {
            counter.inc();
        }
    }
}

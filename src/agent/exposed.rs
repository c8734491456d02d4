//! Listeners that other hosts reach in the clear: said in the log, on the board and by a metric.

use crate::lifecycle::{Board, Level};
use crate::telemetry::{Family, Gauge, Labels, Metrics};
use crate::web::Listener;

/// Says which of the listeners are insecure; the metric has a line for every one.
pub(super) fn announce(listeners: &[Listener], board: &Board, metrics: &Metrics) {
    let help = "1 while the listener can be reached from other hosts without TLS";
    let gauges: Family<Labels, Gauge> =
        metrics.register("listener_insecure", help, Family::default());
    for listener in listeners {
        let gauge = gauges.get_or_create(&vec![("listener", listener.name.clone())]);
        if !listener.insecure {
            continue;
        }
        gauge.set(1);
        let Listener { name, address, .. } = listener;
        let text = "reached from other hosts without TLS, as `insecure: true` allows";
        tracing::warn!(listener = %name, %address, "{text}");
        board.set(&format!("{name}/insecure/{address}"), Level::Warning, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listener_has_a_line_and_the_insecure_ones_a_warning() {
        let (board, metrics) = (Board::default(), Metrics::default());
        let listener =
            |name: &str, address: &str, insecure| Listener::new(name, address.to_owned(), insecure);
        let listeners = [
            listener("http", "0.0.0.0:8500", true),
            listener("http", "127.0.0.1:8500", false),
            listener("dns", "127.0.0.1:8600", false),
        ];
        announce(&listeners, &board, &metrics);
        let text = metrics.encode();
        for (name, value) in [("http", 1), ("dns", 0)] {
            let line = format!("\nremora_listener_insecure{{listener=\"{name}\"}} {value}\n");
            assert!(text.contains(&line), "{text}");
        }
        let subjects: Vec<String> = board.entries().into_iter().map(|(key, _)| key).collect();
        assert_eq!(subjects, ["http/insecure/0.0.0.0:8500"]);
    }
}

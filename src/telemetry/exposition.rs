//! The registry's text in other forms: as Prometheus read it before OpenMetrics, and as samples.

use std::collections::{BTreeMap, BTreeSet};

/// What one metric says at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Gauge(f64),
    /// What has been counted since the start.
    Counter(f64),
    Histogram {
        count: f64,
        sum: f64,
        /// Upper bound and how many were at most so much.
        buckets: Vec<(f64, f64)>,
    },
}

/// Prometheus' own text format (0.0.4): counters have their whole name in the comments, too, and
/// nothing is said at the end.
pub fn prometheus(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len());
    let counter = |line| typed(line).filter(|(_, kind)| *kind == "counter").map(|(name, _)| name);
    let counters: BTreeSet<&str> = openmetrics.lines().filter_map(counter).collect();
    for line in openmetrics.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT "))
    {
        let comment = ["# HELP ", "# TYPE "].iter().find_map(|begin| {
            let (name, rest) = line.strip_prefix(begin)?.split_once(' ')?;
            counters.contains(name).then(|| format!("{begin}{name}_total {rest}"))
        });
        let line = comment.as_deref().unwrap_or(line);
        out.push_str(line);
        out.push('\n');
    }
    out
}

fn typed(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("# TYPE ")?.split_once(' ')
}

/// Everything that the text tells, in its order.
pub fn samples(openmetrics: &str) -> Vec<Sample> {
    let mut found: Vec<Sample> = Vec::new();
    let (mut family, mut kind) = ("", "");
    for line in openmetrics.lines() {
        if let Some((name, what)) = typed(line) {
            (family, kind) = (name, what);
        }
        if line.starts_with('#') {
            continue;
        }
        let Some((place, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let (name, mut labels) = match place.split_once('{') {
            Some((name, labels)) => (name, read_labels(labels)),
            None => (place, BTreeMap::new()),
        };
        let suffix = name.strip_prefix(family).unwrap_or_default();
        match (kind, suffix) {
            ("counter", _) => found.push(sample(name, labels, Kind::Counter(value))),
            ("histogram", suffix) => {
                let bound = labels.remove("le").and_then(|bound| bound.parse::<f64>().ok());
                histogram(&mut found, family, labels, (suffix, bound, value));
            }
            _ => found.push(sample(name, labels, Kind::Gauge(value))),
        }
    }
    found
}

fn sample(name: &str, labels: BTreeMap<String, String>, kind: Kind) -> Sample {
    Sample { name: name.to_owned(), labels, kind }
}

/// Adds a line of a histogram to what its earlier lines have told.
fn histogram(
    found: &mut Vec<Sample>,
    family: &str,
    labels: BTreeMap<String, String>,
    (suffix, bound, value): (&str, Option<f64>, f64),
) {
    let last = found.last();
    if !last.is_some_and(|last| last.name == family && last.labels == labels) {
        let empty = Kind::Histogram { count: 0.0, sum: 0.0, buckets: Vec::new() };
        found.push(sample(family, labels, empty));
    }
    let Some(Sample { kind: Kind::Histogram { count, sum, buckets }, .. }) = found.last_mut()
    else {
        return;
    };
    match (suffix, bound) {
        ("_count", _) => *count = value,
        ("_sum", _) => *sum = value,
        ("_bucket", Some(bound)) => buckets.push((bound, value)),
        _ => {}
    }
}

/// `a="1",b="x\"y"}` as pairs.
fn read_labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = after.char_indices();
        let mut end = after.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, c)) => value.push(c),
                    None => break,
                },
                c => value.push(c),
            }
        }
        labels.insert(name.trim_start_matches(',').to_owned(), value);
        rest = after.get(end..).unwrap_or_default();
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::super::{Counter, Family, Gauge, Labels, Metrics, latencies};
    use super::*;

    fn metrics() -> Metrics {
        let metrics = Metrics::default();
        metrics.register("size", "Size", Gauge::<i64>::default()).set(-3);
        let asked: Family<Labels, Counter> = metrics.register("asked", "Asked", Family::default());
        asked.get_or_create(&vec![("of", "a\"b\\c\nd".to_owned()), ("n", "1".to_owned())]).inc();
        let times = metrics.register("times", "Times", latencies());
        times.observe(0.001);
        times.observe(3.0);
        metrics
    }

    #[test]
    fn what_is_registered_comes_out_as_samples() {
        let found = samples(&metrics().encode());
        let labels = BTreeMap::from([
            ("of".to_owned(), "a\"b\\c\nd".to_owned()),
            ("n".to_owned(), "1".to_owned()),
        ]);
        assert_eq!(found[0], sample("remora_size", BTreeMap::new(), Kind::Gauge(-3.0)));
        assert_eq!(found[1], sample("remora_asked_total", labels, Kind::Counter(1.0)));
        let Kind::Histogram { count, sum, buckets } = &found[2].kind else { panic!("{found:?}") };
        assert_eq!((*count, *sum, found.len()), (2.0, 3.001, 3));
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, 2.0)));
        assert!(buckets.iter().any(|(bound, below)| *bound < 2.0 && *below == 1.0));
    }

    #[test]
    fn prometheus_own_format_names_counters_as_they_are() {
        let text = prometheus(&metrics().encode());
        assert!(text.contains("# TYPE remora_asked_total counter\nremora_asked_total{"), "{text}");
        assert!(text.contains("# TYPE remora_size gauge\nremora_size -3\n"), "{text}");
        assert!(!text.contains("# EOF"), "{text}");
    }
}

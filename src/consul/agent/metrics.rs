//! `/v1/agent/metrics`: what is counted, in the shape of Consul's and in Prometheus' own.

use std::time::{Duration, SystemTime};

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use serde::Serialize;
use serde_json::json;

use crate::consul::answer;
use crate::consul::call::{Answer, Call};
use crate::telemetry::{Kind, Sample, prometheus, samples};

const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metrics<'a> {
    timestamp: String,
    gauges: Vec<serde_json::Value>,
    points: [(); 0],
    counters: Vec<Counted<'a>>,
    samples: Vec<Counted<'a>>,
}

/// Since the start of the agent, where Consul's counts are of the last ten seconds.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Counted<'a> {
    name: &'a str,
    count: u64,
    rate: f64,
    sum: f64,
    min: f64,
    max: f64,
    mean: f64,
    stddev: f64,
    labels: &'a std::collections::BTreeMap<String, String>,
}

pub fn answer(call: &Call<'_>) -> Answer {
    let text = call.front.metrics.encode();
    if call.params.get("format") == Some("prometheus") {
        let mut response = Response::new(Body::from(prometheus(&text)));
        answer::add_vary(response.headers_mut());
        response.headers_mut().insert(CONTENT_TYPE, PROMETHEUS);
        return Ok(response);
    }
    let now = SystemTime::now();
    let up = now.duration_since(call.front.started).unwrap_or_default();
    let found = samples(&text);
    let gauges = found.iter().filter_map(|sample| match sample.kind {
        Kind::Gauge(value) => {
            Some(json!({ "Name": sample.name, "Value": value, "Labels": sample.labels }))
        }
        _ => None,
    });
    let metrics = Metrics {
        timestamp: timestamp(now),
        gauges: gauges.collect(),
        points: [],
        counters: found.iter().filter_map(|sample| counter(sample, up)).collect(),
        samples: found.iter().filter_map(|sample| histogram(sample, up)).collect(),
    };
    Ok(answer::json(&metrics, call.pretty()))
}

/// As Go prints a time: `2026-01-01 00:00:00 +0000 UTC`.
fn timestamp(at: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(at).to_string();
    text.replace('T', " ").replace('Z', " +0000 UTC")
}

fn per_second(sum: f64, up: Duration) -> f64 {
    sum / up.as_secs_f64().max(1.0)
}

/// It went up by ones.
fn counter(sample: &Sample, up: Duration) -> Option<Counted<'_>> {
    let Kind::Counter(sum) = sample.kind else { return None };
    let step = if sum > 0.0 { 1.0 } else { 0.0 };
    Some(Counted {
        name: &sample.name,
        count: sum as u64,
        rate: per_second(sum, up),
        sum,
        min: step,
        max: step,
        mean: step,
        stddev: 0.0,
        labels: &sample.labels,
    })
}

/// Bounds and spread are those of the buckets that what was observed fell into.
fn histogram(sample: &Sample, up: Duration) -> Option<Counted<'_>> {
    let Kind::Histogram { count, sum, buckets } = &sample.kind else { return None };
    let (mut lower, mut below) = (0.0, 0.0);
    let (mut min, mut max, mut squares) = (None, 0.0, 0.0);
    let mean = if *count > 0.0 { sum / count } else { 0.0 };
    for (bound, up_to) in buckets {
        // Of the last one, which has no end, the beginning is all that is known.
        let upper = if bound.is_finite() { *bound } else { lower };
        let here = up_to - below;
        if here > 0.0 {
            min.get_or_insert(lower);
            max = upper;
            let middle = f64::midpoint(lower, upper);
            squares += here * (middle - mean) * (middle - mean);
        }
        (lower, below) = (upper, *up_to);
    }
    let variance = if *count > 0.0 { squares / count } else { 0.0 };
    Some(Counted {
        name: &sample.name,
        count: *count as u64,
        rate: per_second(*sum, up),
        sum: *sum,
        min: min.unwrap_or_default(),
        max,
        mean,
        stddev: variance.sqrt(),
        labels: &sample.labels,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_histogram_tells_as_much_as_its_buckets_know() {
        let buckets = vec![(1.0, 0.0), (2.0, 3.0), (4.0, 4.0), (f64::INFINITY, 4.0)];
        let kind = Kind::Histogram { count: 4.0, sum: 8.0, buckets };
        let sample = Sample { name: "t".to_owned(), labels: BTreeMap::new(), kind };
        let counted = histogram(&sample, Duration::from_secs(4)).unwrap();
        let shown = [counted.min, counted.max, counted.mean, counted.rate, counted.sum];
        assert_eq!(shown, [1.0, 4.0, 2.0, 2.0, 8.0]);
        // Three of 1.5 and one of 3, seen from 2.
        assert!((counted.stddev - (1.75_f64 / 4.0).sqrt()).abs() < 1e-9, "{}", counted.stddev);
        assert!(counter(&sample, Duration::ZERO).is_none());
    }

    #[test]
    fn the_time_is_written_as_go_writes_it() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        assert_eq!(timestamp(at), "2026-01-01 00:00:00 +0000 UTC");
    }
}

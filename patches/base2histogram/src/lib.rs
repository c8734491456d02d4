//! Counts of samples by powers of two, in the shape that openraft asks for.
//!
//! openraft keeps histograms of its batches always, and shows them only where its `runtime-stats`
//! feature is on, which Remora leaves off. The crate it takes them from fills 26 MB of tables at
//! start. A count per power of two says enough for a log line, and takes 520 bytes.

use std::fmt;
use std::marker::PhantomData;

/// One bucket for zero and one for each width in bits.
const BUCKETS: usize = u64::BITS as usize + 1;

/// How many samples had each width in bits. `T` is what upstream labels its time slots with.
pub struct Histogram<T = ()> {
    counts: [u64; BUCKETS],
    slot: PhantomData<fn() -> T>,
}

impl<T> Histogram<T> {
    pub fn new() -> Histogram<T> {
        Histogram { counts: [0; BUCKETS], slot: PhantomData }
    }

    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    pub fn record_n(&mut self, value: u64, samples: u64) {
        let width = (u64::BITS - value.leading_zeros()) as usize;
        self.counts[width] = self.counts[width].saturating_add(samples);
    }

    /// How many samples there are.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The largest value of the bucket below or in which that share of the samples lies; 0 without
    /// samples.
    pub fn percentile(&self, share: f64) -> u64 {
        let wanted = (self.total() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0_u64;
        for (width, count) in self.counts.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if seen >= wanted {
                return if width == 0 { 0 } else { u64::MAX >> (BUCKETS - 1 - width) };
            }
        }
        0
    }

    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.percentile(0.001),
            p1: self.percentile(0.01),
            p5: self.percentile(0.05),
            p10: self.percentile(0.10),
            p50: self.percentile(0.50),
            p90: self.percentile(0.90),
            p99: self.percentile(0.99),
            p99_9: self.percentile(0.999),
        }
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Histogram<T> {
        Histogram::new()
    }
}

impl<T> Clone for Histogram<T> {
    fn clone(&self) -> Histogram<T> {
        Histogram { counts: self.counts, slot: PhantomData }
    }
}

impl<T> PartialEq for Histogram<T> {
    fn eq(&self, other: &Histogram<T>) -> bool {
        self.counts == other.counts
    }
}

impl<T> Eq for Histogram<T> {}

impl<T> fmt::Debug for Histogram<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.percentile_stats(), f)
    }
}

/// The usual percentiles of a histogram: values, each rounded up to its bucket's largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n={} p50={} p90={} p99={}", self.samples, self.p50, self.p90, self.p99)
    }
}

/// Several histograms, a line each.
#[derive(Default)]
pub struct AsciiChart {
    lines: Vec<(String, PercentileStats)>,
}

impl AsciiChart {
    pub fn new() -> AsciiChart {
        AsciiChart::default()
    }

    #[must_use]
    pub fn add(mut self, name: impl Into<String>, histogram: Histogram) -> AsciiChart {
        self.lines.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, stats) in &self.lines {
            writeln!(f, "{name}: {stats}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_top_of_the_bucket_it_falls_into() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile(0.5), 0);
        histogram.record(0);
        histogram.record_n(5, 97);
        histogram.record(1000);
        histogram.record(u64::MAX);
        assert_eq!(histogram.total(), 100);
        let of = |share| histogram.percentile(share);
        assert_eq!([of(0.01), of(0.5), of(0.99), of(1.0)], [0, 7, 1023, u64::MAX]);
    }
}

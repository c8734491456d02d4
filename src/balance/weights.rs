//! Draws positions in proportion to weights: at random, a different second one, or in turn.

use rand::{Rng, RngExt};

/// The golden ratio's fraction times 2^64: multiples of it spread evenly over 0..2^64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Debug)]
pub(super) struct Weights {
    /// The sum of all weights up to and with each position.
    sums: Box<[u64]>,
    equal: bool,
}

impl Weights {
    /// A weight of 0 means no traffic, unless all are 0: then all are equal.
    pub(super) fn new(weights: &[u16]) -> Weights {
        let all_zero = weights.iter().all(|weight| *weight == 0);
        let mut sum = 0;
        let sums = weights.iter().map(|weight| {
            sum += if all_zero { 1 } else { u64::from(*weight) };
            sum
        });
        let sums = sums.collect();
        Weights { sums, equal: weights.windows(2).all(|pair| pair[0] == pair[1]) }
    }

    fn total(&self) -> u64 {
        self.sums.last().copied().unwrap_or(0)
    }

    /// The weight's range of 0..total.
    fn range(&self, position: usize) -> (u64, u64) {
        let start = position.checked_sub(1).and_then(|before| self.sums.get(before));
        (start.copied().unwrap_or(0), self.sums.get(position).copied().unwrap_or(0))
    }

    fn at(&self, point: u64) -> usize {
        self.sums.partition_point(|sum| *sum <= point)
    }

    /// The weight over the mean weight; 0 where there is no traffic to be had.
    pub(super) fn share(&self, position: usize) -> f64 {
        let (start, end) = self.range(position);
        (end - start) as f64 * self.sums.len() as f64 / self.total() as f64
    }

    /// One position; none where there are none.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Option<usize> {
        if self.sums.is_empty() {
            return None;
        }
        Some(self.at(rng.random_range(0..self.total())))
    }

    /// One position other than `first`; none where no other has a weight.
    pub(super) fn draw_other(&self, first: usize, rng: &mut impl Rng) -> Option<usize> {
        let (start, end) = self.range(first);
        let rest = self.total() - (end - start);
        if rest == 0 {
            return None;
        }
        let point = rng.random_range(0..rest);
        Some(self.at(if point < start { point } else { point + (end - start) }))
    }

    /// The position whose turn it is: one after the other where weights are equal, else each in
    /// proportion to its weight without bursts.
    pub(super) fn turn(&self, turn: u64) -> Option<usize> {
        let len = self.sums.len() as u64;
        if len == 0 {
            return None;
        }
        if self.equal {
            return Some((turn % len) as usize);
        }
        let spread = u128::from(turn.wrapping_mul(GOLDEN)) * u128::from(self.total());
        Some(self.at((spread >> 64) as u64))
    }
}

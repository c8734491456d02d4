//! Draws things one by one without putting back, each in proportion to its weight.

use rand::RngExt;
use rand::rngs::SmallRng;

/// How much more than a weight of 0 a weight of 1 is: who weighs nothing comes last, unless all do.
const LIGHTEST: u32 = 16;

/// A draw takes a time that grows with the logarithm of how many there are, and putting all that
/// was drawn back as long as drawing it: one answer of a huge service costs what it holds.
#[derive(Debug, Clone)]
pub struct Urn {
    weights: Box<[u64]>,
    /// At `n - 1` the sum of the weights of as many things up to the `n`th as the lowest bit of
    /// `n` says (a Fenwick tree).
    sums: Box<[u64]>,
    total: u64,
    drawn: Vec<u32>,
}

impl Urn {
    pub fn new(weights: impl Iterator<Item = u16>) -> Urn {
        let weights: Box<[u64]> =
            weights.map(|weight| (u64::from(weight) << LIGHTEST).max(1)).collect();
        let mut sums = weights.clone();
        for at in 1..=sums.len() {
            let parent = at + lowest_bit(at);
            let sum = sums.get(at - 1).copied().unwrap_or_default();
            if let Some(above) = sums.get_mut(parent - 1) {
                *above += sum;
            }
        }
        let total = weights.iter().sum();
        Urn { weights, sums, total, drawn: Vec::new() }
    }

    /// The number of one of those that are left; none where nothing is.
    pub fn draw(&mut self, rng: &mut SmallRng) -> Option<usize> {
        if self.total == 0 {
            return None;
        }
        let mut rest = rng.random_range(0..self.total);
        let mut at = 0;
        let mut step = (self.sums.len() + 1).next_power_of_two() / 2;
        while step > 0 {
            if let Some(sum) = self.sums.get(at + step - 1).filter(|sum| **sum <= rest) {
                rest -= sum;
                at += step;
            }
            step /= 2;
        }
        self.drawn.push(u32::try_from(at).ok()?);
        self.change(at, false);
        Some(at)
    }

    /// Everything that was drawn is there again.
    pub fn put_back(&mut self) {
        while let Some(at) = self.drawn.pop() {
            self.change(at as usize, true);
        }
    }

    fn change(&mut self, nth: usize, back: bool) {
        let Some(weight) = self.weights.get(nth).copied() else { return };
        let mut at = nth + 1;
        while let Some(sum) = self.sums.get_mut(at - 1) {
            *sum = if back { *sum + weight } else { *sum - weight };
            at += lowest_bit(at);
        }
        self.total = if back { self.total + weight } else { self.total - weight };
    }
}

fn lowest_bit(number: usize) -> usize {
    number & number.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn every_order_comes_as_often_as_its_weights_say() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut urn = Urn::new([1_u16, 2, 5, 0].into_iter());
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..80_000 {
            let order: Vec<usize> = std::iter::from_fn(|| urn.draw(&mut rng)).collect();
            urn.put_back();
            *seen.entry(order).or_insert(0) += 1;
        }
        // Of 8: first 5, then of 3 the 2, then the 1, then the one that weighs nothing.
        for (order, want) in [
            ([2, 1, 0, 3], 80_000 * 5 / 8 * 2 / 3),
            ([2, 0, 1, 3], 80_000 * 5 / 8 / 3),
            ([1, 2, 0, 3], 80_000 * 2 / 8 * 5 / 6),
            ([0, 1, 2, 3], 80_000 / 8 * 2 / 7),
        ] {
            let seen = seen[order.as_slice()];
            assert!((want * 95 / 100..want * 105 / 100).contains(&seen), "{order:?}: {seen}");
        }
    }

    #[test]
    fn all_are_drawn_once_whatever_their_number() {
        let mut rng = SmallRng::seed_from_u64(2);
        for size in [0, 1, 2, 3, 7, 8, 9, 100, 1000] {
            let mut urn = Urn::new((0..size).map(|nth| nth as u16 % 7));
            for _ in 0..3 {
                let mut all: Vec<usize> = std::iter::from_fn(|| urn.draw(&mut rng)).collect();
                urn.put_back();
                all.sort_unstable();
                assert_eq!(all, (0..size).collect::<Vec<_>>());
            }
        }
    }
}

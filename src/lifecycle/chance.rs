//! Where chance comes from: the machine, or a seed on the thread of a simulation.

use std::cell::RefCell;
use std::convert::Infallible;

use rand::distr::uniform::{SampleRange, SampleUniform};
use rand::distr::{Distribution, StandardUniform};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng, TryRng};

thread_local! {
    static SEEDED: RefCell<Option<SmallRng>> = const { RefCell::new(None) };
}

/// From here on whatever is drawn on this thread follows from `seed`, and work that would go to
/// another thread is done on this one. For simulations alone: nothing drawn is a secret then.
pub fn seed(seed: u64) {
    SEEDED.with_borrow_mut(|seeded| *seeded = Some(SmallRng::seed_from_u64(seed)));
}

/// This thread is a simulation's.
pub fn is_seeded() -> bool {
    SEEDED.with_borrow(Option::is_some)
}

/// Any value of a type, each as likely.
pub fn random<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    Dice.random()
}

pub fn random_range<T: SampleUniform>(range: impl SampleRange<T>) -> T {
    Dice.random_range(range)
}

/// A generator that draws from this thread's source.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dice;

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let seeded = SEEDED.with_borrow_mut(|seeded| seeded.as_mut().map(RngExt::random));
        Ok(seeded.unwrap_or_else(rand::random))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let seeded = SEEDED.with_borrow_mut(|seeded| seeded.as_mut().map(RngExt::random));
        Ok(seeded.unwrap_or_else(rand::random))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        SEEDED.with_borrow_mut(|seeded| match seeded {
            Some(seeded) => seeded.fill(bytes),
            None => rand::fill(bytes),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_what_is_drawn() {
        let draw = |with| {
            let thread = std::thread::spawn(move || {
                seed(with);
                (random::<u128>(), random_range(0..1_000_000), is_seeded())
            });
            thread.join().unwrap()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn without_a_seed_chance_is_the_machines() {
        assert!(!is_seeded());
        assert_ne!(random::<u128>(), random::<u128>());
    }
}

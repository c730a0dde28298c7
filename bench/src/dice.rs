//! Chance enough to spread load and to vary faults.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Small generator (xorshift64*), seeded by the system. Not for secrets.
#[derive(Debug)]
pub(crate) struct Dice(u64);

// === impl Dice ===

impl Dice {
    pub(crate) fn new() -> Dice {
        Dice(RandomState::new().hash_one(0_u8) | 1)
    }

    /// Makes the same numbers for the same seed.
    pub(crate) fn seeded(seed: u64) -> Dice {
        // Neighbouring seeds must not begin alike, and 0 would stay 0.
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d | 1);
        dice.next();
        dice
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Number from 0 to `end`, exclusive; 0 if `end` is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16).checked_rem(end).unwrap_or(0)
    }

    /// Number from 0 to 1, exclusive.
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Milliseconds, from one to the other.
    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to.saturating_sub(from) + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers() {
        let numbers = |seed| {
            let mut dice = Dice::seeded(seed);
            [dice.next(), dice.next()]
        };
        assert_eq!(numbers(7), numbers(7));
        assert!(numbers(0) != numbers(1) && numbers(1) != numbers(2));
    }

    #[test]
    fn keeps_to_its_bounds() {
        let mut dice = Dice::new();
        let numbers: Vec<_> = (0..1_000).map(|_| dice.millis(110, 120).as_millis()).collect();
        assert!((110..=120).all(|expected| numbers.contains(&expected)), "{numbers:?}");
        assert!(numbers.iter().all(|number| (110..=120).contains(number)));
        assert_eq!(dice.below(0), 0);
    }
}

//! Users by Zipf's law: few call often, most hardly ever.

use crate::dice::Dice;

/// Zipf's law with the exponent 1: the second calls half as often as the first, the third a third as often.
pub(super) struct Zipf {
    /// Up to which share each of them comes.
    sums: Vec<f64>,
}

// === impl Zipf ===

impl Zipf {
    pub(super) fn new(count: u32) -> Zipf {
        let mut sum = 0.0;
        let mut add = |rank: u32| {
            sum += f64::from(rank).recip();
            sum
        };
        Zipf { sums: (1..=count).map(&mut add).collect() }
    }

    /// Draws a number from 0, the most frequent.
    pub(super) fn pick(&self, dice: &mut Dice) -> u32 {
        let end = self.sums.last().copied().unwrap_or_default();
        let share = dice.share() * end;
        let at = self.sums.partition_point(|sum| *sum <= share).min(self.sums.len().saturating_sub(1));
        u32::try_from(at).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_comes_half_as_often_as_the_first() {
        let (zipf, mut dice) = (Zipf::new(1_000), Dice::new());
        let mut counts = [0_u32; 1_000];
        (0..200_000).for_each(|_| counts[zipf.pick(&mut dice) as usize] += 1);
        let ratio = |rank: usize| f64::from(counts[0]) / f64::from(counts[rank]);
        assert!((1.8..2.2).contains(&ratio(1)) && (8.0..12.5).contains(&ratio(9)), "{:?}", &counts[..10]);
    }
}

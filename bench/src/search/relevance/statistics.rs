//! Figures of a ranking, and the certainty of a difference.

use crate::dice::Dice;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 10_000;
/// Seed of the resamples.
const SEED: u64 = 12;

/// Interval that holds a difference of means with 95 %.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) high: f64,
}

/// Reciprocal of the first expected document's rank; 0 if none is among the hits.
pub(super) fn reciprocal_rank(hits: &[String], expected: &[String]) -> f64 {
    hits.iter().position(|hit| expected.contains(hit)).map_or(0.0, |at| share(1, at + 1))
}

/// Share of the expected documents among `limit` hits. Ten are enough, if more are expected.
pub(super) fn recall(hits: &[String], expected: &[String], limit: usize) -> f64 {
    let found = hits.iter().take(limit).filter(|hit| expected.contains(hit)).count();
    share(found, expected.len().min(limit))
}

/// Mean; 0 of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// 95 % interval of the mean of `differences`, by resampling them: paired bootstrap.
pub(super) fn bootstrap(differences: &[f64]) -> Interval {
    if differences.is_empty() {
        return Interval { low: 0.0, high: 0.0 };
    }
    let mut dice = Dice::seeded(SEED);
    let count = differences.len() as u64;
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..count).map(|_| differences[dice.below(count) as usize]);
            drawn.sum::<f64>() / count as f64
        })
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    Interval { low: means[RESAMPLES / 40], high: means[RESAMPLES - 1 - RESAMPLES / 40] }
}

fn share(part: usize, of: usize) -> f64 {
    part as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn figures_follow_their_definitions() {
        let hits = ids(&["a", "b", "c"]);
        assert!((reciprocal_rank(&hits, &ids(&["c", "b"])) - 0.5).abs() < 1e-9);
        assert!(reciprocal_rank(&hits, &ids(&["x"])).abs() < 1e-9);
        assert!((recall(&hits, &ids(&["a", "x"]), 10) - 0.5).abs() < 1e-9);
        assert!(recall(&hits, &ids(&["c"]), 2).abs() < 1e-9);
    }

    #[test]
    fn interval_excludes_zero_only_for_a_clear_difference() {
        let clear = bootstrap(&[0.5; 40]);
        assert!(clear.low > 0.4 && clear.high < 0.6, "{clear:?}");
        let noise: Vec<f64> = (0..40).map(|at| if at % 2 == 0 { 0.5 } else { -0.5 }).collect();
        let noise = bootstrap(&noise);
        assert!(noise.low < 0.0 && noise.high > 0.0, "{noise:?}");
    }
}

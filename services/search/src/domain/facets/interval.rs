//! Estimates of counts from a sample, with 95 % intervals.

use super::super::estimate::thinned;
use super::Basis;

/// Share of the sample under which a count is rough.
const ROUGH: f64 = 0.05;
/// Seen documents under which the lower bound is what was seen.
///
/// A value is reported because it was seen. Of thousands of rare values, those that chance favoured are reported, and a lower
/// bound that ignores this choice is too high.
const FEW: u64 = 5;

/// Estimate of a number of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Estimate {
    pub(super) count: u64,
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) rough: bool,
}

/// Estimate from `seen` documents out of a sample of `sample`.
pub(super) fn estimate(seen: u64, sample: u64, basis: Basis) -> Estimate {
    let Basis::Fraction(fraction) = basis.settled() else {
        return Estimate { count: seen, low: seen, high: seen, rough: false };
    };
    let (count, low, high) = thinned(seen, fraction);
    let low = if seen < FEW { seen } else { low.max(seen) };
    let high = high.max(low);
    #[expect(clippy::cast_precision_loss, reason = "numbers of documents are below 2^53")]
    let rough = (seen as f64) < ROUGH * sample as f64;
    Estimate { count: count.clamp(low, high), low, high, rough }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_population_is_exact() {
        let exact = Estimate { count: 7, low: 7, high: 7, rough: false };
        for basis in [Basis::Exact, Basis::Fraction(1.0)] {
            assert_eq!(estimate(7, 300, basis), exact);
        }
    }

    #[test]
    fn bounds_hold_what_was_seen() {
        for seen in 0..=300 {
            let Estimate { count, low, high, rough } = estimate(seen, 300, Basis::Fraction(0.2));
            assert!(seen <= low && low <= count && count <= high, "{seen}: {low} {count} {high}");
            assert_eq!(rough, seen < 15);
        }
    }
}

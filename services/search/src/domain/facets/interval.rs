//! Estimates of counts from a sample, with 95 % intervals.

use super::Basis;

/// Standard normal quantile of a two-sided 95 % interval.
const Z: f64 = 1.959_963_984_540_054;
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

/// Basis of counts from `sample` documents, [`Basis::Exact`] if they are all there are.
pub(super) fn settle(basis: Basis, sample: u64) -> Basis {
    match basis {
        Basis::Known { population } if population <= sample => Basis::Exact,
        Basis::Fraction(fraction) if fraction >= 1.0 => Basis::Exact,
        Basis::Exact | Basis::Known { .. } | Basis::Fraction(_) => basis,
    }
}

/// Estimate from `seen` documents out of a sample of `sample`.
pub(super) fn estimate(seen: u64, sample: u64, basis: Basis) -> Estimate {
    let (count, low, high) = match settle(basis, sample) {
        Basis::Exact => return Estimate { count: seen, low: seen, high: seen, rough: false },
        Basis::Known { population } => wilson(seen, sample, population),
        Basis::Fraction(fraction) => thinned(seen, fraction),
    };
    let low = if seen < FEW { seen } else { low.max(seen) };
    let high = high.max(low);
    let rough = (seen as f64) < ROUGH * sample as f64;
    Estimate { count: count.clamp(low, high), low, high, rough }
}

/// Wilson's score interval for a share, with the correction for a finite population, times the population.
///
/// E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927). The variance of a sample
/// without replacement is smaller by (N - n) / (N - 1), which multiplies z².
#[expect(clippy::cast_precision_loss, reason = "numbers of documents are below 2^53")]
fn wilson(seen: u64, sample: u64, population: u64) -> (u64, u64, u64) {
    if sample == 0 {
        return (0, 0, population);
    }
    let (n, all) = (sample as f64, population as f64);
    let share = seen as f64 / n;
    let zz = Z * Z * (all - n) / (all - 1.0);
    let center = (share + zz / (2.0 * n)) / (1.0 + zz / n);
    let half = (zz * (share * (1.0 - share) / n + zz / (4.0 * n * n))).sqrt() / (1.0 + zz / n);
    let unseen = sample - seen.min(sample);
    (
        (share * all).round() as u64,
        whole_below((center - half) * all),
        whole_above((center + half) * all).min(population - unseen),
    )
}

/// Score interval for the number K of documents of which each was seen with probability x: the K with (k - Kx)² ≤ z² K x (1 - x).
#[expect(clippy::cast_precision_loss, reason = "numbers of documents are below 2^53")]
fn thinned(seen: u64, fraction: f64) -> (u64, u64, u64) {
    let fraction = fraction.max(1e-9);
    let seen = seen as f64;
    let half = Z * Z * (1.0 - fraction) / 2.0;
    let root = (half * half + 2.0 * half * seen).sqrt();
    let bound = |sum: f64| sum / fraction;
    ((bound(seen)).round() as u64, whole_below(bound(seen + half - root)), whole_above(bound(seen + half + root)))
}

/// Largest whole number at most `bound`; rounding errors of whole bounds are forgiven.
fn whole_below(bound: f64) -> u64 {
    (bound + 1e-6).floor().max(0.0) as u64
}

/// Smallest whole number at least `bound`; rounding errors of whole bounds are forgiven.
fn whole_above(bound: f64) -> u64 {
    (bound - 1e-6).ceil().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_is_wilsons() {
        // Known figures: 10 of 100 have the 95 % interval 5.52 % to 17.44 %.
        assert_eq!(wilson(10, 100, 1_000_000_000).1 / 100_000, 552);
        assert_eq!(wilson(10, 100, 1_000_000_000).2 / 100_000, 1743);
        assert_eq!(wilson(0, 100, 1_000_000_000).1, 0);
        assert_eq!(wilson(0, 100, 1_000_000_000).2 / 100_000, 369);
    }

    #[test]
    fn fraction_agrees_with_a_known_population_for_rare_values() {
        let (count, low, high) = thinned(20, 0.003);
        let (count_known, low_known, high_known) = wilson(20, 3000, 1_000_000);
        assert_eq!(count, 6667);
        assert_eq!(count_known, 6667);
        assert!(
            low.abs_diff(low_known) < 70 && high.abs_diff(high_known) < 70,
            "{low} {low_known} {high} {high_known}"
        );
    }

    #[test]
    fn whole_population_is_exact() {
        let exact = Estimate { count: 7, low: 7, high: 7, rough: false };
        for basis in
            [Basis::Exact, Basis::Known { population: 300 }, Basis::Known { population: 9 }, Basis::Fraction(1.0)]
        {
            assert_eq!(estimate(7, 300, basis), exact);
        }
        let nearly = estimate(7, 300, Basis::Known { population: 301 });
        assert!(nearly.low >= 7 && nearly.high <= 8, "{nearly:?}");
    }

    #[test]
    fn bounds_hold_what_was_seen_and_what_was_not() {
        for seen in 0..=300 {
            for basis in
                [Basis::Known { population: 400 }, Basis::Known { population: 1_000_000 }, Basis::Fraction(0.2)]
            {
                let Estimate { count, low, high, rough } = estimate(seen, 300, basis);
                assert!(seen <= low && low <= count && count <= high, "{seen}: {low} {count} {high}");
                assert_eq!(rough, seen < 15);
                if let Basis::Known { population } = basis {
                    assert!(high <= population - (300 - seen), "{seen}: {high}");
                }
            }
        }
    }

    #[test]
    fn empty_sample_says_nothing() {
        let nothing = estimate(0, 0, Basis::Known { population: 50 });
        assert_eq!((nothing.count, nothing.low, nothing.high), (0, 0, 50));
    }
}

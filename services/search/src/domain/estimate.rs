//! Estimates of the number of matching documents, from counters, document frequencies and a sample.

/// Standard normal quantile of a two-sided 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

/// Number of documents, estimated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Number under the assumption that conditions are independent.
    pub expected: f64,
    /// Number that is exceeded by mistake of the sample alone.
    pub upper: f64,
}

/// Part of a sample that meets a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Documents of the sample that meet it.
    pub matched: u64,
    /// Documents of the sample.
    pub sampled: u64,
}

// === impl Estimate ===

impl Estimate {
    /// Number that is known.
    #[must_use]
    pub fn exact(count: f64) -> Estimate {
        Estimate { expected: count, upper: count }
    }

    /// Documents that contain one of several terms, of the given frequencies. O(terms).
    ///
    /// Expected number: terms are independent, N · (1 − Π(1 − df/N)). Upper bound: the sum.
    #[must_use]
    pub fn any(population: f64, frequencies: impl IntoIterator<Item = u64>) -> Estimate {
        let population = population.max(1.0);
        let (mut none, mut sum) = (1.0, 0.0);
        for frequency in frequencies {
            let frequency = to_float(frequency).min(population);
            none *= 1.0 - frequency / population;
            sum += frequency;
        }
        Estimate { expected: population * (1.0 - none), upper: sum.min(population) }
    }

    /// Documents that meet every condition. O(conditions).
    ///
    /// Expected number: conditions are independent, N · Π(n/N). Upper bound: the smallest one.
    #[must_use]
    pub fn all(population: f64, conditions: impl IntoIterator<Item = Estimate>) -> Estimate {
        let population = population.max(0.0);
        let whole = Estimate::exact(population);
        conditions.into_iter().fold(whole, |all, one| {
            let share = if population > 0.0 { (one.expected / population).clamp(0.0, 1.0) } else { 0.0 };
            Estimate { expected: all.expected * share, upper: all.upper.min(one.upper) }
        })
    }

    /// Number to plan with: the geometric mean of `expected` and `upper`, since words and filters of one search attract each
    /// other more than independent ones.
    #[must_use]
    pub fn likely(self) -> f64 {
        (self.expected.max(0.0) * self.upper.max(0.0)).sqrt()
    }
}

// === impl Share ===

impl Share {
    /// Documents of a population that meet the condition: those of the sample scaled up. The upper bound is that of the
    /// share's 95 % [Wilson interval](Share::interval); a sample of the whole population is exact.
    #[must_use]
    pub fn of(self, population: f64) -> Estimate {
        if self.sampled == 0 {
            return Estimate { expected: population, upper: population };
        }
        let share = to_float(self.matched) / to_float(self.sampled);
        let upper = if to_float(self.sampled) >= population { share } else { self.interval().1 };
        Estimate { expected: population * share, upper: population * upper }
    }

    /// Bounds of the share, 95 % Wilson score interval. Source: E. B. Wilson, JASA 22 (1927).
    #[must_use]
    pub fn interval(self) -> (f64, f64) {
        if self.sampled == 0 {
            return (0.0, 1.0);
        }
        let n = to_float(self.sampled);
        let p = to_float(self.matched) / n;
        let centre = p + Z * Z / (2.0 * n);
        let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        (((centre - half) / scale).clamp(0.0, 1.0), ((centre + half) / scale).clamp(0.0, 1.0))
    }
}

/// Number of documents of which `seen` lie in a random part of a collection, and the half-width of its 95 % interval.
/// `fraction` is the part's size, 0 to 1; the whole is exact.
#[must_use]
pub fn scale_up(seen: u64, fraction: f64) -> (u64, u64) {
    let (count, low, high) = thinned(seen, fraction);
    (count, high.saturating_sub(count).max(count.saturating_sub(low)))
}

/// Number of documents of which `seen` lie in a random part of a collection, and the bounds of its 95 % interval, rounded
/// outwards. `fraction` is the part's size, 0 to 1; the whole is exact.
///
/// Score interval of a thinned count: (seen − λ)² ≤ z² · λ · (1 − fraction) with λ = fraction · number.
#[must_use]
pub fn thinned(seen: u64, fraction: f64) -> (u64, u64, u64) {
    if fraction >= 1.0 {
        return (seen, seen, seen);
    }
    let fraction = fraction.max(1e-9);
    let seen = to_float(seen);
    let half = Z * Z * (1.0 - fraction) / 2.0;
    let root = (half * half + 2.0 * half * seen).sqrt();
    // Rounding errors of whole bounds are forgiven.
    let low = (((seen + half - root) / fraction) + 1e-6).floor().max(0.0);
    let high = (((seen + half + root) / fraction) - 1e-6).ceil();
    (to_count(seen / fraction), to_count(low), to_count(high))
}

/// Count as a float; exact to 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of documents are far below 2^53")]
#[must_use]
pub fn to_float(count: u64) -> f64 {
    count as f64
}

/// Float as a count, rounded; saturates.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
#[must_use]
pub fn to_count(number: f64) -> u64 {
    number.round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn union_lies_between_the_largest_and_the_sum() {
        let union = Estimate::any(1000.0, [500, 500]);
        assert!((union.expected - 750.0).abs() < 1e-9 && union.upper >= 1000.0);
        assert_eq!(Estimate::any(1000.0, []), Estimate { expected: 0.0, upper: 0.0 });
        assert!(Estimate::any(10.0, [50]).expected <= 10.0, "a stale frequency is no more than the population");
    }

    #[test]
    fn intersection_is_at_most_the_smallest() {
        let both = Estimate::all(1000.0, [Estimate::exact(100.0), Estimate::exact(10.0)]);
        assert!((both.expected - 1.0).abs() < 1e-9);
        assert!((both.upper - 10.0).abs() < 1e-9);
        assert!((both.likely() - 10f64.sqrt()).abs() < 1e-9, "between the two, and nearer to the smaller");
        assert_eq!(Estimate::all(7.0, []), Estimate::exact(7.0));
        assert_eq!(Estimate::all(0.0, [Estimate::exact(0.0)]).expected.to_bits(), 0f64.to_bits());
    }

    #[test]
    fn share_of_a_sample_has_the_upper_bound_of_its_interval() {
        let estimate = Share { matched: 200, sampled: 1000 }.of(50_000.0);
        assert!((estimate.expected - 10_000.0).abs() < 1e-6);
        assert!((11_000.0..11_500.0).contains(&estimate.upper), "{estimate:?}");
        let none = Share { matched: 0, sampled: 1000 }.of(50_000.0);
        assert!(none.expected < 1e-9 && (100.0..300.0).contains(&none.upper), "{none:?}");
        assert_eq!(Share { matched: 3, sampled: 10 }.of(10.0), Estimate::exact(3.0), "a sample of all is exact");
        assert_eq!(Share { matched: 0, sampled: 0 }.of(9.0), Estimate::exact(9.0), "no sample: perhaps all");
    }

    #[test]
    fn whole_collection_is_counted_exactly() {
        assert_eq!(scale_up(12, 1.0), (12, 0));
        let (count, margin) = scale_up(300, 0.01);
        assert_eq!(count, 30_000);
        assert!((3_300..3_800).contains(&margin), "{margin}");
        assert!(scale_up(0, 0.01).1 > 300, "none seen: there may be some");
    }

    proptest! {
        #[test]
        fn bounds_keep_their_order(
            population in 1.0..1e6,
            matched in 0_u64..1000,
            more in 0_u64..1000,
            terms in prop::collection::vec(0_u64..1_000_000, 0..20),
        ) {
            let share = Share { matched, sampled: matched + more };
            let (low, high) = share.interval();
            prop_assert!((0.0..=high).contains(&low) && high <= 1.0);
            let parts = [share.of(population), Estimate::any(population, terms)];
            for part in parts.iter().chain([&Estimate::all(population, parts)]) {
                prop_assert!(part.expected <= part.upper + 1e-6, "{:?}", part);
                prop_assert!(part.expected <= part.likely() + 1e-6 && part.likely() <= part.upper + 1e-6);
                prop_assert!(part.upper <= population + 1e-6);
            }
        }

        /// Thinned counts are covered: deterministic corpora of hashed ids, cut at a fraction.
        #[test]
        fn scaled_count_covers_the_truth_mostly(seed in any::<u64>(), number in 500_u64..3000) {
            let (fraction, mut right) = (0.1, 0);
            for trial in 0..40 {
                let mut state = seed ^ 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(trial);
                let mut seen = 0;
                for _ in 0..number {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    seen += u64::from(to_float(state >> 32) < fraction * 4_294_967_296.0);
                }
                let (count, margin) = scale_up(seen, fraction);
                right += u32::from(count.abs_diff(number) <= margin);
            }
            // 95 % of 40 is 38; 31 or fewer has a chance below one in ten thousand.
            prop_assert!(right > 31, "{right} of 40");
        }
    }
}

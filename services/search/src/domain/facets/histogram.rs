use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::FacetPlan;

/// Buckets of equal width, by their number from zero. The width is the requested one, doubled as often as the bound needs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Histogram {
    width: f64,
    buckets: HashMap<i64, u64, FixedState>,
}

/// Largest number of a bucket: its bounds are exact multiples of the width.
const FARTHEST: f64 = 9_007_199_254_740_992.0;

// === impl Histogram ===

impl Histogram {
    pub(super) fn new(width: f64) -> Histogram {
        Histogram { width, buckets: HashMap::default() }
    }

    pub(super) fn add(&mut self, value: f64) {
        while (value / self.width).abs() >= FARTHEST {
            self.widen();
        }
        let bucket = (value / self.width).floor() as i64;
        *self.buckets.entry(bucket).or_default() += 1;
        self.fit();
    }

    /// Bounds and counts of the buckets that have any, ascending.
    #[expect(clippy::cast_precision_loss, reason = "numbers of buckets are below 2^53")]
    pub(super) fn counts(&self) -> Vec<(f64, f64, u64)> {
        let mut buckets: Vec<(i64, u64)> = self.buckets.iter().map(|(bucket, count)| (*bucket, *count)).collect();
        buckets.sort_unstable();
        let bounds = |(bucket, count)| (bucket as f64 * self.width, (bucket + 1) as f64 * self.width, count);
        buckets.into_iter().map(bounds).collect()
    }

    /// Widens until the buckets are few enough. The final width does not depend on the order of the values, since more values
    /// never need a smaller one.
    fn fit(&mut self) {
        while self.buckets.len() > FacetPlan::MAX_BUCKETS {
            self.widen();
        }
    }

    fn widen(&mut self) {
        self.width *= 2.0;
        for (bucket, count) in std::mem::take(&mut self.buckets) {
            *self.buckets.entry(bucket.div_euclid(2)).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_include_their_lower_bound() {
        let mut histogram = Histogram::new(10.0);
        [-0.5, 0.0, 9.9, 10.0, 35.0].into_iter().for_each(|value| histogram.add(value));
        assert_eq!(histogram.counts(), [(-10.0, 0.0, 1), (0.0, 10.0, 2), (10.0, 20.0, 1), (30.0, 40.0, 1)]);
    }

    #[test]
    fn width_is_doubled_until_the_buckets_fit() {
        let mut histogram = Histogram::new(1.0);
        (0..3000).for_each(|value| histogram.add(f64::from(value)));
        let counts = histogram.counts();
        assert_eq!(counts.len(), 750);
        assert!(counts.iter().all(|(from, to, count)| to - from == 4.0 && *count == 4));
    }

    #[test]
    fn order_does_not_change_the_buckets() {
        let values: Vec<f64> = (0..2500).map(|index| f64::from(index * 7919 % 10_007)).collect();
        let mut forward = Histogram::new(0.25);
        values.iter().for_each(|value| forward.add(*value));
        let mut backward = Histogram::new(0.25);
        values.iter().rev().for_each(|value| backward.add(*value));
        assert_eq!(forward, backward);
    }

    #[test]
    fn extreme_values_have_buckets() {
        let mut histogram = Histogram::new(f64::MIN_POSITIVE);
        [f64::MAX, f64::MIN, 0.0].into_iter().for_each(|value| histogram.add(value));
        let counts = histogram.counts();
        assert_eq!(counts.iter().map(|(_, _, count)| count).sum::<u64>(), 3);
        assert!(counts.iter().all(|(from, to, _)| from < to), "{counts:?}");
    }
}

//! Carries buckets over to a changed policy: hits that were consumed stay consumed, under the new rate and burst.
//!
//! Changes keep each bucket's key, which names only the policy's id and the values of its entries, and the policy's
//! figures. The level keeps its hits. Charges made under another rate can still be refunded up to what has not leaked of them;
//! `store/scripts/decide.lua` carries stored buckets over by the same rule.

use super::{Level, Meter};

/// Level under the `new` meter of the hits that `level` is under the `old` one, rounded up to a whole hit.
#[must_use]
pub fn carry_over(level: Level, old: &Meter, new: &Meter) -> Level {
    let same_rate = (old.n(), old.p()) == (new.n(), new.p());
    if same_rate { level } else { new.level(old.charged(level)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumed_hits_stay_consumed() {
        let [slow, fast, wide] =
            [(10, 10), (100, 100), (10, 50)].map(|(amount, burst)| Meter::new(amount, 1_000_000, burst));
        let level = slow.level(4);
        assert_eq!(carry_over(level, &slow, &fast), fast.level(4));
        assert_eq!(carry_over(level.after(50_000), &slow, &fast), fast.level(4), "rounded up");
        assert_eq!(carry_over(level.after(50_000), &slow, &wide), level.after(50_000), "the rate is the same");
    }
}

//! Ladder: tiers of candidates, read from the best down until there are enough.

/// Share of the cap that an estimate may reach for a tier to be read whole.
const CAUTION: f64 = 0.8;
/// Share of the cap that a part of a tier aims at.
const AIM: f64 = 0.9;
/// Share of the cap that is enough candidates.
const ENOUGH: f64 = 0.5;
/// Most rounds of calls.
const ROUNDS: u32 = 4;

/// Call for candidates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rung {
    /// Position of the tier.
    pub tier: usize,
    /// Share of the tier's matches to read; none for all.
    pub share: Option<f64>,
}

/// Candidates of a ranked search, tier by tier.
#[derive(Debug)]
pub struct Ladder {
    /// Matches of each tier, estimated, later known.
    matches: Vec<f64>,
    cap: f64,
    /// Last tier that was read whole.
    whole: Option<usize>,
    /// Part that was read of the tier after it.
    part: Option<Rung>,
    candidates: usize,
    rounds: u32,
}

// === impl Ladder ===

impl Ladder {
    /// Ladder over tiers of so many matches each, for at most `cap` candidates.
    #[must_use]
    pub fn new(matches: Vec<f64>, cap: u32) -> Ladder {
        Ladder { matches, cap: f64::from(cap), whole: None, part: None, candidates: 0, rounds: 0 }
    }

    /// Most documents that one call returns.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cap of a few hundred")]
    pub fn limit(&self) -> u32 {
        (self.cap * 1.25) as u32
    }

    /// Next calls, to be sent together; none when there are enough candidates.
    #[must_use]
    pub fn rungs(&mut self) -> Vec<Rung> {
        let next = self.whole.map_or(0, |whole| whole + 1);
        let is_enough = self.part.is_some() && self.candidates >= self.enough();
        if next >= self.matches.len() || is_enough || self.rounds == ROUNDS {
            return Vec::new();
        }
        self.rounds += 1;
        let over = (next..self.matches.len()).find(|tier| self.matches[*tier] > self.cap * CAUTION);
        let Some(over) = over else { return vec![Rung { tier: self.matches.len() - 1, share: None }] };
        let part = Rung { tier: over, share: Some((self.cap * AIM / self.matches[over]).min(1.0)) };
        if over > next { vec![Rung { tier: over - 1, share: None }, part] } else { vec![part] }
    }

    /// Takes the answer to a call: number of matches, and of all candidates so far. Returns whether its documents count: the
    /// answer to a call that has more than [`Ladder::limit`] is incomplete.
    pub fn accept(&mut self, rung: Rung, total: u64, candidates: usize) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "totals are far below 2^53")]
        let total = total as f64;
        let is_complete = total <= f64::from(self.limit());
        let matches = total / rung.share.unwrap_or(1.0).max(f64::MIN_POSITIVE);
        self.learn(rung, matches);
        if !is_complete {
            return false;
        }
        self.candidates = candidates;
        if rung.share.is_none_or(|share| share >= 1.0) {
            self.whole = self.whole.max(Some(rung.tier));
            self.part = self.part.filter(|part| Some(part.tier) > self.whole);
        } else {
            self.part = Some(rung);
        }
        true
    }

    /// Returns whether documents match that are no candidates.
    #[must_use]
    pub fn is_capped(&self) -> bool {
        self.whole != self.matches.len().checked_sub(1)
    }

    /// Corrects the estimates by an answer: later tiers have at least as many matches, earlier ones at most.
    fn learn(&mut self, rung: Rung, matches: f64) {
        for (tier, estimate) in self.matches.iter_mut().enumerate() {
            match tier.cmp(&rung.tier) {
                std::cmp::Ordering::Less => *estimate = estimate.min(matches),
                std::cmp::Ordering::Equal => *estimate = matches,
                std::cmp::Ordering::Greater => *estimate = estimate.max(matches),
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cap of a few hundred")]
    fn enough(&self) -> usize {
        (self.cap * ENOUGH) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Answers like an engine whose tiers have these numbers of matches; returns the calls, and the candidates.
    fn climb(ladder: &mut Ladder, truth: &[u64]) -> (Vec<Vec<Rung>>, usize) {
        let (mut calls, mut candidates) = (Vec::new(), 0_usize);
        loop {
            let rungs = ladder.rungs();
            if rungs.is_empty() {
                return (calls, candidates);
            }
            for rung in &rungs {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    clippy::cast_precision_loss,
                    reason = "test"
                )]
                let total = (truth[rung.tier] as f64 * rung.share.unwrap_or(1.0)) as u64;
                let all = candidates.max(usize::try_from(total).unwrap_or(0));
                if ladder.accept(*rung, total, all) {
                    candidates = all;
                }
            }
            calls.push(rungs);
        }
    }

    #[test]
    fn few_matches_take_one_call() {
        let mut ladder = Ladder::new(vec![10.0, 50.0, 120.0], 300);
        let (calls, candidates) = climb(&mut ladder, &[12, 40, 130]);
        assert_eq!(calls, [[Rung { tier: 2, share: None }]]);
        assert!(!ladder.is_capped() && candidates == 130);
    }

    #[test]
    fn best_tier_is_read_whole_and_the_next_in_part() {
        let mut ladder = Ladder::new(vec![100.0, 3_000.0], 300);
        let (calls, candidates) = climb(&mut ladder, &[90, 2_900]);
        assert_eq!(calls, [[Rung { tier: 0, share: None }, Rung { tier: 1, share: Some(0.09) }]]);
        assert!(ladder.is_capped() && candidates == 261);
    }

    #[test]
    fn low_estimate_is_corrected_by_the_answer() {
        let mut ladder = Ladder::new(vec![100.0], 300);
        let (calls, candidates) = climb(&mut ladder, &[27_000]);
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[1], [Rung { tier: 0, share: Some(0.01) }]);
        assert!(ladder.is_capped() && candidates == 270);
    }

    #[test]
    fn high_estimate_is_corrected_by_the_answer() {
        let mut ladder = Ladder::new(vec![50_000.0, 60_000.0], 300);
        let (_, candidates) = climb(&mut ladder, &[0, 40]);
        assert!(!ladder.is_capped() && candidates == 40);
    }

    proptest! {
        #[test]
        fn candidates_are_many_or_all(
            mut truth in prop::collection::vec(0_u64..50_000, 1..6),
            errors in prop::collection::vec(0.2..5.0, 6),
        ) {
            truth.sort_unstable();
            #[expect(clippy::cast_precision_loss, reason = "test")]
            let estimates = truth.iter().zip(errors).map(|(matches, error)| *matches as f64 * error).collect();
            let mut ladder = Ladder::new(estimates, 300);
            let (calls, candidates) = climb(&mut ladder, &truth);
            let last = usize::try_from(truth[truth.len() - 1]).unwrap_or(0);
            prop_assert!(calls.len() <= 4 && candidates <= 375);
            prop_assert!(candidates >= last.min(100), "{} of {}", candidates, last);
            prop_assert_eq!(!ladder.is_capped(), calls.iter().flatten().any(|rung| {
                rung.tier == truth.len() - 1 && rung.share.is_none_or(|share| share >= 1.0) && last <= 375
            }));
        }
    }
}

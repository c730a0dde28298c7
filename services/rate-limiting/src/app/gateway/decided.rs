//! Decision on a gateway's request, and the limit of each descriptor that matters most.

use super::Hits;
use crate::app::limiter::{Call, CallLimit, Outcome, Source, State, Verdict};

/// Decision on the descriptors of a request.
pub struct Decided {
    /// Limits of each descriptor, in the request's order.
    pub(super) hits: Vec<Hits>,
    /// Limits that are charged, together.
    pub(super) charged: Option<(Call, Outcome)>,
    /// Limits that are peeked at.
    pub(super) peeked: Option<(Call, Outcome)>,
    /// Limits that hits are taken back from.
    pub(super) taken_back: Vec<(CallLimit, State)>,
}

/// Limit that a descriptor meets, and its state.
#[derive(Clone, Copy)]
pub struct Met<'a> {
    /// Limit.
    pub limit: &'a CallLimit,
    /// State of the limit.
    pub state: &'a State,
}

// === impl Decided ===

impl Decided {
    /// Returns whether the request may pass.
    #[must_use]
    pub fn admitted(&self) -> bool {
        self.outcomes().all(|outcome| outcome.admitted)
    }

    /// Returns whether this instance answered because the store is unavailable.
    #[must_use]
    pub fn degraded(&self) -> bool {
        self.outcomes().any(|outcome| outcome.source == Source::Outage)
    }

    /// Returns whether a limit in shadow mode would have denied the request.
    #[must_use]
    pub fn shadow_denied(&self) -> bool {
        let mut states = self.outcomes().flat_map(|outcome| &outcome.limits);
        states.any(|state| state.verdict == Verdict::ShadowDenied)
    }

    /// Limit of each descriptor that matters most, in the request's order; none where no policy matches.
    #[must_use]
    pub fn strictest(&self) -> Vec<Option<Met<'_>>> {
        self.hits.iter().map(|hits| self.strictest_of(hits)).collect()
    }

    fn strictest_of(&self, hits: &Hits) -> Option<Met<'_>> {
        match hits {
            Hits::Unmatched => None,
            Hits::GivenBack(indexes) => {
                lowest(indexes, |index| self.taken_back.get(index).map(|(limit, state)| Met { limit, state }))
            }
            Hits::Charged(indexes) => lowest(indexes, |index| met(self.charged.as_ref(), index)),
            Hits::Peeked(indexes) => lowest(indexes, |index| met(self.peeked.as_ref(), index)),
        }
    }

    fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        [&self.charged, &self.peeked].into_iter().flatten().map(|(_, outcome)| outcome)
    }
}

fn met(part: Option<&(Call, Outcome)>, index: usize) -> Option<Met<'_>> {
    let (call, outcome) = part?;
    Some(Met { limit: call.limits.get(index)?, state: outcome.limits.get(index)? })
}

fn lowest<'a>(indexes: &[usize], met: impl Fn(usize) -> Option<Met<'a>>) -> Option<Met<'a>> {
    indexes.iter().filter_map(|index| met(*index)).min_by(|first, other| first.rank().total_cmp(&other.rank()))
}

// === impl Met ===

impl Met<'_> {
    /// Rank of the limit; the lowest matters most: first the longest denial, then the smallest share that remains.
    #[must_use]
    pub fn rank(self) -> f64 {
        if self.state.verdict.is_final() {
            return f64::NEG_INFINITY;
        }
        if self.state.verdict.denies() {
            return -1.0 - self.state.retry_after.unwrap_or_default().as_secs_f64();
        }
        match self.limit.meter() {
            Some(meter) if self.state.counted => self.state.remaining as f64 / meter.burst() as f64,
            Some(_) | None => f64::INFINITY,
        }
    }
}

//! Counts decisions by policy.

use std::sync::atomic::{AtomicU64, Ordering};

use super::call::Call;
use super::outcome::{Outcome, Source, Verdict};

/// Counts a decision in the figures of its policies.
pub(super) fn count(call: &Call, outcome: &Outcome) {
    for (limit, state) in call.limits.iter().zip(&outcome.limits) {
        let figures = &limit.applied.compiled.figures;
        let counters: [Option<&AtomicU64>; 3] = [
            match state.verdict {
                Verdict::Denied | Verdict::CostOverBurst | Verdict::Blocked => Some(&figures.denied),
                Verdict::ShadowDenied => Some(&figures.shadow_denied),
                Verdict::Admitted | Verdict::Unlimited | Verdict::Overcharged | Verdict::Open if outcome.admitted => {
                    Some(&figures.admitted)
                }
                Verdict::Admitted | Verdict::Unlimited | Verdict::Overcharged | Verdict::Open | Verdict::Skipped => {
                    None
                }
            },
            (outcome.source == Source::Cache && state.verdict == Verdict::Denied).then_some(&figures.denied_from_cache),
            (outcome.source == Source::Outage).then_some(&figures.outage),
        ];
        counters.into_iter().flatten().for_each(|counter| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
    }
}

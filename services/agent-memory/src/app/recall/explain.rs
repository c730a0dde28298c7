//! Explanation: steps of the plan, terms of the scores.

use std::time::Instant;

use super::gather::Gathered;
use crate::domain::question::Question;
use crate::domain::rank::Scored;
use crate::domain::recall::{Candidates, LateInteraction, RecallPlan, RecallStep, ScoreTerm};

/// Steps with their durations.
pub(super) struct Steps {
    last: Instant,
    steps: Vec<RecallStep>,
}

// === impl Steps ===

impl Steps {
    pub(super) fn new() -> Steps {
        Steps { last: Instant::now(), steps: Vec::new() }
    }

    /// Ends a step.
    pub(super) fn add(&mut self, name: &'static str, count: usize) {
        let now = Instant::now();
        self.steps.push(RecallStep { name, count: count as u64, duration: now - self.last });
        self.last = now;
    }

    /// Plan that these steps followed.
    pub(super) fn plan(self, gathered: &Gathered, question: &Question) -> RecallPlan {
        let candidates = if gathered.whole { Candidates::WholeScope } else { Candidates::Nearest };
        let sketched = question.sketch.is_some() && gathered.corpus.sketched > 0;
        let late_interaction = if sketched { LateInteraction::Sketch } else { LateInteraction::None };
        RecallPlan { candidates, late_interaction, steps: self.steps }
    }
}

/// Terms whose sum is the score: the factor of use stands as the difference that it makes.
pub(super) fn terms(scored: &Scored) -> Vec<ScoreTerm> {
    let [parts @ .., (_, factor)] = scored.explain.terms();
    let sum: f32 = parts.iter().map(|(_, value)| value).sum();
    let mut terms: Vec<ScoreTerm> =
        parts.into_iter().map(|(name, value)| ScoreTerm { name, value, detail: String::new() }).collect();
    let detail = format!("factor of last use and importance: {factor:.3}");
    terms.push(ScoreTerm { name: "use", value: scored.score - sum, detail });
    terms
}

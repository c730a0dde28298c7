//! Request of Recall, and its result.

use std::time::Duration;

use keyplane_contracts::memory::v1 as pb;
use keyplane_contracts::rules::memory as stated;
use keyplane_contracts::{Violations, span};

use super::filter::filter;
use super::reply::{count, memory};
use super::scope::{Sent, space};
use super::times::moment;
use super::vector::vector;
use super::{checked, content};
use crate::domain::{self, RecallRequest, Recalled};
use crate::error::Error;

/// Question, its scope and its budget.
pub(in crate::grpc) fn recall(request: pb::RecallRequest) -> Result<RecallRequest, Error> {
    let mut violations = Violations::new();
    let pb::RecallRequest { parent, user, agent, workflow, session, .. } = &request;
    let scope = Sent { parent, user, agent, workflow, session, at: "" }.read(&mut violations);
    content::text(&request.query, stated::QUERY, "query", &mut violations);
    let [unset, most] = stated::TOKENS;
    let max_tokens = number("max_tokens", request.max_tokens, unset, most, &mut violations);
    let max_memories =
        number("max_memories", request.max_memories, stated::RECALLED, stated::RECALLED, &mut violations);
    if request.min_score.is_some_and(|score| !score.is_finite()) {
        violations.add("min_score", "must be a finite number");
    }
    let space = space(&request.space, &mut violations);
    let vector = vector(request.vector, "vector", &mut violations);
    let filter = filter(request.filter, "filter", &mut violations);
    let as_of = moment(request.as_of_time, "as_of_time", &mut violations);
    let request = scope.map(|scope| RecallRequest {
        scope,
        query: request.query,
        vector,
        space,
        filter,
        max_tokens,
        max_memories,
        min_score: request.min_score,
        as_of,
        shared: !request.exclude_shared,
        touch: !request.skip_access,
        explain: request.explain,
    });
    checked(request, violations)
}

/// Result as a message.
pub(in crate::grpc) fn recalled(recalled: Recalled) -> pb::RecallResponse {
    pb::RecallResponse {
        memories: recalled.memories.into_iter().map(recalled_memory).collect(),
        text: recalled.text,
        token_count: count(recalled.tokens.into()),
        scored_count: count(recalled.scored),
        plan: recalled.plan.map(plan),
    }
}

fn recalled_memory(recalled: domain::RecalledMemory) -> pb::RecalledMemory {
    let term =
        |term: domain::ScoreTerm| pb::ScoreTerm { name: term.name.to_owned(), value: term.value, detail: term.detail };
    pb::RecalledMemory {
        memory: Some(memory(recalled.memory)),
        score: recalled.score,
        terms: recalled.terms.into_iter().map(term).collect(),
    }
}

fn plan(plan: domain::RecallPlan) -> pb::RecallPlan {
    use pb::recall_plan::{Candidates, LateInteraction};
    let candidates = match plan.candidates {
        domain::Candidates::WholeScope => Candidates::WholeScope,
        domain::Candidates::Nearest => Candidates::Nearest,
    };
    let late_interaction = match plan.late_interaction {
        domain::LateInteraction::Sketch => LateInteraction::Sketch,
        domain::LateInteraction::None => LateInteraction::None,
    };
    let step = |step: domain::RecallStep| {
        // Finer parts than a microsecond are noise.
        let micros = u64::try_from(step.duration.as_micros()).unwrap_or(u64::MAX);
        let duration = Some(span(Duration::from_micros(micros)));
        pb::RecallStep { name: step.name.to_owned(), count: count(step.count), duration }
    };
    pb::RecallPlan {
        candidates: candidates.into(),
        late_interaction: late_interaction.into(),
        steps: plan.steps.into_iter().map(step).collect(),
    }
}

/// Number of 0 to `most` in a field; 0 means `unset`.
fn number(field: &str, sent: i32, unset: u32, most: u32, violations: &mut Violations) -> u32 {
    match u32::try_from(sent).ok().filter(|number| *number <= most) {
        Some(0) => unset,
        Some(number) => number,
        None => {
            violations.add(field, format!("must be 0 to {most}; got {sent}"));
            unset
        }
    }
}

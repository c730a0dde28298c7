//! Recall: a request that is checked already, and its result.

use std::time::Duration;

use super::memory::Memory;
use super::scope::Scope;
use super::space::SpaceId;
use super::write::Filter;

/// Question, and the memories that may answer it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecallRequest {
    /// Scope. An absent agent, workflow or session means any.
    pub scope: Scope,
    /// Question, not empty.
    pub query: String,
    /// Caller's embedding, of any length; none if the service embeds.
    pub vector: Option<Vec<f32>>,
    /// Space; none for the default.
    pub space: Option<SpaceId>,
    /// Filter.
    pub filter: Filter,
    /// Budget: most tokens of the rendered text.
    pub max_tokens: u32,
    /// Maximum of memories.
    pub max_memories: u32,
    /// Least score.
    pub min_score: Option<f32>,
    /// Moment whose memories are recalled, in milliseconds since 1970; none for now.
    pub as_of: Option<i64>,
    /// True if a user's Recall also returns shared memories.
    pub shared: bool,
    /// True if the call counts as an access of what it returns.
    pub touch: bool,
    /// True to describe the plan and the scores.
    pub explain: bool,
}

/// Result of a Recall.
#[derive(Clone, Debug, PartialEq)]
pub struct Recalled {
    /// Memories, best first.
    pub memories: Vec<RecalledMemory>,
    /// Memories as one text.
    pub text: String,
    /// Tokens of `text`.
    pub tokens: u32,
    /// Number of memories that were scored.
    pub scored: u64,
    /// Plan; none unless it was asked for.
    pub plan: Option<RecallPlan>,
}

/// Memory of a Recall.
#[derive(Clone, Debug, PartialEq)]
pub struct RecalledMemory {
    /// Memory.
    pub memory: Memory,
    /// Score.
    pub score: f32,
    /// Terms of the score, whose sum it is; empty unless they were asked for.
    pub terms: Vec<ScoreTerm>,
}

/// Term of a score.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreTerm {
    /// Name.
    pub name: &'static str,
    /// Contribution to the score.
    pub value: f32,
    /// Figures, for people; empty for none.
    pub detail: String,
}

/// Choice of the memories that are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Candidates {
    /// Every memory of the scope.
    WholeScope,
    /// Nearest vectors, memories with rare words of the query, and their neighbours.
    Nearest,
}

/// Source of the late interaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LateInteraction {
    /// Stored sketches.
    Sketch,
    /// Left out.
    None,
}

/// Plan that a Recall followed.
#[derive(Clone, Debug, PartialEq)]
pub struct RecallPlan {
    /// Choice of the memories.
    pub candidates: Candidates,
    /// Source of the late interaction.
    pub late_interaction: LateInteraction,
    /// Steps, in the order of their execution.
    pub steps: Vec<RecallStep>,
}

/// Step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecallStep {
    /// Name.
    pub name: &'static str,
    /// Memories that the step handled.
    pub count: u64,
    /// Duration.
    pub duration: Duration,
}

//! Recall: memories for a question, within a budget of tokens.
//!
//! 1. The question comes with its embedding, by the service or by the caller.
//! 2. Each owner (the user, and all users together) gives its memories: all of a small one; of a large one the nearest vectors and
//!    the best matches of words, with their neighbours.
//! 3. One ranking scores them all; the best are taken while they fit the budget.
//! 4. Their texts are loaded, checked once more, and rendered.
//! 5. The use is recorded, and the texts, so that what was recalled is not remembered again.

mod asked;
mod explain;
mod gather;
mod texts;

use std::sync::Arc;
use std::time::Duration;

use keyplane_telemetry::LogLimit;

use crate::domain::Space;
use crate::domain::admission::Admission;
use crate::domain::question::Question;
use crate::domain::rank::{Weights, rank};
use crate::domain::recall::{RecallRequest, Recalled};
use crate::error::Error;
use crate::store::Store;
use explain::Steps;
use texts::Chosen;

pub use asked::Asked;

/// Interval of log lines about uses that could not be recorded.
const REMIND: Duration = Duration::from_secs(60);

/// Count of a text's tokens.
pub type CountTokens = dyn Fn(&str) -> u32 + Send + Sync;

/// Use case. Cheap to clone.
#[derive(Clone)]
pub struct Recall {
    store: Store,
    count: Arc<CountTokens>,
    weights: Weights,
}

/// Recall that is under way.
struct Run<'a> {
    store: &'a Store,
    request: &'a RecallRequest,
    space: Option<&'a Space>,
    question: Question,
    admission: Admission<'a>,
    /// Moment of the call, in milliseconds since 1970.
    now: i64,
}

// === impl Recall ===

impl Recall {
    /// Recalls from `store`; counts the tokens of texts with `count`, which also counted them when they were written.
    #[must_use]
    pub fn new(store: Store, count: Arc<CountTokens>) -> Recall {
        Recall { store, count, weights: Weights::SERVICE }
    }

    /// Memories that answer the question, with their text. Records their use, at most once in 15 minutes each.
    ///
    /// Reads whole scopes of up to some 2,000 memories in one round trip each; O(memories that are scored).
    ///
    /// # Errors
    ///
    /// Error of the store, before anything is recorded.
    pub async fn recall(&self, request: &RecallRequest, asked: &Asked) -> Result<Recalled, Error> {
        let mut steps = Steps::new();
        let run = self.ask(request, asked);
        steps.add("question", run.question.terms.len());
        let gathered = run.gather().await?;
        steps.add("candidates", gathered.items());
        let scored = rank(&run.question, &gathered.sessions, &gathered.corpus, &self.weights);
        steps.add("rank", scored.len());
        let chosen = run.choose(&gathered.sessions, scored, &*self.count).await?;
        steps.add("texts", chosen.lines.len());
        let rendered = chosen.render(request, &*self.count);
        let kept = &chosen.lines[..rendered.lines];
        Box::pin(run.record(&chosen, kept, &rendered.text)).await;
        steps.add("use", kept.len());
        Ok(Recalled {
            memories: chosen.memories(kept, request.explain),
            tokens: rendered.tokens,
            text: rendered.text,
            scored: gathered.items() as u64,
            plan: request.explain.then(|| steps.plan(&gathered, &run.question)),
        })
    }

    /// Question as the ranking reads it, and the conditions of its answers.
    fn ask<'a>(&'a self, request: &'a RecallRequest, asked: &'a Asked) -> Run<'a> {
        let now = super::now();
        let (vector, sketch) = asked.embedding();
        let question = Question::new(&request.query, vector, sketch, now);
        let admission = Admission::new(&request.scope, &request.filter, request.as_of, now);
        Run { store: &self.store, request, space: asked.space(), question, admission, now }
    }
}

// === impl Run ===

impl Run<'_> {
    /// Records the use of memories, and the texts that the caller now has. A fault costs the record alone, and is logged.
    async fn record(&self, chosen: &Chosen, kept: &[texts::Line], text: &str) {
        let owner = &self.request.scope.owner;
        let used = chosen.used(kept);
        let texts = chosen.raw_texts(kept, text);
        let touch = async {
            if self.request.touch { self.store.touch(&owner.tenant, &used, self.now).await.map(drop) } else { Ok(()) }
        };
        let (touched, noted) = tokio::join!(touch, self.store.recalled(owner, &texts, self.now));
        for error in [touched.err(), noted.err()].into_iter().flatten() {
            log(&error);
        }
    }
}

fn log(error: &Error) {
    static LIMIT: LogLimit = LogLimit::new(1, REMIND);
    if let Some(left_out) = LIMIT.admit() {
        tracing::warn!(%error, left_out, "the use of recalled memories is not recorded");
    }
}

//! Answers to checks: the verdict, and how fresh the knowledge behind it is.

use std::sync::Arc;
use std::time::Duration;

use keyplane_revocation::{Answer, Sequence};

use crate::domain::OutagePolicy;

/// Demands of a caller on an answer.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    /// Sequence that must be known.
    pub min_sequence: Option<Sequence>,
    /// Greatest age of the knowledge; the configured bound holds as well. Zero: the store is asked.
    pub max_staleness: Option<Duration>,
    /// Outage policy in place of the configured one.
    pub policy: Option<OutagePolicy>,
}

/// Answer to a check.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Verdict; never [`Answer::Suspect`].
    pub answer: Answer,
    /// Freshness of the answer.
    pub freshness: Freshness,
}

/// Answers to a batch.
#[derive(Clone, Debug)]
pub struct CheckedAll {
    /// Verdicts in the order of the claims, none of them [`Answer::Suspect`]; `None` where neither memory nor the store
    /// can tell.
    pub answers: Vec<Option<Answer>>,
    /// Freshness of the weakest answer.
    pub freshness: Freshness,
}

/// Freshness of an answer.
#[derive(Clone, Debug)]
pub struct Freshness {
    /// Known sequence, in the form of [`Sequence::encode`]; empty unless the source is [`Source::Local`].
    pub sequence: Arc<str>,
    /// Age of the knowledge: everything that was acknowledged this long before the answer was known. Zero from the
    /// store. By policy, the age of memory, or the time since the start if memory never caught up.
    pub age: Duration,
    /// Source of the answer.
    pub source: Source,
}

/// Source of an answer: the weakest is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Memory of this instance.
    Local,
    /// Store.
    Store,
    /// Outage policy: neither memory nor the store could tell.
    Policy,
}

// === impl Freshness ===

impl Freshness {
    /// Weaker of the two: by source, then by age.
    pub(super) fn weaker(self, other: Freshness) -> Freshness {
        if (self.source, self.age) < (other.source, other.age) { other } else { self }
    }
}

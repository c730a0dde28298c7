//! Counts of everything that a run saw.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use keyplane_contracts::revocation::v1::{Durability, Source};
use parking_lot::Mutex;

use super::case::{Answer, Case, Seen};
use crate::numbers::Latencies;

/// Findings of all checkers of a run.
#[derive(Debug)]
pub(super) struct Board {
    /// Holds only replicated acknowledgements to the bound, since the run kills a primary.
    replicated_only: bool,
    /// Revocations that are followed at each instance.
    followed: Vec<AtomicU32>,
    /// Times from the acknowledgement to the first rejection: at the revoking instance, and at all others.
    own: Mutex<Latencies>,
    others: Mutex<Latencies>,
    late: Late,
    /// Times of revocations that may be lost.
    late_unsafe: Late,
    /// Refusals of tokens that nobody revoked.
    wrong: AtomicU64,
    /// Answers from memory, from the store, by the policy.
    local: AtomicU64,
    store: AtomicU64,
    policy: AtomicU64,
    unavailable: AtomicU64,
    failed: AtomicU64,
    /// Instances that did not reject a revoked token for as long as they were asked.
    never: AtomicU64,
    first_failure: Mutex<Option<String>>,
}

/// Answers ACTIVE that should have been REVOKED.
#[derive(Debug, Default)]
struct Late {
    count: AtomicU64,
    worst: Mutex<Option<(Duration, String)>>,
}

/// Board at the end.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) own: Latencies,
    pub(super) others: Latencies,
    pub(super) late: u64,
    pub(super) worst: Option<String>,
    pub(super) late_unsafe: u64,
    pub(super) wrong: u64,
    pub(super) local: u64,
    pub(super) store: u64,
    pub(super) policy: u64,
    pub(super) unavailable: u64,
    pub(super) failed: u64,
    pub(super) never: u64,
    pub(super) first_failure: Option<String>,
}

// === impl Board ===

impl Board {
    pub(super) fn new(instances: usize, replicated_only: bool) -> Board {
        Board {
            replicated_only,
            followed: (0..instances).map(|_| AtomicU32::new(0)).collect(),
            own: Mutex::new(Latencies::new()),
            others: Mutex::new(Latencies::new()),
            late: Late::default(),
            late_unsafe: Late::default(),
            wrong: AtomicU64::new(0),
            local: AtomicU64::new(0),
            store: AtomicU64::new(0),
            policy: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            never: AtomicU64::new(0),
            first_failure: Mutex::new(None),
        }
    }

    /// Revocation is followed at an instance from now on.
    pub(super) fn follow(&self, instance: usize) {
        self.followed[instance].fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that an instance rejects a revoked token.
    pub(super) fn unfollow(&self, instance: usize) {
        self.followed[instance].fetch_sub(1, Ordering::Relaxed);
    }

    /// Revocations that are followed at an instance now: those that it does not reject yet.
    pub(super) fn followed(&self, instance: usize) -> u32 {
        self.followed[instance].load(Ordering::Relaxed)
    }

    /// Largest number at one instance.
    pub(super) fn most_followed(&self) -> u32 {
        (0..self.followed.len()).map(|instance| self.followed(instance)).max().unwrap_or(0)
    }

    /// Check of a token that is revoked, or is about to be.
    pub(super) fn revoked(&self, case: &Case, instance: usize, seen: &Seen) {
        self.count(&seen.answer);
        let Answer::Active(source) = &seen.answer else { return };
        let Some((ack, age)) = case.late(seen.begin) else { return };
        let counts = !self.replicated_only || ack.durability == Durability::Replicated;
        let late = if counts { &self.late } else { &self.late_unsafe };
        late.note(age, || {
            let (number, kind, took) = (case.number, case.kind, seen.end.duration_since(seen.begin));
            format!(
                "revocation {number} ({kind:?}) on instance {instance}: a check begun {age:.1?} after the \
                 acknowledgement answered {} ({}) {took:.1?} later",
                "ACTIVE",
                source.as_str_name(),
            )
        });
    }

    /// Check of a token that nobody revokes.
    pub(super) fn good(&self, token: u64, instance: usize, seen: &Seen) {
        self.count(&seen.answer);
        if let Answer::Revoked(source) = &seen.answer {
            self.wrong.fetch_add(1, Ordering::Relaxed);
            self.first(|| format!("good token {token} was rejected by instance {instance} ({})", source.as_str_name()));
        }
    }

    /// First rejection that was seen of a revocation, at an instance.
    pub(super) fn propagated(&self, instance: usize, after: Duration) {
        let latencies = if instance == 0 { &self.own } else { &self.others };
        latencies.lock().record(after);
    }

    /// Notes that an instance did not reject for as long as it was asked.
    pub(super) fn never(&self, case: &Case, instance: usize) {
        self.never.fetch_add(1, Ordering::Relaxed);
        self.first(|| format!("revocation {} was never rejected by instance {instance}", case.number));
    }

    pub(super) fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            own: self.own.lock().clone(),
            others: self.others.lock().clone(),
            late: read(&self.late.count),
            worst: self.late.worst.lock().as_ref().map(|(_, text)| text.clone()),
            late_unsafe: read(&self.late_unsafe.count),
            wrong: read(&self.wrong),
            local: read(&self.local),
            store: read(&self.store),
            policy: read(&self.policy),
            unavailable: read(&self.unavailable),
            failed: read(&self.failed),
            never: read(&self.never),
            first_failure: self.first_failure.lock().clone(),
        }
    }

    fn count(&self, answer: &Answer) {
        let counter = match answer {
            Answer::Active(source) | Answer::Revoked(source) => match source {
                Source::Local => &self.local,
                Source::Store => &self.store,
                Source::Outage => &self.policy,
                Source::Unspecified => {
                    self.first(|| "an answer does not say where it comes from".to_owned());
                    &self.failed
                }
            },
            Answer::Unavailable => &self.unavailable,
            Answer::Failed(error) => {
                self.first(|| error.clone());
                &self.failed
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn first(&self, text: impl FnOnce() -> String) {
        self.first_failure.lock().get_or_insert_with(text);
    }
}

// === impl Late ===

impl Late {
    fn note(&self, age: Duration, text: impl FnOnce() -> String) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut worst = self.worst.lock();
        if worst.as_ref().is_none_or(|(known, _)| age > *known) {
            *worst = Some((age, text()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::propagation::case::BOUND;
    use crate::tokens::Mint;

    fn seen(case: &Case, after: Duration) -> Seen {
        let begin = case.ack().unwrap().at + after;
        Seen { begin, end: begin, answer: Answer::Active(Source::Local) }
    }

    #[test]
    fn an_active_after_the_bound_counts() {
        let (board, case) = (Board::new(2, false), Case::new(&Mint::new(), 1));
        case.acknowledge(Durability::PrimaryOnly);
        board.revoked(&case, 1, &seen(&case, BOUND / 2));
        assert_eq!(board.counts().late, 0);
        board.revoked(&case, 1, &seen(&case, BOUND));
        assert_eq!((board.counts().late, board.counts().local), (1, 2));
    }

    #[test]
    fn losses_of_a_failover_are_counted_apart() {
        let (board, mint) = (Board::new(2, true), Mint::new());
        for (number, durability) in [(1, Durability::PrimaryOnly), (2, Durability::Replicated)] {
            let case = Case::new(&mint, number);
            case.acknowledge(durability);
            board.revoked(&case, 1, &seen(&case, BOUND));
        }
        assert_eq!((board.counts().late, board.counts().late_unsafe), (1, 1));
        assert!(board.counts().worst.unwrap().contains("revocation 2"));
    }
}

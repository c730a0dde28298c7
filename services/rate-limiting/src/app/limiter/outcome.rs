//! Decisions: the verdict of each limit, and what remains of it.

use std::time::Duration;

use super::call::CallLimit;
use crate::domain::{Level, Meter, Mode};

/// Decision on a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// True if the call may go ahead. Otherwise nothing is charged, except hits that were spent already.
    pub admitted: bool,
    /// State of each limit, in the call's order.
    pub limits: Vec<State>,
    /// Source of the answer.
    pub source: Source,
    /// True if this repeats the answer to an earlier call.
    pub replayed: bool,
}

/// Answer of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// Verdict on the call.
    pub verdict: Verdict,
    /// Hits that can be charged now.
    pub remaining: u64,
    /// Time until this cost has room; none if it has, or never does.
    pub retry_after: Option<Duration>,
    /// Time until the bucket is empty.
    pub reset_after: Duration,
    /// Time until one more hit has room; zero if the bucket is empty.
    pub more_after: Duration,
    /// True if the numbers are known: false where nothing is counted or nothing was asked.
    pub counted: bool,
}

/// Verdict of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Cost fits.
    Admitted,
    /// Cost does not fit now.
    Denied,
    /// Cost never fits.
    CostOverBurst,
    /// Limit admits nothing.
    Blocked,
    /// Limit admits everything.
    Unlimited,
    /// Limit would deny the call, but is in shadow mode.
    ShadowDenied,
    /// Cost does not fit and is charged nevertheless, or would be.
    Overcharged,
    /// Store is unavailable, and the outage mode admits everything.
    Open,
    /// Limit was not asked, since another one denied the call.
    Skipped,
}

/// Source of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Store.
    Store,
    /// Denial cache of this instance.
    Cache,
    /// Lease of this instance.
    Lease,
    /// Outage mode, while the store is unavailable.
    Outage,
    /// Policies alone.
    Policy,
}

// === impl Outcome ===

impl Outcome {
    /// Time until a retry can succeed: the longest wait of the limits that deny; none where waiting does not help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if self.admitted || self.limits.iter().any(|state| state.verdict.is_final()) {
            return None;
        }
        let denied = self.limits.iter().filter(|state| state.verdict == Verdict::Denied);
        denied.filter_map(|state| state.retry_after).max()
    }
}

// === impl State ===

impl State {
    /// State of a bucket at `level`, where `needs` hits must fit; the server's clock is `ahead` microseconds behind the bucket.
    pub(super) fn metered(verdict: Verdict, meter: &Meter, level: Level, ahead: u64, needs: u64) -> State {
        let ahead = Duration::from_micros(ahead);
        let remaining = meter.remaining(level);
        let waits = matches!(verdict, Verdict::Denied | Verdict::ShadowDenied);
        State {
            verdict,
            remaining,
            retry_after: waits.then(|| meter.wait(level, needs)).flatten().map(|wait| wait + ahead),
            reset_after: if level == Level::EMPTY { Duration::ZERO } else { level.duration() + ahead },
            more_after: meter.wait(level, remaining + 1).map_or(Duration::ZERO, |wait| wait + ahead),
            counted: true,
        }
    }

    /// State without numbers: nothing is counted, or nothing is known.
    pub(super) fn plain(verdict: Verdict) -> State {
        let never = Duration::ZERO;
        State { verdict, remaining: 0, retry_after: None, reset_after: never, more_after: never, counted: false }
    }

    /// State of a limit that counts nothing.
    pub(super) fn unmetered(limit: &CallLimit) -> State {
        State::plain(match limit.applied.rule.limit.mode {
            Mode::Block => Verdict::Blocked,
            Mode::Unlimited | Mode::Enforce | Mode::Shadow => Verdict::Unlimited,
        })
    }
}

// === impl Verdict ===

impl Verdict {
    /// Returns whether the verdict denies the call.
    #[must_use]
    pub fn denies(self) -> bool {
        matches!(self, Verdict::Denied | Verdict::CostOverBurst | Verdict::Blocked)
    }

    /// Returns whether the verdict denies the call for ever.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Verdict::CostOverBurst | Verdict::Blocked)
    }
}

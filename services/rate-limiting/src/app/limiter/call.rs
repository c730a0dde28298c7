//! What the limiter is asked, and what it answers.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Applied, Catalog, Compiled, Descriptor, Level, Meter, Mode, Rule};
use crate::store::{BucketKey, BucketStore, Flag, Owner};

/// Limits that one call is to be admitted by, all or none.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The limits; no two of one bucket.
    pub slots: Vec<Slot>,
    /// How it is remembered, if it is.
    pub remember: Option<Memory>,
}

/// One limit of a call.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The policy and the one of its limits that applies.
    pub applied: Applied,
    /// What the policy is filled with.
    pub descriptor: Descriptor,
    /// Owner of the bucket.
    pub owner: Owner,
    /// The bucket.
    pub key: BucketKey,
    /// What it costs.
    pub cost: u64,
    /// Whether it has happened already, as what Envoy counts when a stream is done: a `post_charge` policy charges it even in debt.
    pub spent: bool,
}

/// How a call is remembered.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Under which id.
    pub id: String,
    /// Of what request it is.
    pub print: [u8; 16],
    /// For how long.
    pub ttl: Duration,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Whether it may go ahead. If not, nothing is charged, but for what was spent already.
    pub admitted: bool,
    /// In the order of the slots.
    pub limits: Vec<State>,
    /// Who answered.
    pub source: Source,
    /// Whether this is the answer of an earlier call.
    pub replayed: bool,
}

/// What a limit says of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// What it says.
    pub verdict: Verdict,
    /// What could be had at once now.
    pub remaining: u64,
    /// How long to wait for this cost.
    pub retry_after: Option<Duration>,
    /// How long until the bucket is empty.
    pub reset_after: Duration,
    /// How long until one more could be had; zero if the bucket is empty.
    pub more_after: Duration,
    /// Whether the numbers are known: not where nothing is counted, or nobody was asked.
    pub counted: bool,
}

/// What a limit says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is room.
    Admitted,
    /// There is none now.
    Denied,
    /// There never is.
    CostOverBurst,
    /// Nothing is admitted.
    Blocked,
    /// Everything is admitted.
    Unlimited,
    /// It would be refused, were the limit not in shadow mode.
    ShadowDenied,
    /// There was no room, and it was charged all the same; or would be.
    Overcharged,
    /// The store is away, and everything is admitted.
    Open,
    /// It was not asked, since another limit refused.
    Skipped,
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The store.
    Store,
    /// This instance, which knows of a refusal that still holds.
    Cache,
    /// This instance, from what it leased.
    Lease,
    /// This instance, since the store is away.
    Outage,
    /// Nobody had to be asked.
    Policy,
}

// === impl Slot ===

impl Slot {
    /// A policy, filled, for a cost.
    #[must_use]
    pub fn new(
        store: &BucketStore,
        catalog: &Catalog,
        compiled: &Arc<Compiled>,
        descriptor: Descriptor,
        cost: u64,
    ) -> Slot {
        Slot::under(store, catalog.apply(compiled, &descriptor), descriptor, cost)
    }

    /// The same, under another limit than the policy's.
    #[must_use]
    pub fn with_rule(
        store: &BucketStore,
        compiled: &Arc<Compiled>,
        rule: Arc<Rule>,
        descriptor: Descriptor,
        cost: u64,
    ) -> Slot {
        Slot::under(store, Applied { compiled: compiled.clone(), rule }, descriptor, cost)
    }

    fn under(store: &BucketStore, applied: Applied, descriptor: Descriptor, cost: u64) -> Slot {
        let owner = Owner::of(&descriptor);
        let key = store.bucket_key(&owner, &applied.compiled.policy.id, &descriptor);
        Slot { applied, descriptor, owner, key, cost, spent: false }
    }

    /// What is done where there is no room.
    pub(super) fn flag(&self) -> Flag {
        match self.applied.rule.limit.mode {
            Mode::Shadow => Flag::Shadow,
            Mode::Enforce | Mode::Unlimited | Mode::Block => {
                match (self.applied.compiled.policy.post_charge, self.spent) {
                    (false, _) => Flag::Enforce,
                    (true, false) => Flag::Overshoot,
                    (true, true) => Flag::Force,
                }
            }
        }
    }

    /// Hits that have to fit: the cost. Of a `post_charge` policy none, so that only a debt refuses.
    pub(super) fn needs(&self) -> u64 {
        match self.flag() {
            Flag::Enforce | Flag::Shadow => self.cost,
            Flag::Force | Flag::Overshoot => 0,
        }
    }

    /// Whether no room is ever enough.
    pub(super) fn is_over_burst(&self) -> bool {
        self.flag() == Flag::Enforce && self.meter().is_some_and(|meter| !meter.admits(self.cost))
    }

    /// Meter of the limit; none where nothing is counted.
    #[must_use]
    pub fn meter(&self) -> Option<Meter> {
        self.applied.rule.meter
    }

    /// What an instance may take at a time.
    pub(super) fn lease(&self) -> u64 {
        let enforced = self.applied.rule.limit.mode == Mode::Enforce;
        if enforced { self.applied.compiled.policy.lease } else { 0 }
    }
}

// === impl Outcome ===

impl Outcome {
    /// How long until a repeat has a chance: the longest wait of what refused; none where waiting does not help.
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
    /// State of a bucket at `level`, where `needs` has to fit; the server's clock is `ahead` microseconds behind it.
    pub(super) fn of(verdict: Verdict, meter: &Meter, level: Level, ahead: u64, needs: u64) -> State {
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

    /// Where nothing is counted, or nothing is known.
    pub(super) fn plain(verdict: Verdict) -> State {
        let never = Duration::ZERO;
        State { verdict, remaining: 0, retry_after: None, reset_after: never, more_after: never, counted: false }
    }
}

// === impl Verdict ===

impl Verdict {
    /// Whether it refuses the call.
    #[must_use]
    pub fn refuses(self) -> bool {
        matches!(self, Verdict::Denied | Verdict::CostOverBurst | Verdict::Blocked)
    }

    /// Whether it refuses it for ever.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Verdict::CostOverBurst | Verdict::Blocked)
    }
}

//! Conclusion of a call: the owners' answers, or the outage mode of their policies, as one outcome.

use std::sync::atomic::Ordering;

use super::{Decision, OwnerPart};
use crate::app::limiter::call::CallLimit;
use crate::app::limiter::leases::LeaseTake;
use crate::app::limiter::outcome::{Outcome, Source, State, Verdict};
use crate::domain::Outage;
use crate::error::Error;
use crate::store::{BucketState, Flag, Reply, Room, Status};

// === impl Decision ===

impl<'a> Decision<'a> {
    /// Combines the answers; gives back every charge if any limit denies the call.
    pub(super) async fn conclude(mut self, parts: Vec<OwnerPart<'a>>) -> Result<Outcome, Error> {
        let mut failure = None;
        let (mut denied, mut replayed, mut outage) = (self.is_denied(), true, false);
        // Charges are given back if another owner's limits can't be evaluated, but the caller does not wait until that is certain.
        let charged = parts.iter().any(|part| part.result.as_ref().is_ok_and(|reply| reply.status == Status::Done));
        for part in &parts {
            self.end_lease_renewals(part);
            match &part.result {
                Ok(reply) if matches!(reply.status, Status::Done | Status::Denied | Status::Replayed) => {
                    self.learn(part, reply);
                    denied |= reply.status == Status::Denied;
                    replayed &= reply.status == Status::Replayed;
                }
                Ok(_) => failure = Some(Error::RequestIdReused),
                Err(error) if error.is_outage() => {
                    (replayed, outage) = (false, true);
                    match self.apply_outage_modes(part, charged || error.outcome_unknown()) {
                        Ok(denies) => denied |= denies,
                        Err(error) => failure = failure.or(Some(error)),
                    }
                }
                Err(_) => {}
            }
        }
        let fatal = parts.iter().position(|part| part.result.as_ref().is_err_and(|error| !error.is_outage()));
        if denied || failure.is_some() || fatal.is_some() {
            self.give_back(&parts).await;
        }
        if let Some(index) = fatal {
            return Err(parts.into_iter().nth(index).and_then(|part| part.result.err()).unwrap_or(Error::Overloaded));
        }
        // A reused request id is the caller's mistake. Otherwise a certain denial is no error.
        match failure {
            Some(Error::RequestIdReused) => Err(Error::RequestIdReused),
            Some(error) if !denied => Err(error),
            _ if denied => Ok(self.denied(if outage { Source::Outage } else { Source::Store })),
            // Spent hits are charged even where the limit denies the next call.
            _ => {
                let admitted = !self.is_denied();
                Ok(self.outcome(admitted, if outage { Source::Outage } else { Source::Store }, replayed))
            }
        }
    }

    /// Ends the renewals that [`LeaseTake::Fetch`] began.
    fn end_lease_renewals(&self, part: &OwnerPart<'_>) {
        for query in &part.queries {
            if self.lease_take(query.index) == Some(LeaseTake::Fetch) {
                let done = part.result.as_ref().is_ok_and(|reply| reply.status == Status::Done);
                let surplus = if done { query.cost - query.limit.cost } else { 0 };
                self.shared.leases.put(&query.limit.key, surplus, query.limit.lease());
            }
        }
    }

    /// Keeps the store's answer on an owner's limits, in the states and in the denial cache.
    fn learn(&mut self, part: &OwnerPart<'_>, reply: &Reply) {
        for (query, bucket) in part.queries.iter().zip(&reply.buckets) {
            let (limit, verdict) = (query.limit, verdict(query.limit, bucket));
            if verdict == Verdict::Denied && reply.status == Status::Denied && self.commits {
                self.shared.denials.remember(&limit.key, query.meter, bucket, query.start);
            } else if reply.status == Status::Done && self.commits {
                self.shared.denials.correct(&limit.key, query.meter, bucket, query.start);
            }
            let state = State::metered(verdict, &query.meter, bucket.level, bucket.ahead, limit.needs());
            self.states[query.index] = Some(state);
        }
    }

    /// Applies the outage mode of each limit; whether one denies the call.
    fn apply_outage_modes(&mut self, part: &OwnerPart<'_>, unknown: bool) -> Result<bool, Error> {
        let closed = part.queries.iter().find(|query| self.shared.outage(query.limit) == Outage::Closed);
        if let Some(closed) = closed {
            let policy = closed.limit.applied.compiled.policy.id.to_string();
            return Err(Error::Closed { policy, unknown: unknown && self.commits });
        }
        let mut denied = false;
        for query in &part.queries {
            self.states[query.index] = match self.shared.outage(query.limit) {
                // A cost that never fits needs no store.
                _ if query.limit.is_over_burst() => continue,
                Outage::Closed | Outage::Open => Some(State::plain(Verdict::Open)),
                Outage::Local => {
                    let (limit, meter) = (query.limit, query.meter);
                    let bucket = self.shared.local.decide(&limit.key, meter, limit.cost, limit.flag(), self.commits);
                    let bucket = bucket.ok_or(Error::Overloaded)?;
                    let verdict = verdict(limit, &bucket);
                    denied |= verdict.denies() && bucket.room == Room::None;
                    Some(State::metered(verdict, &meter, bucket.level, bucket.ahead, limit.needs()))
                }
            };
        }
        Ok(denied)
    }

    pub(super) fn denied(self, source: Source) -> Outcome {
        self.outcome(false, source, false)
    }

    pub(super) fn outcome(self, admitted: bool, source: Source, replayed: bool) -> Outcome {
        for (index, limit) in self.call.limits.iter().enumerate() {
            if admitted && self.is_leased(index) {
                limit.applied.compiled.figures.leased.fetch_add(limit.cost, Ordering::Relaxed);
            }
        }
        let limits =
            self.states.into_iter().map(|state| state.unwrap_or_else(|| State::plain(Verdict::Skipped))).collect();
        Outcome { admitted, limits, source, replayed }
    }
}

fn verdict(limit: &CallLimit, bucket: &BucketState) -> Verdict {
    match (bucket.room, limit.flag()) {
        (Room::Enough, _) => Verdict::Admitted,
        (Room::Overcharged | Room::PartlyCharged, _) if !bucket.in_debt => Verdict::Overcharged,
        (Room::None, Flag::Shadow) => Verdict::ShadowDenied,
        _ if limit.is_over_burst() => Verdict::CostOverBurst,
        _ => Verdict::Denied,
    }
}

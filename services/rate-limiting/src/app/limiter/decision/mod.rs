//! Way of one call through memory and store.
//!
//! Policies that count nothing answer first, then the denial cache, then leases; the store decides on the rest.

mod conclusion;
mod give_back;

use keyplane_server::random;

use super::Shared;
use super::call::{Call, CallLimit, Idempotency};
use super::denial_cache::QueryStart;
use super::leases::LeaseTake;
use super::outcome::{Outcome, Source, State, Verdict};
use crate::domain::Meter;
use crate::error::Error;
use crate::store::{ChargeRecord, Flag, Group, Op, RecordKey, Reply, Status};

/// Call in progress.
pub(super) struct Decision<'a> {
    shared: &'a Shared,
    call: &'a Call,
    /// True if hits are charged; a peek charges none.
    commits: bool,
    nonce: [u8; 8],
    /// States known so far, by the call's limits.
    states: Vec<Option<State>>,
    /// Results of the leases, by the index of their limit.
    leases: Vec<(usize, LeaseTake)>,
}

/// Limits of one owner that the store decides on.
struct OwnerPart<'a> {
    queries: Vec<Query<'a>>,
    result: Result<Reply, Error>,
}

/// Limit that the store decides on.
#[derive(Clone, Copy)]
struct Query<'a> {
    index: usize,
    limit: &'a CallLimit,
    meter: Meter,
    /// Hits to charge: the limit's cost, or a lease.
    cost: u64,
    start: QueryStart,
}

// === impl Decision ===

impl<'a> Decision<'a> {
    pub(super) fn new(shared: &'a Shared, call: &'a Call) -> Decision<'a> {
        let limits = call.limits.len();
        Decision { shared, call, commits: true, nonce: [0; 8], states: vec![None; limits], leases: Vec::new() }
    }

    pub(super) fn peek(shared: &'a Shared, call: &'a Call) -> Decision<'a> {
        Decision { commits: false, ..Decision::new(shared, call) }
    }

    pub(super) async fn run(mut self) -> Result<Outcome, Error> {
        self.decide_without_counting();
        if self.has_verdict(Verdict::Blocked) {
            return Ok(self.denied(Source::Policy));
        }
        // A cost over the burst is denied in any case; the store is asked for the numbers alone.
        self.commits &= !self.has_verdict(Verdict::CostOverBurst);
        // A request id that was admitted before is admitted again, whatever its bucket holds now.
        if self.commits && self.call.idempotency.is_none() && self.look_in_denial_cache() {
            return Ok(self.denied(Source::Cache));
        }
        if self.call.idempotency.is_some() {
            self.nonce = random::bytes()?;
        }
        self.take_from_leases();
        let queries = self.queries();
        if queries.is_empty() {
            let leased = self.leases.iter().any(|(_, take)| matches!(take, LeaseTake::Enough(_)));
            let source = if leased { Source::Lease } else { Source::Policy };
            return Ok(self.outcome(true, source, false));
        }
        let parts = self.ask(queries).await;
        self.conclude(parts).await
    }

    /// Decides on limits that count nothing, and on costs that never fit.
    fn decide_without_counting(&mut self) {
        for (limit, state) in self.call.limits.iter().zip(&mut self.states) {
            *state = match limit.meter() {
                None => Some(State::unmetered(limit)),
                Some(_) if limit.is_over_burst() => Some(State::plain(Verdict::CostOverBurst)),
                Some(_) => None,
            };
        }
    }

    fn has_verdict(&self, verdict: Verdict) -> bool {
        self.states.iter().flatten().any(|state| state.verdict == verdict)
    }

    /// Returns whether a limit denies the call already.
    fn is_denied(&self) -> bool {
        self.states.iter().flatten().any(|state| state.verdict.denies())
    }

    /// Looks for full buckets in the denial cache; whether there are any.
    fn look_in_denial_cache(&mut self) -> bool {
        let mut denied = false;
        for (limit, state) in self.call.limits.iter().zip(&mut self.states) {
            let denies = matches!(limit.flag(), Flag::Enforce | Flag::Overshoot);
            let Some(meter) = limit.meter().filter(|_| denies) else { continue };
            if let Some(full) = self.shared.denials.find(&limit.key, &meter, limit.needs()) {
                *state = Some(State::metered(Verdict::Denied, &meter, full.level, full.ahead, limit.needs()));
                denied = true;
            }
        }
        denied
    }

    fn take_from_leases(&mut self) {
        if !self.commits || self.call.idempotency.is_some() {
            return;
        }
        for (index, limit) in self.call.limits.iter().enumerate() {
            let (Some(meter), 1..) = (limit.meter(), limit.lease()) else { continue };
            let take = self.shared.leases.take(&limit.key, meter, limit.cost);
            if let LeaseTake::Enough(left) = take {
                self.states[index] = Some(State { remaining: left, counted: true, ..State::plain(Verdict::Admitted) });
            }
            self.leases.push((index, take));
        }
    }

    /// Result of a limit's lease, if it has one.
    fn lease_take(&self, index: usize) -> Option<LeaseTake> {
        self.leases.iter().find(|(limit, _)| *limit == index).map(|(_, take)| *take)
    }

    /// Returns whether a lease covered a limit.
    fn is_leased(&self, index: usize) -> bool {
        matches!(self.lease_take(index), Some(LeaseTake::Enough(_)))
    }

    /// Limits that the store must decide on.
    fn queries(&self) -> Vec<Query<'a>> {
        let open = |index: usize| self.states[index].is_none_or(|state| state.verdict == Verdict::CostOverBurst);
        let limits = self.call.limits.iter().enumerate().filter(|(index, _)| open(*index));
        let queries = limits.filter_map(|(index, limit)| {
            let meter = limit.meter()?;
            let fetches = self.lease_take(index) == Some(LeaseTake::Fetch);
            let cost = if fetches { limit.lease().max(limit.cost) } else { limit.cost };
            Some(Query { index, limit, meter, cost, start: self.shared.denials.start(&limit.key) })
        });
        queries.collect()
    }

    /// Asks the store, with one group for each owner, all at once.
    async fn ask(&self, queries: Vec<Query<'a>>) -> Vec<OwnerPart<'a>> {
        let owner = &queries[0].limit.owner;
        if queries.iter().all(|query| query.limit.owner == *owner) {
            // Most calls have one owner: no need to poll several futures.
            return vec![self.ask_owner(queries).await];
        }
        let mut owners: Vec<Vec<Query<'a>>> = Vec::new();
        for query in queries {
            match owners.iter_mut().find(|owner| owner[0].limit.owner == query.limit.owner) {
                Some(owner) => owner.push(query),
                None => owners.push(vec![query]),
            }
        }
        futures::future::join_all(owners.into_iter().map(|queries| self.ask_owner(queries))).await
    }

    async fn ask_owner(&self, mut queries: Vec<Query<'a>>) -> OwnerPart<'a> {
        let mut result = self.shared.store.decide(self.group(&queries)).await;
        let leases = queries.iter().any(|query| query.cost != query.limit.cost);
        if leases && result.as_ref().is_ok_and(|reply| reply.status == Status::Denied) {
            // A lease does not fit; the call alone may.
            queries.iter_mut().for_each(|query| query.cost = query.limit.cost);
            result = self.shared.store.decide(self.group(&queries)).await;
        }
        OwnerPart { queries, result }
    }

    fn group(&self, queries: &[Query<'a>]) -> Group {
        let idempotency = self.call.idempotency.as_ref().filter(|_| self.commits);
        let (cost, nonce) = (queries.first().map_or(0, |query| query.limit.cost), self.nonce);
        let op = match self.commits {
            false => Op::Peek,
            true => Op::Charge(idempotency.map(|idempotency| {
                let Idempotency { fingerprint, ttl, .. } = idempotency;
                ChargeRecord { ttl: *ttl, fingerprint: *fingerprint, nonce, cost }
            })),
        };
        let record = idempotency.and_then(|idempotency| self.record(queries, idempotency));
        let bucket = |query: &Query<'_>| self.shared.bucket(query.limit, query.meter, query.cost, false);
        Group { op, record, buckets: queries.iter().map(bucket).collect() }
    }

    /// Key of the record of an owner's charge.
    fn record(&self, queries: &[Query<'a>], idempotency: &Idempotency) -> Option<RecordKey> {
        Some(self.shared.store.record_key(&queries.first()?.limit.owner, &idempotency.request_id))
    }
}

//! One call's way through memory and store.

use std::sync::atomic::Ordering;

use keyplane_server::random;

use super::call::{Call, Memory, Outcome, Slot, Source, State, Verdict};
use super::denial_cache::Asked;
use super::leases::Taken;
use super::{Shared, is_answer};
use crate::domain::{Meter, Mode, Outage};
use crate::error::Error;
use crate::store::{Bucket, Flag, Found, Group, Op, RecordKey, Remember, Reply, Room, Status};

/// A call that is being decided.
pub(super) struct Decision<'a> {
    shared: &'a Shared,
    call: &'a Call,
    commits: bool,
    nonce: [u8; 8],
    /// What is known so far.
    states: Vec<Option<State>>,
    /// What the leases said, of limits that have one.
    leases: Vec<(usize, Taken)>,
}

/// The limits of one owner that the store is asked about.
struct Part<'a> {
    slots: Vec<Asking<'a>>,
    /// What became of it.
    result: Result<Reply, Error>,
}

/// A limit that the store is asked about.
#[derive(Clone, Copy)]
struct Asking<'a> {
    index: usize,
    slot: &'a Slot,
    meter: Meter,
    /// What is charged: its cost, or a lease.
    cost: u64,
    asked: Asked,
}

// === impl Decision ===

impl<'a> Decision<'a> {
    pub(super) fn new(shared: &'a Shared, call: &'a Call) -> Decision<'a> {
        let slots = call.slots.len();
        Decision { shared, call, commits: true, nonce: [0; 8], states: vec![None; slots], leases: Vec::new() }
    }

    pub(super) fn peek(shared: &'a Shared, call: &'a Call) -> Decision<'a> {
        Decision { commits: false, ..Decision::new(shared, call) }
    }

    pub(super) async fn run(mut self) -> Result<Outcome, Error> {
        self.without_store();
        if self.says(Verdict::Blocked) {
            return Ok(self.refused(Source::Policy));
        }
        // It is refused whatever the buckets hold; only they know what could be had of them instead.
        self.commits &= !self.says(Verdict::CostOverBurst);
        // An id that was admitted before is admitted again, whatever has become of the bucket.
        if self.commits && self.call.remember.is_none() && self.look_in_memory() {
            return Ok(self.refused(Source::Cache));
        }
        if self.call.remember.is_some() {
            self.nonce = random::bytes()?;
        }
        self.take_from_leases();
        let asking = self.asking();
        if asking.is_empty() {
            let leased = self.leases.iter().any(|(_, taken)| matches!(taken, Taken::Enough(_)));
            let source = if leased { Source::Lease } else { Source::Policy };
            return Ok(self.outcome(true, source, false));
        }
        let parts = self.ask(asking).await;
        self.conclude(parts).await
    }

    /// Answers where that takes no counting.
    fn without_store(&mut self) {
        for (slot, state) in self.call.slots.iter().zip(&mut self.states) {
            *state = match slot.meter() {
                None => Some(State::plain(unmetered(slot))),
                Some(_) if slot.is_over_burst() => Some(State::plain(Verdict::CostOverBurst)),
                Some(_) => None,
            };
        }
    }

    /// Whether a limit says so already.
    fn says(&self, verdict: Verdict) -> bool {
        self.states.iter().flatten().any(|state| state.verdict == verdict)
    }

    /// Whether a limit refuses already.
    fn is_refused(&self) -> bool {
        self.states.iter().flatten().any(|state| state.verdict.refuses())
    }

    /// Looks for a refusal that still holds.
    fn look_in_memory(&mut self) -> bool {
        let mut found = false;
        for (slot, state) in self.call.slots.iter().zip(&mut self.states) {
            let refuses = matches!(slot.flag(), Flag::Enforce | Flag::Overshoot);
            let Some(meter) = slot.meter().filter(|_| refuses) else { continue };
            if let Some(full) = self.shared.denials.find(&slot.key, &meter, slot.needs()) {
                *state = Some(State::of(Verdict::Denied, &meter, full.level, full.ahead, slot.needs()));
                found = true;
            }
        }
        found
    }

    fn take_from_leases(&mut self) {
        if !self.commits || self.call.remember.is_some() {
            return;
        }
        for (index, slot) in self.call.slots.iter().enumerate() {
            let (Some(meter), 1..) = (slot.meter(), slot.lease()) else { continue };
            let taken = self.shared.leases.take(&slot.key, meter, slot.cost);
            if let Taken::Enough(left) = taken {
                self.states[index] = Some(State { remaining: left, counted: true, ..State::plain(Verdict::Admitted) });
            }
            self.leases.push((index, taken));
        }
    }

    /// What a limit's lease said, if it has one.
    fn taken(&self, index: usize) -> Option<Taken> {
        self.leases.iter().find(|(of, _)| *of == index).map(|(_, taken)| *taken)
    }

    /// Whether a limit was held by what this instance had leased.
    fn is_leased(&self, index: usize) -> bool {
        matches!(self.taken(index), Some(Taken::Enough(_)))
    }

    /// Ends what [`Taken::Fetch`] began.
    fn bring_leases(&self, part: &Part<'_>) {
        for one in &part.slots {
            if self.taken(one.index) == Some(Taken::Fetch) {
                let done = part.result.as_ref().is_ok_and(|reply| reply.status == Status::Done);
                let surplus = if done { one.cost - one.slot.cost } else { 0 };
                self.shared.leases.put(&one.slot.key, surplus, one.slot.lease());
            }
        }
    }

    /// What the store has to be asked about.
    fn asking(&self) -> Vec<Asking<'a>> {
        let open = |index: usize| self.states[index].is_none_or(|state| state.verdict == Verdict::CostOverBurst);
        let slots = self.call.slots.iter().enumerate().filter(|(index, _)| open(*index));
        let asking = slots.filter_map(|(index, slot)| {
            let meter = slot.meter()?;
            let fetches = self.taken(index) == Some(Taken::Fetch);
            let cost = if fetches { slot.lease().max(slot.cost) } else { slot.cost };
            Some(Asking { index, slot, meter, cost, asked: self.shared.denials.ask(&slot.key) })
        });
        asking.collect()
    }

    /// One group for each owner, all at once.
    async fn ask(&self, asking: Vec<Asking<'a>>) -> Vec<Part<'a>> {
        let owner = &asking[0].slot.owner;
        if asking.iter().all(|one| one.slot.owner == *owner) {
            // Most calls: no need to poll several.
            return vec![self.ask_part(asking).await];
        }
        let mut parts: Vec<Vec<Asking<'a>>> = Vec::new();
        for one in asking {
            match parts.iter_mut().find(|part| part[0].slot.owner == one.slot.owner) {
                Some(part) => part.push(one),
                None => parts.push(vec![one]),
            }
        }
        futures::future::join_all(parts.into_iter().map(|slots| self.ask_part(slots))).await
    }

    async fn ask_part(&self, mut slots: Vec<Asking<'a>>) -> Part<'a> {
        let mut result = self.shared.store.decide(self.group(&slots)).await;
        let leases = slots.iter().any(|one| one.cost != one.slot.cost);
        if leases && result.as_ref().is_ok_and(|reply| reply.status == Status::Refused) {
            // There is no room for a lease; there may be for the call.
            slots.iter_mut().for_each(|one| one.cost = one.slot.cost);
            result = self.shared.store.decide(self.group(&slots)).await;
        }
        Part { slots, result }
    }

    fn group(&self, slots: &[Asking<'a>]) -> Group {
        let remember = self.call.remember.as_ref().filter(|_| self.commits);
        let cost = slots.first().map_or(0, |one| one.slot.cost);
        let nonce = self.nonce;
        let op = match self.commits {
            false => Op::Peek,
            true => Op::Charge(remember.map(|memory| Remember { ttl: memory.ttl, print: memory.print, nonce, cost })),
        };
        let record = remember.and_then(|memory| self.record(slots, memory));
        let bucket = |one: &Asking<'_>| self.shared.bucket(one.slot, one.meter, one.cost, false);
        Group { op, record, buckets: slots.iter().map(bucket).collect() }
    }

    /// Key of the record of an owner's charge.
    fn record(&self, slots: &[Asking<'a>], memory: &Memory) -> Option<RecordKey> {
        Some(self.shared.store.record_key(&slots.first()?.slot.owner, &memory.id))
    }

    /// Puts the answers together.
    async fn conclude(mut self, parts: Vec<Part<'a>>) -> Result<Outcome, Error> {
        let mut failure = None;
        let (mut refused, mut replayed, mut outage) = (self.is_refused(), true, false);
        // It is given back where another owner's limits can't be held, but nobody waits until that is certain.
        let charged = parts.iter().any(|part| part.result.as_ref().is_ok_and(|reply| reply.status == Status::Done));
        for part in &parts {
            self.bring_leases(part);
            match &part.result {
                Ok(reply) if is_answer(reply.status) => {
                    self.learn(part, reply);
                    refused |= reply.status == Status::Refused;
                    replayed &= reply.status == Status::Replayed;
                }
                Ok(_) => failure = Some(Error::RequestIdReused),
                Err(error) if error.is_outage() => {
                    (replayed, outage) = (false, true);
                    match self.without_answer(part, charged || error.outcome_unknown()) {
                        Ok(denied) => refused |= denied,
                        Err(error) => failure = failure.or(Some(error)),
                    }
                }
                Err(_) => {}
            }
        }
        let fatal = parts.iter().position(|part| part.result.as_ref().is_err_and(|error| !error.is_outage()));
        if refused || failure.is_some() || fatal.is_some() {
            self.give_back(&parts).await;
        }
        if let Some(index) = fatal {
            return Err(parts.into_iter().nth(index).and_then(|part| part.result.err()).unwrap_or(Error::Overloaded));
        }
        // That an id is another request's is the caller's mistake. Otherwise what is surely refused is no error.
        match failure {
            Some(Error::RequestIdReused) => Err(Error::RequestIdReused),
            Some(error) if !refused => Err(error),
            _ if refused => Ok(self.refused(if outage { Source::Outage } else { Source::Store })),
            // What was spent already is charged, and the next one refused.
            _ => {
                let admitted = !self.is_refused();
                Ok(self.outcome(admitted, if outage { Source::Outage } else { Source::Store }, replayed))
            }
        }
    }

    /// Takes in what the store said of an owner's limits.
    fn learn(&mut self, part: &Part<'_>, reply: &Reply) {
        for (one, found) in part.slots.iter().zip(&reply.buckets) {
            let verdict = verdict(one.slot, found);
            if verdict == Verdict::Denied && reply.status == Status::Refused && self.commits {
                self.shared.denials.remember(&one.slot.key, one.meter, found, one.asked);
            } else if reply.status == Status::Done && self.commits {
                self.shared.denials.correct(&one.slot.key, one.meter, found, one.asked);
            }
            self.states[one.index] = Some(State::of(verdict, &one.meter, found.level, found.ahead, one.slot.needs()));
        }
    }

    /// Lets the outage policies speak; whether one of them refuses.
    fn without_answer(&mut self, part: &Part<'_>, unknown: bool) -> Result<bool, Error> {
        let closed = part.slots.iter().find(|one| self.shared.outage_of(one.slot) == Outage::Closed);
        if let Some(closed) = closed {
            let policy = closed.slot.applied.compiled.policy.id.to_string();
            return Err(Error::Closed { policy, unknown: unknown && self.commits });
        }
        let mut denied = false;
        for one in &part.slots {
            self.states[one.index] = match self.shared.outage_of(one.slot) {
                // What is refused for ever needs no store.
                _ if one.slot.is_over_burst() => continue,
                Outage::Closed | Outage::Open => Some(State::plain(Verdict::Open)),
                Outage::Local => {
                    let (slot, meter) = (one.slot, one.meter);
                    let found = self.shared.local.decide(&slot.key, meter, slot.cost, slot.flag(), self.commits);
                    let found = found.ok_or(Error::Overloaded)?;
                    let verdict = verdict(slot, &found);
                    denied |= verdict.refuses() && found.room == Room::None;
                    Some(State::of(verdict, &meter, found.level, found.ahead, slot.needs()))
                }
            };
        }
        Ok(denied)
    }

    /// Gives back to the local buckets. A charge without room stays: how much of it was charged is not known.
    fn give_local(&self, part: &Part<'_>) {
        for one in &part.slots {
            let admitted = self.states[one.index].is_some_and(|state| state.verdict == Verdict::Admitted);
            if admitted && self.commits && self.shared.outage_of(one.slot) == Outage::Local {
                self.shared.local.give(&one.slot.key, one.meter, one.slot.cost);
            }
        }
    }

    /// Gives back what this call charged. It goes on where the caller does not wait.
    async fn give_back(&self, parts: &[Part<'a>]) {
        for (index, slot) in self.call.slots.iter().enumerate() {
            if self.is_leased(index) {
                self.shared.leases.put_back(&slot.key, slot.cost, slot.lease());
            }
        }
        if !self.commits {
            return;
        }
        let mut given = Vec::new();
        for part in parts {
            match &part.result {
                // What an earlier call of this id was answered is given back as well, unless that one was admitted.
                Ok(reply) if matches!(reply.status, Status::Done | Status::Replayed) => {
                    given.push(self.giving(part, reply));
                }
                Ok(_) => {}
                Err(_) => self.give_local(part),
            }
        }
        if given.is_empty() {
            return;
        }
        let (store, left) = (self.shared.store.clone(), keyplane_deadline::remaining());
        let giving = tokio::spawn(async move {
            for failed in futures::future::join_all(given.into_iter().map(|group| store.decide(group))).await {
                if let Err(error) = failed {
                    tracing::debug!(%error, "what was charged could not be given back, it leaks away");
                }
            }
        });
        // It is given back in any case; that it has been is worth waiting for as long as the caller waits.
        let _ = tokio::time::timeout(left.unwrap_or(std::time::Duration::from_secs(1)), giving).await;
        for one in parts.iter().flat_map(|part| &part.slots) {
            if self.states[one.index].is_none_or(|state| state.verdict != Verdict::Denied) {
                self.shared.forget(&one.slot.key);
            }
        }
    }

    /// Of what was charged to an owner.
    fn giving(&self, part: &Part<'_>, reply: &Reply) -> Group {
        let remember = self.call.remember.as_ref();
        let record = remember.and_then(|memory| self.record(&part.slots, memory));
        let charged = part.slots.iter().zip(&reply.buckets);
        // A record knows by itself which were charged, by their places. What was leased beyond the cost stays leased.
        let charged = charged.filter(|(_, found)| record.is_some() || found.room != Room::None);
        let buckets = charged.map(|(one, found)| {
            // How much was charged up to the bound is not known, and nothing of what others consumed may go with it.
            let cost = if found.room == Room::PartlyCharged { 0 } else { one.slot.cost };
            Bucket { end: found.end, ..self.shared.bucket(one.slot, one.meter, cost, true) }
        });
        let buckets = buckets.collect();
        Group { op: Op::Give { nonce: self.nonce }, record, buckets }
    }

    fn refused(self, source: Source) -> Outcome {
        self.outcome(false, source, false)
    }

    fn outcome(self, admitted: bool, source: Source, replayed: bool) -> Outcome {
        for (index, slot) in self.call.slots.iter().enumerate() {
            if admitted && self.is_leased(index) {
                slot.applied.compiled.figures.leased.fetch_add(slot.cost, Ordering::Relaxed);
            }
        }
        let limits =
            self.states.into_iter().map(|state| state.unwrap_or_else(|| State::plain(Verdict::Skipped))).collect();
        Outcome { admitted, limits, source, replayed }
    }
}

/// What a limit says that counts nothing.
pub(super) fn unmetered(slot: &Slot) -> Verdict {
    match slot.applied.rule.limit.mode {
        Mode::Block => Verdict::Blocked,
        Mode::Unlimited | Mode::Enforce | Mode::Shadow => Verdict::Unlimited,
    }
}

fn verdict(slot: &Slot, found: &Found) -> Verdict {
    match (found.room, slot.flag()) {
        (Room::Enough, _) => Verdict::Admitted,
        (Room::Overcharged | Room::PartlyCharged, _) if !found.in_debt => Verdict::Overcharged,
        (Room::None, Flag::Shadow) => Verdict::ShadowDenied,
        _ if slot.is_over_burst() => Verdict::CostOverBurst,
        _ => Verdict::Denied,
    }
}

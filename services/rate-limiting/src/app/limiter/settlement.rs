//! Settles a charge at all of its owners, in one way.
//!
//! Owners may be on several nodes, so no script sees all of their records. The record of the first owner, by the keys' order,
//! decides how a charge is settled; the others follow with what it decided, as often as it takes. Whoever comes next, and be it to
//! be told that it is too late, completes what is unfinished.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::call::{State, Verdict};
use super::charge::{Charge, Charged};
use super::repairs::{self, Begun};
use super::{Limiter, Shared};
use crate::domain::{Catalog, Level, Meter, PolicyId, Rule};
use crate::error::Error;
use crate::store::{
    Bucket, BucketKey, End, Flag, Found, Group, Op, Owner, RecordKey, Reply, Room, Settle, Settlement, Status,
};

/// Time until the first attempt to complete a settlement, and between two at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3)];
/// Time for which that is attempted: no record lives longer.
const PATIENCE: Duration = Duration::from_hours(1);

/// A charge as it is now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    /// Hits that remain charged: the cost, or less where a debt has its bound; 0 where nothing has a record of it.
    pub charged: u64,
    /// The limits that have a record of it, in the order in which they were charged.
    pub limits: Vec<SettledLimit>,
}

/// One limit of a charge that was settled.
#[derive(Clone, Debug, PartialEq)]
pub struct SettledLimit {
    /// The policy's id.
    pub policy: PolicyId,
    /// Its limit as it is today; none if it is gone, or counts nothing any more.
    pub rule: Option<Arc<Rule>>,
    /// Answer of the limit, as after an admitted call.
    pub state: State,
    /// Whole hits given back to it so far: those of the charge that had not leaked yet.
    pub returned: u64,
}

/// A charge that is being settled.
struct Settling {
    shared: Arc<Shared>,
    print: [u8; 16],
    /// Cost that was charged to each limit.
    cost: u64,
    wanted: Wanted,
    /// By owner; the first one that has a record decides.
    parts: Vec<Part>,
    /// Whether some may have no record.
    outage: bool,
}

/// One owner's part of a charge.
struct Part {
    record: RecordKey,
    limits: Vec<Share>,
}

/// One limit of a charge.
struct Share {
    /// Its place in the charge.
    index: usize,
    policy: PolicyId,
    rule: Option<Arc<Rule>>,
    key: BucketKey,
    /// The limit in numbers as it was charged, and as it is.
    then: Meter,
    meter: Meter,
}

/// Outcome that a caller wants.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Commit(u64),
    Refund { cost: u64, id: [u8; 8] },
}

/// Decision of the first owner's record.
#[derive(Clone, Copy, Debug)]
enum Decided {
    Final(u64),
    Left { left: u64, from: u64 },
}

// === impl Limiter ===

impl Limiter {
    /// Settles a reservation at `cost`; 0 cancels it. Where no limit has a record of it (none counts it, or it was admitted while the
    /// store was away), nothing is done, however often.
    ///
    /// Dropped before it is done, it goes on where there are several owners. Where one does not answer, it is completed in the
    /// background once that one does.
    ///
    /// # Errors
    ///
    /// [`Error::ChargeNotFound`], [`Error::AlreadySettled`], or the store's: then the call may be repeated.
    pub async fn commit(&self, charge: &Charge, cost: u64, catalog: &Catalog) -> Result<Settled, Error> {
        self.settle(charge, Wanted::Commit(cost), catalog).await
    }

    /// Gives back up to `cost` of what was charged, as far as it has not leaked; under an id, once.
    ///
    /// Dropped, it goes on like [`Limiter::commit`].
    ///
    /// # Errors
    ///
    /// [`Error::ChargeNotFound`], [`Error::RefundExceedsCharge`], [`Error::RequestIdReused`] for the id of a refund of another
    /// cost, or the store's: then the call may be repeated under its id.
    pub async fn refund(&self, charge: &Charge, cost: u64, id: &str, catalog: &Catalog) -> Result<Settled, Error> {
        let digest = Sha256::digest(id);
        let id = if id.is_empty() { [0; 8] } else { std::array::from_fn(|index| digest[index]) };
        self.settle(charge, Wanted::Refund { cost, id }, catalog).await
    }

    async fn settle(&self, charge: &Charge, wanted: Wanted, catalog: &Catalog) -> Result<Settled, Error> {
        let settling = Arc::new(Settling::new(self.shared.clone(), charge, wanted, catalog));
        if settling.parts.len() < 2 {
            return settling.run().await;
        }
        // It goes on where the caller does not wait.
        let left = keyplane_deadline::share();
        let run = tokio::spawn(settling.run().in_current_span());
        let run = match left {
            None => run.await,
            Some(left) => {
                let waited = tokio::time::timeout(left, run).await;
                waited.map_err(|_| Error::NoAnswer { unknown: true })?
            }
        };
        run.unwrap_or(Err(Error::NoAnswer { unknown: true }))
    }
}

// === impl Settling ===

impl Settling {
    fn new(shared: Arc<Shared>, charge: &Charge, wanted: Wanted, catalog: &Catalog) -> Settling {
        let mut parts: Vec<Part> = Vec::new();
        // In the order in which they were charged: a record knows its buckets by their places.
        for (index, limit) in charge.limits().iter().enumerate() {
            let Some((owner, share)) = Share::new(&shared, index, limit, catalog) else { continue };
            let record = shared.store.record_key(&owner, charge.id());
            match parts.iter_mut().find(|part| part.record == record) {
                Some(part) => part.limits.push(share),
                None => parts.push(Part { record, limits: vec![share] }),
            }
        }
        // Whoever settles it, under whichever limits there are now, has the same one decide.
        parts.sort_by(|one, other| one.record.as_str().cmp(other.record.as_str()));
        let (print, cost, outage) = (charge.print(), charge.cost(), charge.is_of_an_outage());
        Settling { shared, print, cost, wanted, parts, outage }
    }

    async fn run(self: Arc<Self>) -> Result<Settled, Error> {
        let (to, difference) = match self.wanted {
            Wanted::Commit(cost) => (Settlement::Final(cost), self.cost.abs_diff(cost)),
            Wanted::Refund { cost, id } => (Settlement::Refund { cost, id }, cost),
        };
        let (first, reply) = match self.ask_first(to, difference).await {
            Ok(Some(answer)) => answer,
            Ok(None) if self.outage || self.parts.is_empty() => return Ok(Settled::default()),
            Ok(None) => return Err(Error::ChargeNotFound),
            Err(error) => {
                if error.outcome_unknown() && self.parts.len() > 1 {
                    self.complete_later();
                }
                return Err(error);
            }
        };
        let (decided, error) = self.decided(&reply)?;
        let followed = self.follow(first, decided).await;
        if followed.iter().any(Result::is_err) {
            self.complete_later();
        }
        match error {
            Some(error) => Err(error),
            None => self.conclude(decided, first, reply, followed),
        }
    }

    /// Asks the first owner that has a record: which one that is, and its answer. None if there is none.
    async fn ask_first(&self, to: Settlement, difference: u64) -> Result<Option<(usize, Reply)>, Error> {
        for (first, part) in self.parts.iter().enumerate() {
            let reply = self.ask(part, to, difference).await?;
            if reply.status != Status::Unknown {
                return Ok(Some((first, reply)));
            }
            if !self.outage {
                break;
            }
        }
        Ok(None)
    }

    /// Reads the first owner's answer: the decision for the others, and the error for the caller if there is one.
    fn decided(&self, reply: &Reply) -> Result<(Decided, Option<Error>), Error> {
        let left = reply.left;
        let open = Decided::Left { left, from: self.cost };
        Ok(match (reply.status, self.wanted) {
            (Status::Done | Status::Replayed, Wanted::Commit(_)) => (Decided::Final(left), None),
            (Status::Done | Status::Replayed, Wanted::Refund { cost, .. }) => {
                (Decided::Left { left, from: left.saturating_add(cost) }, None)
            }
            (Status::Settled, _) => (Decided::Final(left), Some(Error::AlreadySettled { cost: left })),
            (Status::TooMuch, _) => (open, Some(Error::RefundExceedsCharge { left })),
            (Status::OtherRefund, _) => (open, Some(Error::RequestIdReused)),
            (Status::Refused | Status::Conflict | Status::Unknown | Status::Open | Status::Behind, _) => {
                return Err(Error::ChargeNotFound);
            }
        })
    }

    /// Has the other owners do what was decided, all at once.
    async fn follow(&self, first: usize, decided: Decided) -> Vec<Result<Reply, Error>> {
        let others = self.parts.iter().skip(first + 1);
        futures::future::join_all(others.map(|part| self.follow_one(part, decided))).await
    }

    async fn follow_one(&self, part: &Part, decided: Decided) -> Result<Reply, Error> {
        let (left, mut from) = match decided {
            Decided::Final(cost) => return self.ask(part, Settlement::Final(cost), self.cost.abs_diff(cost)).await,
            Decided::Left { left, from } => (left, from),
        };
        loop {
            let reply = self.ask(part, Settlement::Left { left, from }, from.saturating_sub(left)).await?;
            // An earlier refund has not come there yet. What is left only becomes less, so this ends.
            if reply.status != Status::Behind {
                return Ok(reply);
            }
            from = reply.left;
        }
    }

    async fn ask(&self, part: &Part, to: Settlement, difference: u64) -> Result<Reply, Error> {
        let charges = matches!(to, Settlement::Final(cost) if cost > self.cost);
        let bucket = |share: &Share| {
            let meter = share.counting(charges);
            let (key, add, channel) =
                (share.key.clone(), meter.level(difference), self.shared.store.channel(&share.key));
            Bucket { key, meter, add, flag: Flag::Enforce, channel, end: End::default() }
        };
        let buckets = part.limits.iter().map(bucket).collect();
        let then = part.limits.iter().map(|share| share.then).collect();
        let op = Op::Settle(Settle { print: self.print, charged: self.cost, then, to, charges });
        let reply = self.shared.store.decide(Group { op, record: Some(part.record.clone()), buckets }).await?;
        part.limits.iter().for_each(|share| self.shared.forget(&share.key));
        Ok(reply)
    }

    /// Puts the answers together.
    fn conclude(
        &self,
        decided: Decided,
        first: usize,
        reply: Reply,
        others: Vec<Result<Reply, Error>>,
    ) -> Result<Settled, Error> {
        let (left, charges) = match decided {
            Decided::Final(cost) => (cost, cost > self.cost),
            Decided::Left { left, .. } => (left, false),
        };
        let (mut limits, mut charged) = (Vec::new(), None);
        for (part, reply) in self.parts.iter().skip(first).zip(std::iter::once(Ok(reply)).chain(others)) {
            // None where there is no record, or not any more.
            for (share, found) in part.limits.iter().zip(&reply?.buckets) {
                charged = charged.max(share.charged(found));
                limits.push((share.index, share.settled(found, charges)));
            }
        }
        limits.sort_by_key(|(index, _)| *index);
        // What more it cost was charged up to a bound.
        let charged = charged.filter(|_| charges).map_or(left, |charged| charged.min(left));
        Ok(Settled { charged, limits: limits.into_iter().map(|(_, limit)| limit).collect() })
    }

    /// Completes it in the background, until every owner has answered or its record is gone: within 5 s of an owner's return.
    fn complete_later(self: &Arc<Self>) {
        let Some(first) = self.parts.first() else { return };
        let of = (first.record.as_str().to_owned(), self.print);
        match self.shared.repairs.begin(of.clone()) {
            Begun::Already | Begun::TurnedAway { first: false } => {}
            Begun::TurnedAway { first: true } => {
                tracing::warn!(
                    "too many settlements are incomplete; further ones are completed by whoever repeats them"
                );
            }
            Begun::Here => {
                let settling = self.clone();
                tokio::spawn(async move { settling.repair(&of).await });
            }
        }
    }

    async fn repair(&self, of: &repairs::Of) {
        let (until, [mut pause, longest]) = (Instant::now() + PATIENCE, PAUSES);
        while Instant::now() < until {
            tokio::time::sleep(pause).await;
            match self.complete().await {
                Err(error) if error.is_outage() => pause = (pause * 2).min(longest),
                Err(error) => {
                    tracing::warn!(%error, "a settlement stays incomplete until it leaks away");
                    break;
                }
                Ok(()) if self.shared.repairs.is_done(of) => return,
                Ok(()) => {}
            }
        }
        self.shared.repairs.give_up(of);
    }

    /// Asks what was decided, if anything was, and has the others follow.
    async fn complete(&self) -> Result<(), Error> {
        let Some((first, reply)) = self.ask_first(Settlement::Query, 0).await? else { return Ok(()) };
        let open = Decided::Left { left: reply.left, from: self.cost };
        let decided = if reply.status == Status::Settled { Decided::Final(reply.left) } else { open };
        self.follow(first, decided).await.into_iter().try_for_each(|reply| reply.map(drop))
    }
}

// === impl Share ===

impl Share {
    fn new(shared: &Shared, index: usize, limit: &Charged, catalog: &Catalog) -> Option<(Owner, Share)> {
        let policy = PolicyId::parse(limit.policy(), "").ok()?;
        let descriptor = limit.descriptor();
        let (owner, rule) = (Owner::of(&descriptor), limit.rule(catalog, &descriptor));
        let key = shared.store.bucket_key(&owner, &policy, &descriptor);
        let then = limit.meter();
        let meter = rule.as_ref().and_then(|rule| rule.meter).unwrap_or(then);
        Some((owner, Share { index, policy, rule, key, then, meter }))
    }

    /// The limit by which is counted: what is given back is a part of what was charged then.
    fn counting(&self, charges: bool) -> Meter {
        if charges { self.meter } else { self.then }
    }

    /// Whole hits charged to it in all; none if nothing was.
    fn charged(&self, found: &Found) -> Option<u64> {
        (found.room != Room::None).then(|| self.then.whole(found.kept).saturating_add(self.meter.whole(found.moved)))
    }

    fn settled(&self, found: &Found, charges: bool) -> SettledLimit {
        let (policy, rule, level) = (self.policy.clone(), self.rule.clone(), self.now(found.level, charges));
        let state = State::of(Verdict::Admitted, &self.meter, level, found.ahead, 0);
        let returned = if charges { 0 } else { self.then.whole(found.moved) };
        SettledLimit { policy, rule, state, returned }
    }

    /// A level under the limit as it is now.
    fn now(&self, level: Level, charges: bool) -> Level {
        let counting = self.counting(charges);
        let same = (counting.n(), counting.p()) == (self.meter.n(), self.meter.p());
        if same { level } else { self.meter.level(counting.charged(level)) }
    }
}

//! Settles a charge at all of its owners, in one way.
//!
//! Owners may be on several nodes, so no script sees all of their records. The record of the first owner, in the order of keys,
//! decides how a charge is settled; the others follow its decision, however often that takes. Every later attempt completes what
//! is unfinished, even one that is rejected because it comes too late.

mod completion;
mod repairs;
mod share;

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tracing::Instrument as _;

use super::charge::Charge;
use super::outcome::State;
use super::{Limiter, Shared};
use crate::domain::{Catalog, PolicyId, Rule};
use crate::error::Error;
use crate::store::{Bucket, End, Flag, Group, Op, RecordKey, Reply, Settle, Settlement, Status};
use share::Share;

pub(super) use repairs::Repairs;

/// Charge after its settlement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    /// Hits that remain charged: the cost, or less where a debt reached its bound; 0 where no owner has a record.
    pub charged: u64,
    /// Limits that have a record of the charge, in the order of the charge.
    pub limits: Vec<SettledLimit>,
}

/// Limit of a settled charge.
#[derive(Clone, Debug, PartialEq)]
pub struct SettledLimit {
    /// Id of the policy.
    pub policy: PolicyId,
    /// Limit in force; none if the policy is deleted, or counts nothing any more.
    pub rule: Option<Arc<Rule>>,
    /// Answer of the limit, as after an admitted call.
    pub state: State,
    /// Whole hits given back so far: those of the charge that had not leaked.
    pub returned: u64,
}

/// Settlement in progress.
struct Settling {
    shared: Arc<Shared>,
    fingerprint: [u8; 16],
    /// Cost that was charged to each limit.
    cost: u64,
    intent: Intent,
    /// Parts by owner; the first one that has a record decides.
    parts: Vec<Part>,
    /// True if owners may lack a record, since the charge was admitted in an outage.
    outage: bool,
}

/// Part of one owner in a charge.
struct Part {
    record: RecordKey,
    limits: Vec<Share>,
}

/// Settlement that the caller asks for.
#[derive(Clone, Copy, Debug)]
enum Intent {
    Commit(u64),
    Refund { cost: u64, id: [u8; 8] },
}

/// Decision of the first owner's record.
#[derive(Clone, Copy, Debug)]
enum Resolution {
    Final(u64),
    Left { left: u64, from: u64 },
}

// === impl Limiter ===

impl Limiter {
    /// Settles a reservation at `cost`; 0 cancels it. Does nothing where no owner has a record: no limit counts, or the reservation
    /// was admitted while the store was unavailable.
    ///
    /// Cancel safe: dropped before it returns, it goes on where there are several owners. An owner that does not answer is settled in the
    /// background, once it does.
    ///
    /// # Errors
    ///
    /// [`Error::ChargeNotFound`], [`Error::AlreadySettled`], or the store's: then the call is safe to retry.
    pub async fn commit(&self, charge: &Charge, cost: u64, catalog: &Catalog) -> Result<Settled, Error> {
        self.settle(charge, Intent::Commit(cost), catalog).await
    }

    /// Gives back up to `cost` hits of a charge, as far as they have not leaked; under an id, once.
    ///
    /// Cancel safe: dropped before it returns, it goes on like [`Limiter::commit`].
    ///
    /// # Errors
    ///
    /// [`Error::ChargeNotFound`], [`Error::RefundExceedsCharge`], [`Error::RequestIdReused`] for the id of a refund of another
    /// cost, or the store's: then the call is safe to retry under its id.
    pub async fn refund(&self, charge: &Charge, cost: u64, id: &str, catalog: &Catalog) -> Result<Settled, Error> {
        let digest = Sha256::digest(id);
        let id = if id.is_empty() { [0; 8] } else { std::array::from_fn(|index| digest[index]) };
        self.settle(charge, Intent::Refund { cost, id }, catalog).await
    }

    async fn settle(&self, charge: &Charge, intent: Intent, catalog: &Catalog) -> Result<Settled, Error> {
        let settling = Arc::new(Settling::new(self.shared.clone(), charge, intent, catalog));
        if settling.parts.len() < 2 {
            return settling.run().await;
        }
        // A task of its own goes on if the caller stops waiting.
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
    fn new(shared: Arc<Shared>, charge: &Charge, intent: Intent, catalog: &Catalog) -> Settling {
        let mut parts: Vec<Part> = Vec::new();
        // The order of the charge stays: a record knows its buckets by their indexes.
        for (index, limit) in charge.limits.iter().enumerate() {
            let Some((owner, share)) = Share::new(&shared, index, limit, catalog) else { continue };
            let record = shared.store.record_key(&owner, &charge.id);
            match parts.iter_mut().find(|part| part.record == record) {
                Some(part) => part.limits.push(share),
                None => parts.push(Part { record, limits: vec![share] }),
            }
        }
        // Every settlement of a charge has the same first owner, whichever limits are in force.
        parts.sort_by(|left_part, right_part| left_part.record.as_str().cmp(right_part.record.as_str()));
        let (fingerprint, cost, outage) = (charge.fingerprint(), charge.cost(), charge.outage);
        Settling { shared, fingerprint, cost, intent, parts, outage }
    }

    async fn run(self: Arc<Self>) -> Result<Settled, Error> {
        let (to, difference) = match self.intent {
            Intent::Commit(cost) => (Settlement::Final(cost), self.cost.abs_diff(cost)),
            Intent::Refund { cost, id } => (Settlement::Refund { cost, id }, cost),
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
        let (resolution, error) = self.resolution(&reply)?;
        let followers = self.follow(first, resolution).await;
        if followers.iter().any(Result::is_err) {
            self.complete_later();
        }
        match error {
            Some(error) => Err(error),
            None => self.conclude(resolution, first, reply, followers),
        }
    }

    /// Asks the owners in order until one has a record: its index and answer. None if no owner has one.
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

    /// Reads the first owner's answer: the resolution for the others, and the caller's error if there is one.
    fn resolution(&self, reply: &Reply) -> Result<(Resolution, Option<Error>), Error> {
        let left = reply.left;
        let open = Resolution::Left { left, from: self.cost };
        Ok(match (reply.status, self.intent) {
            (Status::Done | Status::Replayed, Intent::Commit(_)) => (Resolution::Final(left), None),
            (Status::Done | Status::Replayed, Intent::Refund { cost, .. }) => {
                (Resolution::Left { left, from: left.saturating_add(cost) }, None)
            }
            (Status::Settled, _) => (Resolution::Final(left), Some(Error::AlreadySettled { cost: left })),
            (Status::TooMuch, _) => (open, Some(Error::RefundExceedsCharge { left })),
            (Status::OtherRefund, _) => (open, Some(Error::RequestIdReused)),
            (Status::Denied | Status::Conflict | Status::Unknown | Status::Open | Status::Behind, _) => {
                return Err(Error::ChargeNotFound);
            }
        })
    }

    /// Applies the resolution at the other owners, all at once.
    async fn follow(&self, first: usize, resolution: Resolution) -> Vec<Result<Reply, Error>> {
        let others = self.parts.iter().skip(first + 1);
        futures::future::join_all(others.map(|part| self.follow_at(part, resolution))).await
    }

    async fn follow_at(&self, part: &Part, resolution: Resolution) -> Result<Reply, Error> {
        let (left, mut from) = match resolution {
            Resolution::Final(cost) => return self.ask(part, Settlement::Final(cost), self.cost.abs_diff(cost)).await,
            Resolution::Left { left, from } => (left, from),
        };
        loop {
            let reply = self.ask(part, Settlement::Left { left, from }, from.saturating_sub(left)).await?;
            // An earlier refund has not arrived there yet. What is left only falls, so this ends.
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
        let op = Op::Settle(Settle { fingerprint: self.fingerprint, charged: self.cost, then, to, charges });
        let reply = self.shared.store.decide(Group { op, record: Some(part.record.clone()), buckets }).await?;
        part.limits.iter().for_each(|share| self.shared.forget(&share.key));
        Ok(reply)
    }

    /// Combines the owners' answers.
    fn conclude(
        &self,
        resolution: Resolution,
        first: usize,
        reply: Reply,
        others: Vec<Result<Reply, Error>>,
    ) -> Result<Settled, Error> {
        let (left, charges) = match resolution {
            Resolution::Final(cost) => (cost, cost > self.cost),
            Resolution::Left { left, .. } => (left, false),
        };
        let (mut limits, mut charged) = (Vec::new(), None);
        for (part, reply) in self.parts.iter().skip(first).zip(std::iter::once(Ok(reply)).chain(others)) {
            // No buckets where there is no record, or not any more.
            for (share, bucket) in part.limits.iter().zip(&reply?.buckets) {
                charged = charged.max(share.charged(bucket));
                limits.push((share.index, share.settled(bucket, charges)));
            }
        }
        limits.sort_by_key(|(index, _)| *index);
        // Hits beyond the estimate were charged up to a bound.
        let charged = charged.filter(|_| charges).map_or(left, |charged| charged.min(left));
        Ok(Settled { charged, limits: limits.into_iter().map(|(_, limit)| limit).collect() })
    }
}

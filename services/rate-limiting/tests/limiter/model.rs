//! Model of the limiter in whole numbers: of limits so slow that nothing leaks away. (What is given back of a charge
//! that leaks is held in `shares.rs`.)

use std::collections::BTreeMap;

use keyplane_rate_limiting::app::limiter::Verdict;

/// Limit of the test: its policy, and the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Limited {
    pub(crate) kind: &'static Kind,
    pub(crate) user: &'static str,
}

/// Policy of the test.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) policy: &'static str,
    /// True for a bucket of each user, false for one of the tenant.
    pub(crate) by_user: bool,
    pub(crate) burst: u64,
    pub(crate) rule: Rule,
}

/// Action where the bucket has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    Deny,
    Tell,
    Charge,
}

/// Request: its limits, its id, and whether it is to be settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) limits: Vec<Limited>,
    pub(crate) cost: u64,
    pub(crate) id: Option<u8>,
    pub(crate) reserves: bool,
}

/// Record of a request at one owner.
#[derive(Clone, Debug)]
struct Record {
    request: Request,
    /// Buckets of the owner that were charged, the charge of each, and its hits: at first, and added by a settlement.
    charged: Vec<Option<(u64, u64, u64)>>,
    settled: bool,
    left: u64,
    /// Last refund, and its cost.
    last: Option<(u8, u64)>,
}

/// Result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Comes {
    Admitted { replayed: bool },
    Denied(Vec<Verdict>),
    Reused,
}

/// Result of a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Charged(u64),
    Unknown,
    Already(u64),
    TooMuch(u64),
    Reused,
}

#[derive(Clone, Default)]
pub(crate) struct Model {
    /// Charges that a bucket holds, the oldest first, and the hits of each.
    buckets: BTreeMap<(&'static str, &'static str), Vec<(u64, u64)>>,
    /// Charges that there were.
    charges: u64,
    /// Buckets that were charged up to the bound: with the little that has leaked away since, which no whole number
    /// says.
    capped: Vec<Limited>,
    records: BTreeMap<(&'static str, u8), Record>,
}

// === impl Limited ===

impl Limited {
    fn owner(&self) -> &'static str {
        if self.kind.by_user { self.user } else { "the tenant" }
    }
}

// === impl Asked ===

impl Request {
    /// Owners, and each one's limits: in the order of their keys, so that the first one decides about a settlement.
    fn owners(&self) -> Vec<(&'static str, Vec<Limited>)> {
        let mut owners: Vec<(&'static str, Vec<Limited>)> = Vec::new();
        for limit in &self.limits {
            match owners.iter_mut().find(|(owner, _)| *owner == limit.owner()) {
                Some((_, limits)) => limits.push(*limit),
                None => owners.push((limit.owner(), vec![*limit])),
            }
        }
        owners.sort_by_key(|(owner, _)| *owner);
        owners
    }
}

// === impl Model ===

impl Model {
    pub(crate) fn level(&self, limit: &Limited) -> u64 {
        self.bucket(limit).map_or(0, |held| held.iter().map(|(_, amount)| amount).sum())
    }

    pub(crate) fn remaining(&self, limit: &Limited) -> u64 {
        limit.kind.burst.saturating_sub(self.level(limit))
    }

    fn bucket(&self, limit: &Limited) -> Option<&Vec<(u64, u64)>> {
        self.buckets.get(&(limit.owner(), limit.kind.policy))
    }

    pub(crate) fn reset(&mut self, limit: &Limited) {
        self.buckets.remove(&(limit.owner(), limit.kind.policy));
    }

    pub(crate) fn take_capped(&mut self) -> Vec<Limited> {
        std::mem::take(&mut self.capped)
    }

    /// Takes back so much, the newest first: of one charge, or of any.
    pub(crate) fn take(&mut self, limit: &Limited, mut amount: u64, only: Option<u64>) {
        let held = self.buckets.entry((limit.owner(), limit.kind.policy)).or_default();
        for (_, there) in held.iter_mut().rev().filter(|(charge, _)| only.is_none_or(|only| only == *charge)) {
            let taken = amount.min(*there);
            (*there, amount) = (*there - taken, amount - taken);
        }
    }

    /// Charges up to the bound: which charge it is, and how much.
    fn add(&mut self, limit: &Limited, amount: u64, charge: Option<u64>) -> (u64, u64) {
        let room = (2 * limit.kind.burst).saturating_sub(self.level(limit));
        if amount > room {
            self.capped.push(*limit);
        }
        let amount = amount.min(room);
        self.charges += 1;
        let charge = charge.unwrap_or(self.charges);
        self.buckets.entry((limit.owner(), limit.kind.policy)).or_default().push((charge, amount));
        (charge, amount)
    }

    /// Verdict of one limit on a cost.
    pub(crate) fn says(&self, limit: &Limited, cost: u64) -> Verdict {
        match (self.level(limit) + cost <= limit.kind.burst, limit.kind.rule) {
            (true, _) => Verdict::Admitted,
            (false, Rule::Deny) if cost > limit.kind.burst => Verdict::CostOverBurst,
            (false, Rule::Deny) => Verdict::Denied,
            (false, Rule::Tell) => Verdict::ShadowDenied,
            (false, Rule::Charge) if self.level(limit) > limit.kind.burst => Verdict::Denied,
            (false, Rule::Charge) => Verdict::Overcharged,
        }
    }

    /// Charges all limits, or none.
    pub(crate) fn acquire(&mut self, request: &Request) -> Comes {
        let says: Vec<Verdict> = request.limits.iter().map(|limit| self.says(limit, request.cost)).collect();
        if says.contains(&Verdict::CostOverBurst) {
            return Comes::Denied(says);
        }
        let before = self.clone();
        let mut capped = Vec::new();
        let (mut replayed, mut denied, mut reused) = (true, false, false);
        for (owner, limits) in request.owners() {
            if let Some(known) = request.id.and_then(|id| self.records.get(&(owner, id))) {
                reused |= known.request != *request;
                continue;
            }
            replayed = false;
            let says: Vec<Verdict> = limits.iter().map(|limit| self.says(limit, request.cost)).collect();
            denied |= says.contains(&Verdict::Denied);
            let mut charged = Vec::new();
            for (limit, verdict) in limits.iter().zip(&says) {
                // A charge up to the bound is not given back without a record: its part is unknown.
                let done = !says.contains(&Verdict::Denied) && request.id.is_none();
                if done && *verdict == Verdict::Overcharged && self.level(limit) + request.cost > 2 * limit.kind.burst {
                    capped.push(*limit);
                }
                charged.push(self.charge(limit, request.cost, *verdict));
            }
            if let Some(id) = request.id {
                let (request, left) = (request.clone(), request.cost);
                self.records.insert((owner, id), Record { request, charged, settled: false, left, last: None });
            }
        }
        if denied || reused {
            *self = before;
            for limit in capped {
                self.add(&limit, request.cost, None);
            }
        }
        match (reused, denied) {
            (true, _) => Comes::Reused,
            (_, true) => Comes::Denied(says),
            _ => Comes::Admitted { replayed },
        }
    }

    /// Settles at `cost`.
    pub(crate) fn commit(&mut self, request: &Request, cost: u64) -> Left {
        let Some(first) = self.first(request) else { return Left::Unknown };
        let left = match (first.settled, first.left == cost) {
            (true, false) => Left::Already(first.left),
            _ => Left::Charged(cost),
        };
        let Left::Charged(cost) = left else { return left };
        self.bring(request, true, cost, None);
        // Cost beyond the estimate was charged up to a bound.
        let records = request.owners().into_iter().filter_map(|(owner, _)| self.records.get(&(owner, request.id?)));
        let charged = records.flat_map(|record| record.charged.iter().flatten());
        let most = charged.map(|(_, first, more)| first + more).max();
        Left::Charged(most.filter(|_| cost > request.cost).map_or(cost, |most| most.min(cost)))
    }

    /// Gives back `cost`, under an id or not.
    pub(crate) fn refund(&mut self, request: &Request, cost: u64, id: Option<u8>) -> Left {
        let Some(first) = self.first(request) else { return Left::Unknown };
        if let (Some(id), Some((last, last_cost))) = (id, first.last)
            && id == last
        {
            return if last_cost == cost { Left::Charged(first.left) } else { Left::Reused };
        }
        let Some(left) = first.left.checked_sub(cost) else { return Left::TooMuch(first.left) };
        self.bring(request, false, left, id.map(|id| (id, cost)));
        Left::Charged(left)
    }

    /// Record that decides.
    fn first(&self, request: &Request) -> Option<Record> {
        let (owner, _) = request.owners().into_iter().next()?;
        self.records.get(&(owner, request.id?)).filter(|record| record.request == *request).cloned()
    }

    /// Has every owner do what was decided.
    fn bring(&mut self, request: &Request, settled: bool, left: u64, last: Option<(u8, u64)>) {
        let Some(id) = request.id else { return };
        for (owner, limits) in request.owners() {
            let Some(mut record) = self.records.get(&(owner, id)).filter(|record| record.request == *request).cloned()
            else {
                continue;
            };
            for (limit, charged) in limits.iter().zip(&mut record.charged) {
                let Some((charge, _, more)) = charged else { continue };
                match left.checked_sub(record.left) {
                    Some(added) => *more += self.add(limit, added, Some(*charge)).1,
                    None => self.take(limit, record.left - left, Some(*charge)),
                }
            }
            (record.settled, record.left, record.last) = (settled, left, last);
            self.records.insert((owner, id), record);
        }
    }

    fn charge(&mut self, limit: &Limited, cost: u64, verdict: Verdict) -> Option<(u64, u64, u64)> {
        let charges = matches!(verdict, Verdict::Overcharged | Verdict::Admitted);
        charges.then(|| self.add(limit, cost, None)).map(|(charge, amount)| (charge, amount, 0))
    }
}

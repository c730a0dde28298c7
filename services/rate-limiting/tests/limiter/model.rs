//! What the limiter is to do, in whole numbers: of limits so slow that nothing leaks away.

use std::collections::BTreeMap;

use keyplane_rate_limiting::limiter::Verdict;

/// A limit of the test: its policy, and the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Limited {
    pub(crate) kind: &'static Kind,
    pub(crate) user: &'static str,
}

/// A policy of the test.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) policy: &'static str,
    /// Whether each user has a bucket; otherwise the tenant has.
    pub(crate) by_user: bool,
    pub(crate) burst: u64,
    pub(crate) rule: Rule,
}

/// What is done where there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    Refuse,
    Tell,
    Charge,
}

/// A request: what is asked for, under which id, to be settled or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) limits: Vec<Limited>,
    pub(crate) cost: u64,
    pub(crate) id: Option<u8>,
    pub(crate) reserves: bool,
}

/// What is remembered of a request, at one owner.
#[derive(Clone, Debug)]
struct Record {
    of: Asked,
    /// Which buckets of the owner were charged.
    charged: Vec<bool>,
    settled: bool,
    left: u64,
    last: Option<u8>,
}

/// What comes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Comes {
    Admitted { replayed: bool },
    Refused(Vec<Verdict>),
    Reused,
}

/// What comes of a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Charged(u64),
    Unknown,
    Already(u64),
    TooMuch(u64),
}

#[derive(Clone, Default)]
pub(crate) struct Model {
    levels: BTreeMap<(&'static str, &'static str), u64>,
    records: BTreeMap<(&'static str, u8), Record>,
}

// === impl Limited ===

impl Limited {
    fn owner(&self) -> &'static str {
        if self.kind.by_user { self.user } else { "the tenant" }
    }
}

// === impl Asked ===

impl Asked {
    /// Owners, in the order in which they come up, and each one's limits.
    fn owners(&self) -> Vec<(&'static str, Vec<Limited>)> {
        let mut owners: Vec<(&'static str, Vec<Limited>)> = Vec::new();
        for limit in &self.limits {
            match owners.iter_mut().find(|(owner, _)| *owner == limit.owner()) {
                Some((_, limits)) => limits.push(*limit),
                None => owners.push((limit.owner(), vec![*limit])),
            }
        }
        owners
    }
}

// === impl Model ===

impl Model {
    pub(crate) fn level(&self, limit: &Limited) -> u64 {
        self.levels.get(&(limit.owner(), limit.kind.policy)).copied().unwrap_or(0)
    }

    pub(crate) fn remaining(&self, limit: &Limited) -> u64 {
        limit.kind.burst.saturating_sub(self.level(limit))
    }

    pub(crate) fn set(&mut self, limit: &Limited, level: u64) {
        self.levels.insert((limit.owner(), limit.kind.policy), level);
    }

    /// What a limit says of a cost, alone.
    pub(crate) fn says(&self, limit: &Limited, cost: u64) -> Verdict {
        match (self.level(limit) + cost <= limit.kind.burst, limit.kind.rule) {
            (true, _) => Verdict::Admitted,
            (false, Rule::Refuse) if cost > limit.kind.burst => Verdict::CostOverBurst,
            (false, Rule::Refuse) => Verdict::Denied,
            (false, Rule::Tell) => Verdict::ShadowDenied,
            (false, Rule::Charge) if self.level(limit) > limit.kind.burst => Verdict::Denied,
            (false, Rule::Charge) => Verdict::Overcharged,
        }
    }

    /// All limits, or none.
    pub(crate) fn acquire(&mut self, asked: &Asked) -> Comes {
        let says: Vec<Verdict> = asked.limits.iter().map(|limit| self.says(limit, asked.cost)).collect();
        if says.contains(&Verdict::CostOverBurst) {
            return Comes::Refused(says);
        }
        let before = self.clone();
        let mut capped = Vec::new();
        let (mut replayed, mut refused, mut reused) = (true, false, false);
        for (owner, limits) in asked.owners() {
            if let Some(known) = asked.id.and_then(|id| self.records.get(&(owner, id))) {
                reused |= known.of != *asked;
                continue;
            }
            replayed = false;
            let says: Vec<Verdict> = limits.iter().map(|limit| self.says(limit, asked.cost)).collect();
            refused |= says.contains(&Verdict::Denied);
            for (limit, said) in limits.iter().zip(&says) {
                // What was charged up to the bound is not given back: nobody knows how much of it that was.
                let done = !says.contains(&Verdict::Denied);
                if done && *said == Verdict::Overcharged && self.level(limit) + asked.cost > 2 * limit.kind.burst {
                    capped.push(*limit);
                }
                self.charge(limit, asked.cost, *said);
            }
            if let Some(id) = asked.id {
                let charged = says.iter().map(|said| *said != Verdict::ShadowDenied).collect();
                let (of, left) = (asked.clone(), asked.cost);
                self.records.insert((owner, id), Record { of, charged, settled: false, left, last: None });
            }
        }
        if refused || reused {
            *self = before;
            capped.iter().for_each(|limit| self.set(limit, 2 * limit.kind.burst));
        }
        match (reused, refused) {
            (true, _) => Comes::Reused,
            (_, true) => Comes::Refused(says),
            _ => Comes::Admitted { replayed },
        }
    }

    /// Settles at `cost`.
    pub(crate) fn commit(&mut self, asked: &Asked, cost: u64) -> Left {
        self.settle(asked, |model, limits, record| {
            if record.settled {
                return if record.left == cost { Left::Charged(cost) } else { Left::Already(record.left) };
            }
            for limit in limits.iter().zip(&record.charged).filter(|(_, charged)| **charged).map(|(limit, _)| limit) {
                match cost.checked_sub(asked.cost) {
                    Some(more) => {
                        let most = (2 * limit.kind.burst).max(model.level(limit));
                        model.set(limit, (model.level(limit) + more).min(most));
                    }
                    None => model.set(limit, model.level(limit).saturating_sub(asked.cost - cost)),
                }
            }
            (record.settled, record.left) = (true, cost);
            Left::Charged(cost)
        })
    }

    /// Gives back `cost`, under an id or not.
    pub(crate) fn refund(&mut self, asked: &Asked, cost: u64, id: Option<u8>) -> Left {
        self.settle(asked, |model, limits, record| {
            if id.is_some() && record.last == id {
                return Left::Charged(record.left);
            }
            let Some(left) = record.left.checked_sub(cost) else { return Left::TooMuch(record.left) };
            for limit in limits.iter().zip(&record.charged).filter(|(_, charged)| **charged).map(|(limit, _)| limit) {
                model.set(limit, model.level(limit).saturating_sub(cost));
            }
            (record.left, record.last) = (left, id);
            Left::Charged(left)
        })
    }

    fn settle(&mut self, asked: &Asked, by: impl Fn(&mut Model, &[Limited], &mut Record) -> Left) -> Left {
        let Some(id) = asked.id else { return Left::Unknown };
        let mut all = Vec::new();
        for (owner, limits) in asked.owners() {
            let found = self.records.get(&(owner, id)).filter(|record| record.of == *asked).cloned();
            let Some(mut record) = found else {
                all.push(Left::Unknown);
                continue;
            };
            all.push(by(self, &limits, &mut record));
            self.records.insert((owner, id), record);
        }
        let failed = all.iter().find(|left| !matches!(left, Left::Charged(_)));
        failed.or_else(|| all.last()).cloned().unwrap_or(Left::Unknown)
    }

    fn charge(&mut self, limit: &Limited, cost: u64, said: Verdict) {
        let level = self.level(limit);
        if said == Verdict::Overcharged {
            self.set(limit, (level + cost).min((2 * limit.kind.burst).max(level)));
        } else if said == Verdict::Admitted {
            self.set(limit, level + cost);
        }
    }
}

//! Descriptors of a gateway's request: the limits that they meet, and the decision about all of them.

use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use data_encoding::HEXLOWER;

use super::Admission;
use super::limiter::{Call, Charge, ChargeKind, Memory, Outcome, Slot, Source, State};
use crate::domain::{Catalog, Compiled, Descriptor, Entry, Limit, Policy, PolicyId, Rule};
use crate::error::Error;

/// A descriptor, and what it counts.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Keys and values.
    pub descriptor: Descriptor,
    /// Hits; 0 asks without a charge.
    pub hits: u64,
    /// Whether hits are taken back.
    pub negative: bool,
    /// A limit that comes with the request, in place of the policy's.
    pub limit: Option<Limit>,
}

/// Limits that the descriptors of a request meet.
#[derive(Default)]
pub struct Matched {
    hits: Vec<Hits>,
    charged: Call,
    asked: Call,
    given_back: Vec<Slot>,
}

/// Limits that a descriptor meets, by their places among those of the request.
pub enum Hits {
    /// No policy is for it.
    Unmatched,
    /// Places among the limits that are charged.
    Charged(Vec<usize>),
    /// Places among the limits that are asked.
    Asked(Vec<usize>),
    /// Places among the limits that hits are given back to.
    GivenBack(Vec<usize>),
}

/// Decision about the descriptors of a request.
pub struct Decided {
    /// The limits of each descriptor, in the request's order.
    pub hits: Vec<Hits>,
    /// Limits that are charged, together.
    pub charged: Option<(Call, Outcome)>,
    /// Limits that are asked.
    pub peeked: Option<(Call, Outcome)>,
    /// Limits that hits are given back to.
    pub taken_back: Vec<(Slot, State)>,
}

// === impl Admission ===

impl Admission {
    /// The limits that the descriptors of a request meet.
    #[must_use]
    pub fn matching(&self, domain: &str, descriptors: impl Iterator<Item = Counted>) -> Matched {
        let (catalog, mut matched) = (self.policies.load(), Matched::default());
        for counted in descriptors {
            let (asks, negative) = (counted.hits == 0, counted.negative);
            let slots = self.slots(&catalog, domain, counted);
            let hits = if slots.is_empty() {
                Hits::Unmatched
            } else if asks {
                Hits::Asked(add(&mut matched.asked.slots, slots))
            } else if negative {
                Hits::GivenBack(add(&mut matched.given_back, slots))
            } else {
                // Nobody says whether it is before the request or, as `apply_on_stream_done` has it, after.
                let spent = slots.into_iter().map(|slot| Slot { spent: true, ..slot }).collect();
                Hits::Charged(add(&mut matched.charged.slots, spent))
            };
            matched.hits.push(hits);
        }
        matched
    }

    /// Decides about all descriptors of a request: all are admitted, or none is charged. Under a request id, with the time that it
    /// is remembered, once.
    ///
    /// # Errors
    ///
    /// Those of [`super::limiter::Limiter::acquire`].
    pub async fn decide(&self, matched: Matched, id: Option<(String, Duration)>) -> Result<Decided, Error> {
        let Matched { hits, charged: mut call, asked, given_back } = matched;
        let mut decided = Decided { hits, charged: None, peeked: None, taken_back: Vec::new() };
        if !asked.slots.is_empty() {
            let outcome = self.limiter.peek(&asked).await?;
            decided.peeked = Some((asked, outcome));
        }
        let refused = decided.peeked.as_ref().is_some_and(|(_, outcome)| !outcome.admitted);
        if !call.slots.is_empty() {
            call.remember = id.map(|(id, ttl)| remembered(&id, &call, ttl));
            // What one descriptor refuses, no other is charged for.
            let outcome = if refused { self.limiter.peek(&call).await? } else { self.limiter.acquire(&call).await? };
            decided.charged = Some((call, outcome));
        }
        if !given_back.is_empty() {
            let states = self.limiter.take_back(&given_back).await?;
            decided.taken_back = given_back.into_iter().zip(states).collect();
        }
        Ok(decided)
    }

    fn slots(&self, catalog: &Catalog, domain: &str, counted: Counted) -> Vec<Slot> {
        let (store, cost) = (self.limiter.store(), counted.hits.max(1));
        let Counted { descriptor, limit, .. } = counted;
        let found = catalog.matching(domain, &descriptor);
        let Some(limit) = limit else {
            let slot = |compiled: &Arc<Compiled>| Slot::new(store, catalog, compiled, descriptor.clone(), cost);
            return found.iter().map(slot).collect();
        };
        // A limit that comes with the request counts in the bucket of the policy that it takes the place of.
        let compiled = found.first().cloned().unwrap_or_else(|| Arc::new(of_request(domain, &descriptor)));
        vec![Slot::with_rule(store, &compiled, Rule::new(limit, "request"), descriptor, cost)]
    }
}

/// Two descriptors of one bucket are one limit, for what both cost.
fn add(all: &mut Vec<Slot>, slots: Vec<Slot>) -> Vec<usize> {
    let place = |slot: Slot| match all.iter().position(|other| other.key == slot.key) {
        Some(index) => {
            all[index].cost = all[index].cost.saturating_add(slot.cost).min(Limit::MOST);
            index
        }
        None => {
            all.push(slot);
            all.len() - 1
        }
    };
    slots.into_iter().map(place).collect()
}

fn of_request(domain: &str, descriptor: &Descriptor) -> Compiled {
    let entry = |(key, _): &(CompactString, CompactString)| Entry { key: key.to_string(), value: None };
    let entries = descriptor.entries.iter().map(entry).collect();
    Compiled::alone(Policy { domain: domain.to_owned(), ..Policy::blank(PolicyId::of_requests(domain), entries) })
}

/// Envoy asks once for what is charged now and once for what is charged when the stream is done, under one id: so what it asks
/// for is part of ours. No id of the other door has a slash.
fn remembered(id: &str, call: &Call, ttl: Duration) -> Memory {
    let print = Charge::of(ChargeKind::Acquired, "", 0, call).print();
    let costs: Vec<String> = call.slots.iter().map(|slot| slot.cost.to_string()).collect();
    Memory { id: format!("envoy/{id}/{}/{}", HEXLOWER.encode_display(&print), costs.join(",")), print, ttl }
}

// === impl Matched ===

impl Matched {
    /// Descriptors that no policy is for.
    #[must_use]
    pub fn unmatched(&self) -> u64 {
        self.hits.iter().filter(|hits| matches!(hits, Hits::Unmatched)).count() as u64
    }

    /// Whether hits are taken back.
    #[must_use]
    pub fn takes_back(&self) -> bool {
        !self.given_back.is_empty()
    }
}

// === impl Decided ===

impl Decided {
    /// Whether the request may pass.
    #[must_use]
    pub fn admitted(&self) -> bool {
        let refused = |part: &Option<(Call, Outcome)>| part.as_ref().is_some_and(|(_, outcome)| !outcome.admitted);
        !refused(&self.charged) && !refused(&self.peeked)
    }

    /// Whether the answer came from this instance because the store is away.
    #[must_use]
    pub fn degraded(&self) -> bool {
        let parts = [&self.charged, &self.peeked];
        parts.into_iter().flatten().any(|(_, outcome)| outcome.source == Source::Outage)
    }
}

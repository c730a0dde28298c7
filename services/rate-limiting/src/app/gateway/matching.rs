//! Matches descriptors with policies.

use std::sync::Arc;

use compact_str::CompactString;

use crate::app::Admission;
use crate::app::limiter::{Call, CallLimit};
use crate::domain::{Catalog, Compiled, Descriptor, Entry, Limit, Policy, PolicyId, Rule};

/// Descriptor, and what it counts.
#[derive(Clone, Debug)]
pub struct Counted {
    /// Keys and values.
    pub descriptor: Descriptor,
    /// Hits; 0 peeks.
    pub hits: u64,
    /// True if hits are taken back.
    pub negative: bool,
    /// Limit that comes with the request and overrides the policy's.
    pub limit: Option<Limit>,
}

/// Limits that the descriptors of a request meet.
#[derive(Default)]
pub(super) struct Matched {
    pub(super) hits: Vec<Hits>,
    pub(super) charged: Call,
    pub(super) peeks: Call,
    pub(super) given_back: Vec<CallLimit>,
}

/// Limits that a descriptor meets, by their indexes among those of the request.
pub(super) enum Hits {
    /// Descriptor that no policy matches.
    Unmatched,
    /// Indexes of the limits that are charged.
    Charged(Vec<usize>),
    /// Indexes of the limits that are peeked at.
    Peeked(Vec<usize>),
    /// Indexes of the limits that hits are taken back from.
    GivenBack(Vec<usize>),
}

// === impl Admission ===

impl Admission {
    /// Limits that the descriptors of a request meet.
    pub(super) fn matching(&self, domain: &str, descriptors: impl Iterator<Item = Counted>) -> Matched {
        let (catalog, mut matched) = (self.policies.load(), Matched::default());
        for counted in descriptors {
            let (is_peek, negative) = (counted.hits == 0, counted.negative);
            let limits = self.limits(&catalog, domain, counted);
            let hits = if limits.is_empty() {
                Hits::Unmatched
            } else if is_peek {
                Hits::Peeked(add(&mut matched.peeks.limits, limits))
            } else if negative {
                Hits::GivenBack(add(&mut matched.given_back, limits))
            } else {
                // Nothing tells whether the call comes before the request or, with `apply_on_stream_done`, after it.
                let spent = limits.into_iter().map(|limit| CallLimit { spent: true, ..limit }).collect();
                Hits::Charged(add(&mut matched.charged.limits, spent))
            };
            matched.hits.push(hits);
        }
        matched
    }

    fn limits(&self, catalog: &Catalog, domain: &str, counted: Counted) -> Vec<CallLimit> {
        let (store, cost) = (self.limiter.store(), counted.hits.max(1));
        let Counted { descriptor, limit, .. } = counted;
        let matching = catalog.matching(domain, &descriptor);
        let Some(limit) = limit else {
            let limit = |compiled: &Arc<Compiled>| CallLimit::new(store, catalog, compiled, descriptor.clone(), cost);
            return matching.iter().map(limit).collect();
        };
        // A limit that comes with the request counts in the bucket of the policy that it overrides.
        let compiled = matching.first().cloned().unwrap_or_else(|| Arc::new(of_request(domain, &descriptor)));
        vec![CallLimit::with_rule(store, &compiled, Rule::new(limit, "request"), descriptor, cost)]
    }
}

/// Adds limits; two of one bucket become one, for the cost of both. Returns their indexes.
fn add(all: &mut Vec<CallLimit>, limits: Vec<CallLimit>) -> Vec<usize> {
    let index = |limit: CallLimit| match all.iter().position(|other| other.key == limit.key) {
        Some(index) => {
            all[index].cost = all[index].cost.saturating_add(limit.cost).min(Limit::MOST);
            index
        }
        None => {
            all.push(limit);
            all.len() - 1
        }
    };
    limits.into_iter().map(index).collect()
}

/// Policy for limits that come with the requests of a domain and match no other.
fn of_request(domain: &str, descriptor: &Descriptor) -> Compiled {
    let entry = |(key, _): &(CompactString, CompactString)| Entry { key: key.to_string(), value: None };
    let entries = descriptor.entries.iter().map(entry).collect();
    Compiled::alone(Policy { domain: domain.to_owned(), ..Policy::blank(PolicyId::for_requests(domain), entries) })
}

// === impl Matched ===

impl Matched {
    /// Descriptors that match no policy.
    pub(super) fn unmatched(&self) -> u64 {
        self.hits.iter().filter(|hits| matches!(hits, Hits::Unmatched)).count() as u64
    }

    /// Returns whether hits are taken back.
    pub(super) fn takes_back(&self) -> bool {
        !self.given_back.is_empty()
    }
}

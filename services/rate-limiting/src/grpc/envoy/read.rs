//! From Envoy's descriptors to limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use keyplane_contracts::Violations;
use keyplane_valkey::App;

use crate::domain::{Catalog, Compiled, Descriptor, Entry, Limit, Mode, Origin, Policy, PolicyId, Rule};
use crate::error::Error;
use crate::limiter::{Call, Slot};

/// The most descriptors of a request; of more, [`super::reply::too_many`].
pub(super) const DESCRIPTORS: usize = 16;
/// Bytes of a value. What is longer than fits a key is hashed there; more than this nobody sends who means well, and who sends
/// it is not let past for it either.
const VALUE: usize = 16 * 1024;

/// What a request asks for.
#[derive(Default)]
pub(super) struct Read {
    /// For each descriptor, which slots are its.
    pub(super) hits: Vec<Hits>,
    pub(super) charged: Call,
    pub(super) asked: Call,
    pub(super) given_back: Vec<Slot>,
}

/// Which slots a descriptor has.
pub(crate) enum Hits {
    /// No policy is for it.
    Unmatched,
    /// These of what is charged.
    Charged(Vec<usize>),
    /// These of what is asked.
    Asked(Vec<usize>),
    /// These of what is given back.
    GivenBack(Vec<usize>),
}

/// Finds the limits for all descriptors of a request.
pub(super) fn read(app: &App, catalog: &Catalog, request: RateLimitRequest) -> Result<Read, Error> {
    check(&request)?;
    let RateLimitRequest { domain, descriptors, hits_addend } = request;
    let mut read = Read::default();
    for descriptor in descriptors {
        // Envoy leaves the number out where it is 1.
        let hits = descriptor.hits_addend.as_ref().map_or_else(|| hits_addend.max(1).into(), |hits| hits.value);
        let negative = descriptor.is_negative_hits;
        let slots = slots(app, catalog, &domain, descriptor, hits.max(1));
        let of = if slots.is_empty() {
            Hits::Unmatched
        } else if hits == 0 {
            Hits::Asked(add(&mut read.asked.slots, slots))
        } else if negative {
            Hits::GivenBack(add(&mut read.given_back, slots))
        } else {
            // Nobody says whether it is before the request or, as `apply_on_stream_done` has it, after.
            let spent = slots.into_iter().map(|slot| Slot { spent: true, ..slot }).collect();
            Hits::Charged(add(&mut read.charged.slots, spent))
        };
        read.hits.push(of);
    }
    Ok(read)
}

// === impl Read ===

impl Read {
    /// Descriptors that no policy is for.
    pub(super) fn unmatched(&self) -> u64 {
        self.hits.iter().filter(|hits| matches!(hits, Hits::Unmatched)).count() as u64
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

fn slots(app: &App, catalog: &Catalog, domain: &str, given: RateLimitDescriptor, hits: u64) -> Vec<Slot> {
    let descriptor = Descriptor::new(given.entries.into_iter().map(|entry| (entry.key, entry.value)));
    let found = catalog.matching(domain, &descriptor);
    let Some(limit) = given.limit else {
        let slot = |compiled: &Arc<Compiled>| Slot::new(app, catalog, compiled, descriptor.clone(), hits);
        return found.iter().map(slot).collect();
    };
    // A limit that comes with the request counts in the bucket of the policy that it takes the place of.
    let compiled = found.first().cloned().unwrap_or_else(|| Arc::new(of_request(domain, &descriptor)));
    let rule = Rule::new(overriding(&limit), "request");
    vec![Slot::with_rule(app, &compiled, rule, descriptor, hits)]
}

/// Seconds of Envoy's units, of either enum: `type.v3.RateLimitUnit` has no week, and the others are the same.
fn seconds(unit: i32) -> Option<u64> {
    const DAY: u64 = 86_400;
    [1, 60, 3600, DAY, 30 * DAY, 365 * DAY, 7 * DAY].get(usize::try_from(unit).ok()?.checked_sub(1)?).copied()
}

fn overriding(limit: &RateLimitOverride) -> Limit {
    match (limit.requests_per_unit, seconds(limit.unit)) {
        (0, _) | (_, None) => Limit::BLOCK,
        (amount, Some(seconds)) => {
            Limit { mode: Mode::Enforce, amount: amount.into(), period: Duration::from_secs(seconds), burst: 0 }
        }
    }
}

fn of_request(domain: &str, descriptor: &Descriptor) -> Compiled {
    let entry = |(key, _): &(CompactString, CompactString)| Entry { key: key.to_string(), value: None };
    Compiled::alone(Policy {
        id: PolicyId::of_requests(domain),
        domain: domain.to_owned(),
        entries: descriptor.entries.iter().map(entry).collect(),
        limit: Limit::UNLIMITED,
        plans: BTreeMap::new(),
        tenants: BTreeMap::new(),
        outage: None,
        post_charge: false,
        lease: 0,
        version: 0,
        origin: Origin::Api,
        updated: None,
    })
}

fn check(request: &RateLimitRequest) -> Result<(), Error> {
    let mut violations = Violations::new();
    if !(1..=Policy::DOMAIN).contains(&request.domain.len()) {
        violations.add("domain", format!("must be 1 to 128 bytes; {} were sent", request.domain.len()));
    }
    if request.descriptors.is_empty() {
        violations.add("descriptors", "must be 1 to 16; none was sent");
    }
    for (index, descriptor) in request.descriptors.iter().enumerate() {
        let field = |part: &str| format!("descriptors[{index}].{part}");
        let entries = &descriptor.entries;
        if !(1..=Policy::ENTRIES).contains(&entries.len()) {
            violations.add(field("entries"), format!("must be 1 to 8; {} were sent", entries.len()));
        }
        for entry in entries.iter().take(Policy::ENTRIES) {
            if !(1..=256).contains(&entry.key.len()) {
                violations.add(field("entries.key"), format!("must be 1 to 256 bytes; {} were sent", entry.key.len()));
            }
            if entry.value.len() > VALUE {
                let rule = format!("must be at most {VALUE} bytes; {} were sent", entry.value.len());
                violations.add(field("entries.value"), rule);
            }
        }
        if let Some(hits) = descriptor.hits_addend.as_ref().filter(|hits| hits.value > Limit::MOST) {
            violations.add(field("hits_addend"), format!("must be at most {}; {} was sent", Limit::MOST, hits.value));
        }
        if let Some(limit) = descriptor.limit.as_ref().filter(|limit| seconds(limit.unit).is_none()) {
            violations.add(field("limit.unit"), format!("must be a unit of time; {} was sent", limit.unit));
        }
    }
    violations.into_result(()).map_err(Error::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_both_enums() {
        let days = |unit| seconds(unit).map(|seconds| seconds / 86_400);
        assert_eq!((seconds(0), seconds(1), seconds(2), seconds(3)), (None, Some(1), Some(60), Some(3600)));
        assert_eq!(
            (days(4), days(5), days(6), days(7), days(8), days(-1)),
            (Some(1), Some(30), Some(365), Some(7), None, None)
        );
    }

    #[test]
    fn an_override_of_nothing_blocks() {
        assert_eq!(overriding(&RateLimitOverride { requests_per_unit: 0, unit: 1 }), Limit::BLOCK);
        let five = overriding(&RateLimitOverride { requests_per_unit: 5, unit: 2 });
        assert_eq!(five, Limit::per(5, Duration::from_mins(1)));
    }
}

//! Charges that are named, to be settled or refunded later.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use sha2::{Digest, Sha256};

use super::call::{Call, Outcome, Slot, Source};
use crate::domain::{Catalog, Descriptor, Limit, Meter, PolicyId, Rule};

/// What a charge is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargeKind {
    /// It was acquired, and may be refunded.
    Acquired = 1,
    /// It was reserved, and is to be settled.
    Reserved = 2,
}

/// A charge, as callers hold it. Whoever makes one up finds no record of it.
#[derive(Clone, PartialEq, Message)]
pub struct Charge {
    /// [`ChargeKind`].
    #[prost(int32, tag = "1")]
    kind: i32,
    /// The request's id.
    #[prost(string, tag = "2")]
    id: String,
    /// What was charged to each limit.
    #[prost(uint64, tag = "3")]
    cost: u64,
    /// The limits.
    #[prost(message, repeated, tag = "4")]
    limits: Vec<Charged>,
    /// It was admitted while the store was away: owners may have no record of it.
    #[prost(bool, tag = "5")]
    outage: bool,
}

/// One limit of a charge.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Charged {
    #[prost(string, tag = "1")]
    policy: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<Pair>,
    /// The meter's numbers, for a policy that is gone when it is settled.
    #[prost(uint64, tag = "3")]
    n: u64,
    #[prost(uint64, tag = "4")]
    p: u64,
    #[prost(uint64, tag = "5")]
    burst: u64,
}

/// An entry.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Pair {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

// === impl Charge ===

impl Charge {
    /// What `call` charges at `cost` each, under the id `id`.
    #[must_use]
    pub fn of(kind: ChargeKind, id: &str, cost: u64, call: &Call) -> Charge {
        let limits = call.slots.iter().filter_map(|slot| Some(Charged::of(slot, slot.meter()?)));
        Charge { kind: kind as i32, id: id.to_owned(), cost, limits: limits.collect(), outage: false }
    }

    /// This charge as `outcome` has admitted it.
    #[must_use]
    pub fn admitted(self, outcome: &Outcome) -> Charge {
        Charge { outage: outcome.source == Source::Outage, ..self }
    }

    /// Tells it from other requests of the same id.
    #[must_use]
    pub fn print(&self) -> [u8; 16] {
        // Not the meters, nor the outage: they may change between two attempts of the same request.
        let mut plain = Charge { outage: false, ..self.clone() };
        plain.limits.iter_mut().for_each(|limit| (limit.n, limit.p, limit.burst) = (0, 0, 0));
        let digest = Sha256::digest(plain.encode_to_vec());
        std::array::from_fn(|index| digest[index])
    }

    /// As callers hold it.
    #[must_use]
    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.encode_to_vec())
    }

    /// Reads what a caller holds: a charge of this kind, of this tenant. None if it is not one.
    #[must_use]
    pub fn parse(text: &str, kind: ChargeKind, tenant: &str) -> Option<Charge> {
        let charge = Charge::decode(&*URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let bounded = charge.limits.len() <= 16 && !charge.id.is_empty() && charge.cost <= Limit::MOST;
        let whole = charge.limits.iter().all(|limit| {
            let own = limit.descriptor().tenant().is_none_or(|of| of == tenant);
            own && limit.has_meter() && PolicyId::parse(&limit.policy, "").is_ok()
        });
        (charge.kind == kind as i32 && bounded && whole).then_some(charge)
    }

    /// What was charged.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// The request's id.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether owners may have no record of it.
    pub(super) fn is_of_an_outage(&self) -> bool {
        self.outage
    }

    pub(super) fn limits(&self) -> &[Charged] {
        &self.limits
    }
}

// === impl Charged ===

impl Charged {
    fn of(slot: &Slot, meter: Meter) -> Charged {
        let entries = slot.descriptor.entries.iter();
        let entries = entries.map(|(key, value)| Pair { key: key.to_string(), value: value.to_string() }).collect();
        let policy = slot.applied.compiled.policy.id.as_str().to_owned();
        Charged { policy, entries, n: meter.n(), p: meter.p(), burst: meter.burst() }
    }

    pub(super) fn policy(&self) -> &str {
        &self.policy
    }

    /// Whether a limit can have its numbers. Callers hold them, and the print does not say them.
    fn has_meter(&self) -> bool {
        (1..=Limit::MOST).contains(&self.n)
            && (1..=Limit::LONGEST.as_micros()).contains(&self.p.into())
            && (1..=Limit::MOST).contains(&self.burst)
            && self.meter().capacity().duration() <= Limit::DRAIN
    }

    /// The limit in numbers, as it was charged.
    pub(super) fn meter(&self) -> Meter {
        Meter::new(self.n, self.p, self.burst)
    }

    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.entries.iter().map(|pair| (&*pair.key, &*pair.value)))
    }

    /// The limit as it is today, if it still counts something.
    pub(super) fn rule(&self, catalog: &Catalog, descriptor: &Descriptor) -> Option<Arc<Rule>> {
        let rule = catalog.apply(catalog.get(&self.policy)?, descriptor).rule;
        rule.meter.is_some().then_some(rule)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn charge(policy: &str, entries: &[(&str, &str)]) -> Charge {
        let pair = |(key, value): &(&str, &str)| Pair { key: (*key).to_owned(), value: (*value).to_owned() };
        let entries = entries.iter().map(pair).collect();
        let limit = Charged { policy: policy.to_owned(), entries, n: 1, p: 1_000_000, burst: 10 };
        let limits = vec![limit];
        Charge { kind: ChargeKind::Reserved as i32, id: "r-1".to_owned(), cost: 7, limits, outage: false }
    }

    #[test]
    fn a_charge_is_read_as_it_was_written_by_its_tenant_and_for_its_purpose() {
        let own = charge("p", &[("tenant", "acme"), ("user", "u")]);
        let text = own.text();
        assert_eq!(Charge::parse(&text, ChargeKind::Reserved, "acme"), Some(own));
        assert_eq!(Charge::parse(&text, ChargeKind::Acquired, "acme"), None);
        assert_eq!(Charge::parse(&text, ChargeKind::Reserved, "globex"), None);
        assert_eq!(Charge::parse(&charge("a b", &[]).text(), ChargeKind::Reserved, "acme"), None);
    }

    #[test]
    fn numbers_that_no_limit_has_are_no_charge() {
        let month = 31 * 86_400_000_000;
        for (n, p, burst, valid) in [
            (1, 1_000_000, 10, true),
            (1, month, 11, true),
            (1, month, 12, false),
            (1_000_000, 1, Limit::MOST, true),
            (1_000_000, 1, Limit::MOST + 1, false),
            (1, 1_000_000, u64::MAX, false),
            (1, 1_000_000, 0, false),
            (0, 1_000_000, 10, false),
            (1, 0, 10, false),
            (1, month + 1, 1, false),
            (Limit::MOST, 1, 10, true),
            (Limit::MOST + 1, 1, 10, false),
        ] {
            let mut forged = charge("p", &[("tenant", "acme")]);
            (forged.limits[0].n, forged.limits[0].p, forged.limits[0].burst) = (n, p, burst);
            let parsed = Charge::parse(&forged.text(), ChargeKind::Reserved, "acme");
            assert_eq!(parsed.is_some(), valid, "{burst} at {n} in {p} us");
        }
    }

    #[test]
    fn a_print_is_of_what_is_charged_and_not_of_the_limits_numbers() {
        let one = charge("p", &[("tenant", "acme")]);
        let mut other = one.clone();
        other.limits[0].burst = 99;
        other.outage = true;
        assert_eq!(one.print(), other.print());
        other.cost = 8;
        assert_ne!(one.print(), other.print());
        assert_ne!(one.print(), charge("q", &[("tenant", "acme")]).print());
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "[A-Za-z0-9_-]{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let encoded = URL_SAFE_NO_PAD.encode(bytes);
            for text in [text, encoded] {
                if let Some(charge) = Charge::parse(&text, ChargeKind::Reserved, "acme") {
                    prop_assert!(charge.limits.len() <= 16);
                    let _ = charge.print();
                }
            }
        }
    }
}

//! Charges as callers hold them: tokens by which a charge is settled or refunded later.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use prost::Message;
use sha2::{Digest, Sha256};

use super::call::{Call, CallLimit};
use super::outcome::{Outcome, Source};
use crate::domain::{Catalog, Descriptor, Limit, Meter, PolicyId, Rule};

/// Purpose of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChargeKind {
    /// Charge of an Acquire, to be refunded.
    Acquired = 1,
    /// Charge of a Reserve, to be settled.
    Reserved = 2,
}

/// Charge of a call. A forged one has no record in the store.
#[derive(Clone, PartialEq, Message)]
pub struct Charge {
    /// [`ChargeKind`].
    #[prost(int32, tag = "1")]
    kind: i32,
    /// Request id.
    #[prost(string, tag = "2")]
    pub(super) id: String,
    /// Hits charged to each limit.
    #[prost(uint64, tag = "3")]
    cost: u64,
    /// Limits that were charged.
    #[prost(message, repeated, tag = "4")]
    pub(super) limits: Vec<ChargedLimit>,
    /// True if the store was unavailable: owners may have no record.
    #[prost(bool, tag = "5")]
    pub(super) outage: bool,
}

/// Limit of a charge.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ChargedLimit {
    #[prost(string, tag = "1")]
    pub(super) policy: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<ChargedEntry>,
    /// Numbers of the meter, for a policy that is deleted before the settlement.
    #[prost(uint64, tag = "3")]
    n: u64,
    #[prost(uint64, tag = "4")]
    p: u64,
    #[prost(uint64, tag = "5")]
    burst: u64,
}

/// Entry of a descriptor.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ChargedEntry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

// === impl Charge ===

impl Charge {
    /// Charge of `call` at `cost` for each limit, under the request id `id`.
    #[must_use]
    pub fn new(kind: ChargeKind, id: &str, cost: u64, call: &Call) -> Charge {
        let limits = call.limits.iter().filter_map(|limit| Some(ChargedLimit::new(limit, limit.meter()?)));
        Charge { kind: kind as i32, id: id.to_owned(), cost, limits: limits.collect(), outage: false }
    }

    /// Charge, with the source of its outcome.
    #[must_use]
    pub fn admitted(self, outcome: &Outcome) -> Charge {
        Charge { outage: outcome.source == Source::Outage, ..self }
    }

    /// Fingerprint of the request: it differs between requests of one id.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 16] {
        // Meters and outage may change between two attempts of the same request.
        let mut plain = Charge { outage: false, ..self.clone() };
        plain.limits.iter_mut().for_each(|limit| (limit.n, limit.p, limit.burst) = (0, 0, 0));
        let digest = Sha256::digest(plain.encode_to_vec());
        std::array::from_fn(|index| digest[index])
    }

    /// Token for callers.
    #[must_use]
    pub fn text(&self) -> String {
        BASE64URL_NOPAD.encode(&self.encode_to_vec())
    }

    /// Reads the token of a charge of this kind and tenant; none if it is not one.
    #[must_use]
    pub fn parse(text: &str, kind: ChargeKind, tenant: &str) -> Option<Charge> {
        let charge = Charge::decode(&*BASE64URL_NOPAD.decode(text.as_bytes()).ok()?).ok()?;
        let bounded = charge.limits.len() <= 16 && !charge.id.is_empty() && charge.cost <= Limit::MOST;
        let whole = charge.limits.iter().all(|limit| {
            let is_own = limit.descriptor().tenant().is_none_or(|own| own == tenant);
            is_own && limit.has_meter() && PolicyId::parse(&limit.policy, "").is_ok()
        });
        (charge.kind == kind as i32 && bounded && whole).then_some(charge)
    }

    /// Hits charged to each limit.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.cost
    }
}

// === impl ChargedLimit ===

impl ChargedLimit {
    fn new(limit: &CallLimit, meter: Meter) -> ChargedLimit {
        let entries = limit.descriptor.entries.iter();
        let entries =
            entries.map(|(key, value)| ChargedEntry { key: key.to_string(), value: value.to_string() }).collect();
        let policy = limit.applied.compiled.policy.id.as_str().to_owned();
        ChargedLimit { policy, entries, n: meter.n(), p: meter.p(), burst: meter.burst() }
    }

    /// Returns whether a limit can have these numbers. Callers hold them, and the fingerprint does not cover them.
    fn has_meter(&self) -> bool {
        (1..=Limit::MOST).contains(&self.n)
            && (1..=Limit::LONGEST.as_micros()).contains(&self.p.into())
            && (1..=Limit::MOST).contains(&self.burst)
            && self.meter().capacity().duration() <= Limit::DRAIN
    }

    /// Meter of the charge.
    pub(super) fn meter(&self) -> Meter {
        Meter::new(self.n, self.p, self.burst)
    }

    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.entries.iter().map(|entry| (&*entry.key, &*entry.value)))
    }

    /// Limit in force, if it still counts something.
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
        let entry = |(key, value): &(&str, &str)| ChargedEntry { key: (*key).to_owned(), value: (*value).to_owned() };
        let entries = entries.iter().map(entry).collect();
        let limit = ChargedLimit { policy: policy.to_owned(), entries, n: 1, p: 1_000_000, burst: 10 };
        let limits = vec![limit];
        Charge { kind: ChargeKind::Reserved as i32, id: "r-1".to_owned(), cost: 7, limits, outage: false }
    }

    #[test]
    fn charge_is_read_back_by_its_tenant_and_for_its_purpose() {
        let own = charge("p", &[("tenant", "acme"), ("user", "u")]);
        let text = own.text();
        assert_eq!(Charge::parse(&text, ChargeKind::Reserved, "acme"), Some(own));
        assert_eq!(Charge::parse(&text, ChargeKind::Acquired, "acme"), None);
        assert_eq!(Charge::parse(&text, ChargeKind::Reserved, "globex"), None);
        assert_eq!(Charge::parse(&charge("a b", &[]).text(), ChargeKind::Reserved, "acme"), None);
    }

    #[test]
    fn charge_with_numbers_of_no_limit_is_rejected() {
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
    fn fingerprint_covers_the_charge_and_not_the_meters() {
        let first = charge("p", &[("tenant", "acme")]);
        let mut other = first.clone();
        other.limits[0].burst = 99;
        other.outage = true;
        assert_eq!(first.fingerprint(), other.fingerprint());
        other.cost = 8;
        assert_ne!(first.fingerprint(), other.fingerprint());
        assert_ne!(first.fingerprint(), charge("q", &[("tenant", "acme")]).fingerprint());
    }

    fn numbers() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), Just(1), Just(Limit::MOST), Just(Limit::MOST + 1), Just(u64::MAX), 1..=1_000_000_u64]
    }

    /// Returns whether a burst leaks away in time, computed without the meter.
    fn drains(n: u64, p: u64, burst: u64) -> bool {
        (u128::from(burst) * u128::from(p)).div_ceil(u128::from(n)) <= Limit::DRAIN.as_micros()
    }

    proptest! {
        #[test]
        fn token_is_accepted_exactly_within_its_bounds(
            kind in 1..=2_i32,
            id in "[a-z]{0,2}",
            cost in numbers(),
            limits in prop_oneof![0..=2_usize, 15..=17_usize],
            policy in prop_oneof![4 => Just("p"), 1 => Just("a b")],
            tenant in prop_oneof![4 => Just("acme"), 1 => Just("globex")],
            (n, p, burst) in (numbers(), numbers(), numbers()),
        ) {
            let mut forged = charge(policy, &[("tenant", tenant)]);
            (forged.limits[0].n, forged.limits[0].p, forged.limits[0].burst) = (n, p, burst);
            forged.limits = vec![forged.limits[0].clone(); limits];
            (forged.kind, forged.id, forged.cost) = (kind, id.clone(), cost);
            let bounds = 1..=Limit::MOST;
            let periods = 1..=u64::try_from(Limit::LONGEST.as_micros()).unwrap();
            let meter = bounds.contains(&n) && periods.contains(&p) && bounds.contains(&burst) && drains(n, p, burst);
            let whole = limits == 0 || (policy == "p" && tenant == "acme" && meter);
            let valid = kind == 2 && !id.is_empty() && cost <= Limit::MOST && limits <= 16 && whole;
            let parsed = Charge::parse(&forged.text(), ChargeKind::Reserved, "acme");
            prop_assert_eq!(parsed, valid.then_some(forged));
        }

        #[test]
        fn damaged_token_stays_within_the_bounds(
            index in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<bool>(),
        ) {
            let mut bytes = charge("p", &[("tenant", "acme"), ("user", "u")]).encode_to_vec();
            let index = index.index(bytes.len());
            if cut { bytes.truncate(index) } else { bytes[index] = byte }
            if let Some(charge) = Charge::parse(&BASE64URL_NOPAD.encode(&bytes), ChargeKind::Reserved, "acme") {
                prop_assert!(charge.cost() <= Limit::MOST && charge.limits.len() <= 16);
                let own = |limit: &ChargedLimit| limit.descriptor().tenant().is_none_or(|tenant| tenant == "acme");
                prop_assert!(charge.limits.iter().all(|limit| limit.has_meter() && own(limit)));
            }
        }
    }
}

//! Metrics of the service. Calls record nothing here: policies count their decisions, and a scrape reads the counters.

use std::sync::atomic::{AtomicU64, Ordering};

use keyplane_telemetry::metrics::{meter, observed};
use keyplane_telemetry::semconv;
use opentelemetry::KeyValue;

use super::limiter::Limiter;
use super::policies::Policies;
use crate::domain::Figures;

/// Counter of a policy.
type Figure = fn(&Figures) -> &AtomicU64;

/// Counters of a policy, by outcome of the call.
const OUTCOMES: [(&str, Figure); 6] = [
    ("admitted", |figures| &figures.admitted),
    ("denied", |figures| &figures.denied),
    ("denied_from_cache", |figures| &figures.denied_from_cache),
    ("shadow_denied", |figures| &figures.shadow_denied),
    ("store_away", |figures| &figures.outage),
    ("leased", |figures| &figures.leased),
];

/// Publishes the counters of all policies, and the size of the denial cache. Call once, after telemetry is set up.
pub(crate) fn publish(policies: &Policies, limiter: &Limiter) {
    let current = policies.clone();
    meter()
        .u64_observable_counter(semconv::KEYPLANE_RATELIMIT_DECISIONS)
        .with_unit("{call}")
        .with_description("Decisions of policies on calls")
        .with_callback(move |observer| {
            for compiled in current.load().all() {
                for (outcome, figure) in OUTCOMES {
                    let value = figure(&compiled.figures).load(Ordering::Relaxed);
                    if value > 0 {
                        let policy = compiled.policy.id.to_string();
                        observer.observe(
                            value,
                            &[
                                KeyValue::new(semconv::KEYPLANE_RATELIMIT_POLICY, policy),
                                KeyValue::new(semconv::KEYPLANE_RATELIMIT_OUTCOME, outcome),
                            ],
                        );
                    }
                }
            }
        })
        .build();
    let current = policies.clone();
    let version = move || i64::try_from(current.load().version()).ok();
    let description = "Version of the policies that this instance knows";
    observed(semconv::KEYPLANE_RATELIMIT_POLICIES_VERSION, "1", description, version);
    let limiter = limiter.clone();
    let denials = move || i64::try_from(limiter.denials()).ok();
    let description = "Full buckets in the denial cache of this instance";
    observed(semconv::KEYPLANE_RATELIMIT_DENIALS, "{bucket}", description, denials);
}

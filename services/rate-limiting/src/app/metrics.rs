//! What the service measures. Nothing is recorded on a call's way: policies count for themselves, and are read when somebody
//! asks.

use std::sync::atomic::{AtomicU64, Ordering};

use keyplane_telemetry::metrics::meter;
use keyplane_telemetry::semconv;
use opentelemetry::KeyValue;

use super::limiter::Limiter;
use super::policies::Policies;
use crate::domain::Figures;

/// One of a policy's figures.
type Figure = fn(&Figures) -> &AtomicU64;

/// What is counted of a policy, by what became of the call.
const OUTCOMES: [(&str, Figure); 6] = [
    ("admitted", |figures| &figures.admitted),
    ("denied", |figures| &figures.denied),
    ("denied_from_cache", |figures| &figures.denied_from_cache),
    ("shadow_denied", |figures| &figures.shadow_denied),
    ("store_away", |figures| &figures.outage),
    ("leased", |figures| &figures.leased),
];

/// Publishes the figures of all policies, and of what this instance remembers. To be called once, after telemetry is set up.
pub(crate) fn publish(policies: &Policies, limiter: &Limiter) {
    let followed = policies.clone();
    meter()
        .u64_observable_counter(semconv::KEYPLANE_RATELIMIT_DECISIONS)
        .with_unit("{call}")
        .with_description("What policies said of calls")
        .with_callback(move |observer| {
            for compiled in followed.load().all() {
                for (outcome, of) in OUTCOMES {
                    let value = of(&compiled.figures).load(Ordering::Relaxed);
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
    let followed = policies.clone();
    meter()
        .u64_observable_gauge(semconv::KEYPLANE_RATELIMIT_POLICIES_VERSION)
        .with_unit("1")
        .with_description("Version of the policies that this instance knows")
        .with_callback(move |observer| observer.observe(followed.load().version(), &[]))
        .build();
    let limiter = limiter.clone();
    meter()
        .u64_observable_gauge(semconv::KEYPLANE_RATELIMIT_DENIALS)
        .with_unit("{bucket}")
        .with_description("Full buckets that this instance remembers")
        .with_callback(move |observer| observer.observe(limiter.denials() as u64, &[]))
        .build();
}

//! Checks and converts Envoy's requests.

use std::time::Duration;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use keyplane_contracts::Violations;
use keyplane_contracts::rules::ratelimit as stated;
use tonic::metadata::MetadataMap;

use crate::app::gateway::Counted;
use crate::domain::{Descriptor, Limit, Mode};
use crate::error::Error;

/// Most descriptors of a request; more are answered by [`super::envoy_reply::too_many`].
pub(in crate::grpc) const DESCRIPTORS: usize = 16;
/// Longest value, in bytes. Keys hash values that do not fit; longer values are abuse, and must not pass either.
const VALUE: usize = 16 * 1024;

/// Request id of a call, if its length is plausible.
pub(in crate::grpc) fn request_id(metadata: &MetadataMap) -> Option<String> {
    let id = metadata.get("x-request-id").and_then(|id| id.to_str().ok());
    id.filter(|id| (1..=128).contains(&id.len())).map(str::to_owned)
}

/// Domain of a request, and the hits of each descriptor.
pub(in crate::grpc) fn read(request: RateLimitRequest) -> Result<(String, impl Iterator<Item = Counted>), Error> {
    check(&request)?;
    let RateLimitRequest { domain, descriptors, hits_addend } = request;
    Ok((domain, descriptors.into_iter().map(move |descriptor| counted(descriptor, hits_addend))))
}

fn counted(descriptor: RateLimitDescriptor, hits_addend: u32) -> Counted {
    Counted {
        // Envoy leaves out a number of 1.
        hits: descriptor.hits_addend.as_ref().map_or_else(|| hits_addend.max(1).into(), |hits| hits.value),
        negative: descriptor.is_negative_hits,
        limit: descriptor.limit.as_ref().map(overriding),
        descriptor: Descriptor::new(descriptor.entries.into_iter().map(|entry| (entry.key, entry.value))),
    }
}

/// Seconds of Envoy's units, of either enum: `type.v3.RateLimitUnit` has no week and is otherwise equal.
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

fn check(request: &RateLimitRequest) -> Result<(), Error> {
    let mut violations = Violations::new();
    if !(1..=stated::DOMAIN).contains(&request.domain.len()) {
        violations.add("domain", format!("must be 1 to 128 bytes; {} were sent", request.domain.len()));
    }
    if request.descriptors.is_empty() {
        violations.add("descriptors", "must be 1 to 16; none was sent");
    }
    for (index, descriptor) in request.descriptors.iter().enumerate() {
        let field = |part: &str| format!("descriptors[{index}].{part}");
        let entries = &descriptor.entries;
        if !(1..=stated::ENTRIES).contains(&entries.len()) {
            violations.add(field("entries"), format!("must be 1 to 8; {} were sent", entries.len()));
        }
        for entry in entries.iter().take(stated::ENTRIES) {
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
    fn units_of_both_enums_have_seconds() {
        let days = |unit| seconds(unit).map(|seconds| seconds / 86_400);
        assert_eq!((seconds(0), seconds(1), seconds(2), seconds(3)), (None, Some(1), Some(60), Some(3600)));
        assert_eq!(
            (days(4), days(5), days(6), days(7), days(8), days(-1)),
            (Some(1), Some(30), Some(365), Some(7), None, None)
        );
    }

    #[test]
    fn override_of_zero_requests_blocks() {
        assert_eq!(overriding(&RateLimitOverride { requests_per_unit: 0, unit: 1 }), Limit::BLOCK);
        let five = overriding(&RateLimitOverride { requests_per_unit: 5, unit: 2 });
        assert_eq!(five, Limit::per(5, Duration::from_mins(1)));
    }
}

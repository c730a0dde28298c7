//! Converts decisions to Envoy's replies: a status for each descriptor, headers for the client, metadata for later filters.

use std::fmt::Write as _;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus, RateLimit};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Duration as Span, Struct, Value};

use keyplane_contracts::reasons::gateway::TOO_MANY_DESCRIPTORS;

use super::envoy_request::DESCRIPTORS;
use crate::app::gateway::{Decided, Met};
use crate::domain::Limit;

/// Reply to a request.
pub(in crate::grpc) fn reply(decided: &Decided) -> RateLimitResponse {
    let strictest = decided.strictest();
    let mut all: Vec<Met<'_>> = strictest.iter().flatten().copied().collect();
    all.sort_by(|former, other| former.rank().total_cmp(&other.rank()));
    let code = if decided.admitted() { Code::Ok } else { Code::OverLimit };
    RateLimitResponse {
        overall_code: code.into(),
        statuses: strictest.iter().map(|met| met.map_or_else(unlimited, descriptor_status)).collect(),
        response_headers_to_add: headers(&all),
        dynamic_metadata: all.first().map(|met| metadata(*met, decided)),
        ..RateLimitResponse::default()
    }
}

/// Reply to too many descriptors: nothing is charged, and the request does not pass. `reason` in the metadata is for the gateway,
/// the body for its clients.
pub(in crate::grpc) fn too_many(sent: usize) -> RateLimitResponse {
    let status = DescriptorStatus { code: Code::OverLimit.into(), ..DescriptorStatus::default() };
    let reason = Value { kind: Some(Kind::StringValue(TOO_MANY_DESCRIPTORS.name.to_owned())) };
    let body = format!(
        "rate limiting takes at most {DESCRIPTORS} descriptors for a request; the gateway's rate_limits made {sent} for this one"
    );
    RateLimitResponse {
        overall_code: Code::OverLimit.into(),
        statuses: vec![status; sent],
        dynamic_metadata: Some(Struct { fields: [("reason".to_owned(), reason)].into() }),
        raw_body: body.into_bytes(),
        ..RateLimitResponse::default()
    }
}

/// Status of a descriptor that no policy matches.
fn unlimited() -> DescriptorStatus {
    DescriptorStatus { code: Code::Ok.into(), ..DescriptorStatus::default() }
}

// === one limit ===

/// Hits that remain, as far as they are known. Without end where the store was not asked, as envoyproxy/ratelimit has it for
/// unlimited ones: 0 would be a limit that is used up.
fn remaining(met: Met<'_>) -> u32 {
    let unknown = if met.state.verdict.denies() { 0 } else { u32::MAX };
    if met.state.counted { clamped(met.state.remaining) } else { unknown }
}

/// Limit as the headers name it: one policy may have another limit for each tenant.
fn limit(met: Met<'_>) -> (&str, u64, Duration) {
    let limit = met.limit.applied.rule.limit;
    (policy(met), limit.amount, limit.period)
}

fn policy(met: Met<'_>) -> &str {
    met.limit.applied.compiled.policy.id.as_str()
}

fn descriptor_status(met: Met<'_>) -> DescriptorStatus {
    let (name, amount, period) = limit(met);
    let current = met.state.counted.then(|| RateLimit {
        name: name.to_owned(),
        requests_per_unit: clamped(amount),
        unit: unit(period).into(),
    });
    DescriptorStatus {
        code: if met.state.verdict.denies() { Code::OverLimit } else { Code::Ok }.into(),
        current_limit: current,
        limit_remaining: remaining(met),
        duration_until_reset: met.state.counted.then(|| span(until(met))),
        ..DescriptorStatus::default()
    }
}

/// Time until this cost has room or, where it has room already, until more remains: `t` of the headers.
fn until(met: Met<'_>) -> Duration {
    met.state.retry_after.unwrap_or(met.state.more_after)
}

fn metadata(met: Met<'_>, decided: &Decided) -> Struct {
    let text = |text: &str| Some(Kind::StringValue(text.to_owned()));
    let rule = &met.limit.applied.rule;
    let fields = [
        ("policy", text(policy(met))),
        ("rule", text(&rule.name)),
        ("burst", Some(Kind::NumberValue(rule.limit.full_burst() as f64))),
        ("shadow_would_deny", decided.shadow_denied().then_some(Kind::BoolValue(true))),
        ("store_away", decided.degraded().then_some(Kind::BoolValue(true))),
    ];
    let fields = fields.into_iter().filter_map(|(name, kind)| Some((name.to_owned(), Value { kind: Some(kind?) })));
    Struct { fields: fields.collect() }
}

// === headers ===

/// Headers with the numbers of the limit that matters most, by the third version of draft-ietf-httpapi-ratelimit-headers (which
/// clients read) and by its current one, and the time to retry.
fn headers(all: &[Met<'_>]) -> Vec<HeaderValue> {
    let mut headers = Vec::with_capacity(6);
    let mut add = |key: &str, value: String| {
        headers.push(HeaderValue { key: key.to_owned(), value, ..HeaderValue::default() });
    };
    let Some(first) = all.first() else { return headers };
    if first.state.counted {
        let Limit { amount, period, .. } = first.limit.applied.rule.limit;
        let policy = &first.limit.applied.compiled.policy.id;
        let (remaining, until) = (first.state.remaining, seconds(until(*first)));
        let burst = first.limit.applied.rule.limit.full_burst();
        add("x-ratelimit-limit", format!("{burst}, {amount};w={}", seconds(period)));
        add("x-ratelimit-remaining", remaining.to_string());
        add("x-ratelimit-reset", until.to_string());
        add("ratelimit-policy", policies(all));
        add("ratelimit", format!("\"{policy}\";r={remaining};t={until}"));
    }
    if let Some(wait) = first.state.retry_after.filter(|_| first.state.verdict.denies()) {
        add("retry-after", seconds(wait).max(1).to_string());
    }
    headers
}

/// Limits, each once, however many descriptors meet it.
fn policies(all: &[Met<'_>]) -> String {
    let mut list = String::new();
    for (index, met) in all.iter().enumerate().filter(|(_, met)| met.state.counted) {
        let known = |other: &Met<'_>| other.state.counted && limit(*other) == limit(*met);
        if all[..index].iter().any(known) {
            continue;
        }
        let comma = if list.is_empty() { "" } else { ", " };
        let (id, amount, period) = limit(*met);
        // Writes to a String never fail.
        let _ = write!(list, "{comma}\"{id}\";q={amount};w={}", seconds(period));
    }
    list
}

/// Whole seconds, rounded up, so that a wait is never too short.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn span(duration: Duration) -> Span {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Span { seconds, nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default() }
}

fn clamped(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Envoy's unit for a period; unknown for periods that Envoy does not name.
fn unit(period: Duration) -> Unit {
    const DAY: u64 = 86_400;
    match (period.as_secs(), period.subsec_nanos()) {
        (1, 0) => Unit::Second,
        (60, 0) => Unit::Minute,
        (3600, 0) => Unit::Hour,
        (DAY, 0) => Unit::Day,
        (seconds, 0) if seconds == 7 * DAY => Unit::Week,
        (seconds, 0) if seconds == 30 * DAY => Unit::Month,
        (seconds, 0) if seconds == 365 * DAY => Unit::Year,
        _ => Unit::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_micros(1)), 1);
        assert_eq!(seconds(Duration::from_secs(2)), 2);
        assert_eq!(seconds(Duration::from_nanos(2_000_000_001)), 3);
    }

    #[test]
    fn periods_have_units_or_none() {
        assert_eq!(unit(Duration::from_secs(60)), Unit::Minute);
        assert_eq!(unit(Duration::from_secs(7 * 86_400)), Unit::Week);
        assert_eq!(unit(Duration::from_secs(300)), Unit::Unknown);
        assert_eq!(unit(Duration::from_millis(1500)), Unit::Unknown);
    }
}

//! What Envoy is told: a status for each descriptor, headers for the client, metadata for the filters after.

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
use crate::app::gateway::{Decided, Hits};
use crate::app::limiter::{Call, Outcome, Slot, State, Verdict};
use crate::domain::Limit;

/// A limit, and what it says.
#[derive(Clone, Copy)]
struct Said<'a> {
    slot: &'a Slot,
    state: &'a State,
}

/// The answer to a request.
pub(in crate::grpc) fn reply(decided: &Decided) -> RateLimitResponse {
    let said: Vec<Option<Said<'_>>> = decided.hits.iter().map(|hits| strictest(decided, hits)).collect();
    let mut all: Vec<Said<'_>> = said.iter().flatten().copied().collect();
    all.sort_by(|one, other| one.rank().total_cmp(&other.rank()));
    let code = if decided.admitted() { Code::Ok } else { Code::OverLimit };
    RateLimitResponse {
        overall_code: code.into(),
        statuses: said.iter().map(|said| said.map_or_else(unlimited, |said| said.status())).collect(),
        response_headers_to_add: headers(&all),
        dynamic_metadata: all.first().map(|said| said.metadata(decided)),
        ..RateLimitResponse::default()
    }
}

/// The answer to more descriptors than are taken: nothing is charged, and the request does not pass. `reason` in the metadata is
/// for the gateway, the body for its clients.
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

/// Of the limits of a descriptor, the one that matters most.
fn strictest<'a>(decided: &'a Decided, hits: &'a Hits) -> Option<Said<'a>> {
    let of = |part: &'a Option<(Call, Outcome)>, index: usize| {
        let (call, outcome) = part.as_ref()?;
        Some(Said { slot: call.slots.get(index)?, state: outcome.limits.get(index)? })
    };
    let taken_back = |index: usize| decided.taken_back.get(index).map(|(slot, state)| Said { slot, state });
    match hits {
        Hits::Unmatched => None,
        Hits::GivenBack(slots) => lowest(slots, taken_back),
        Hits::Charged(slots) => lowest(slots, |index| of(&decided.charged, index)),
        Hits::Asked(slots) => lowest(slots, |index| of(&decided.peeked, index)),
    }
}

fn lowest<'a>(slots: &[usize], said: impl Fn(usize) -> Option<Said<'a>>) -> Option<Said<'a>> {
    slots.iter().filter_map(|index| said(*index)).min_by(|one, other| one.rank().total_cmp(&other.rank()))
}

/// No policy is for it.
fn unlimited() -> DescriptorStatus {
    DescriptorStatus { code: Code::Ok.into(), ..DescriptorStatus::default() }
}

// === impl Said ===

impl Said<'_> {
    /// The lower, the more it matters: first what refuses, and of those what refuses longest; then what has least left.
    fn rank(self) -> f64 {
        if self.state.verdict.is_final() {
            return f64::NEG_INFINITY;
        }
        if self.state.verdict.refuses() {
            return -1.0 - self.state.retry_after.unwrap_or_default().as_secs_f64();
        }
        match self.slot.applied.rule.meter {
            Some(meter) if self.state.counted => self.state.remaining as f64 / meter.burst() as f64,
            Some(_) | None => f64::INFINITY,
        }
    }

    /// Hits that are left, as far as they are known. Of what nobody was asked about there is no end (as envoyproxy/ratelimit has it for
    /// unlimited ones): 0 would be a limit that is used up.
    fn remaining(self) -> u32 {
        let unknown = if self.state.verdict.refuses() { 0 } else { u32::MAX };
        if self.state.counted { clamped(self.state.remaining) } else { unknown }
    }

    /// The limit as the headers tell it: one policy may have another for each tenant.
    fn limit(&self) -> (&str, u64, Duration) {
        let limit = self.slot.applied.rule.limit;
        (self.slot.applied.compiled.policy.id.as_str(), limit.amount, limit.period)
    }

    fn status(self) -> DescriptorStatus {
        let refuses = self.state.verdict.refuses();
        let limit = self.slot.applied.rule.limit;
        let current = self.state.counted.then(|| RateLimit {
            name: self.slot.applied.compiled.policy.id.as_str().to_owned(),
            requests_per_unit: clamped(limit.amount),
            unit: unit(limit.period).into(),
        });
        DescriptorStatus {
            code: if refuses { Code::OverLimit } else { Code::Ok }.into(),
            current_limit: current,
            limit_remaining: self.remaining(),
            duration_until_reset: self.state.counted.then(|| span(self.until())),
            ..DescriptorStatus::default()
        }
    }

    /// How long to wait for this cost, or, where that has room, until there is more: what the headers' `t` is.
    fn until(self) -> Duration {
        self.state.retry_after.unwrap_or(self.state.more_after)
    }

    fn metadata(self, decided: &Decided) -> Struct {
        let text = |text: &str| Some(Kind::StringValue(text.to_owned()));
        let rule = &self.slot.applied.rule;
        let shadow = [&decided.charged, &decided.peeked].into_iter().flatten();
        let shadow =
            shadow.flat_map(|(_, outcome)| &outcome.limits).any(|state| state.verdict == Verdict::ShadowDenied);
        let fields = [
            ("policy", text(self.slot.applied.compiled.policy.id.as_str())),
            ("rule", text(&rule.name)),
            ("burst", Some(Kind::NumberValue(rule.limit.full_burst() as f64))),
            ("shadow_would_deny", shadow.then_some(Kind::BoolValue(true))),
            ("store_away", decided.degraded().then_some(Kind::BoolValue(true))),
        ];
        let fields = fields.into_iter().filter_map(|(name, kind)| Some((name.to_owned(), Value { kind: Some(kind?) })));
        Struct { fields: fields.collect() }
    }
}

// === headers ===

/// The numbers of the limit that matters most, as draft-ietf-httpapi-ratelimit-headers has them in its third version (which
/// is what clients read) and in its current one, and when to come again.
fn headers(all: &[Said<'_>]) -> Vec<HeaderValue> {
    let mut headers = Vec::with_capacity(6);
    let mut add = |key: &str, value: String| {
        headers.push(HeaderValue { key: key.to_owned(), value, ..HeaderValue::default() });
    };
    let Some(first) = all.first() else { return headers };
    if first.state.counted {
        let Limit { amount, period, .. } = first.slot.applied.rule.limit;
        let policy = &first.slot.applied.compiled.policy.id;
        let (remaining, until) = (first.state.remaining, seconds(first.until()));
        let burst = first.slot.applied.rule.limit.full_burst();
        add("x-ratelimit-limit", format!("{burst}, {amount};w={}", seconds(period)));
        add("x-ratelimit-remaining", remaining.to_string());
        add("x-ratelimit-reset", until.to_string());
        add("ratelimit-policy", policies(all));
        add("ratelimit", format!("\"{policy}\";r={remaining};t={until}"));
    }
    if let Some(wait) = first.state.retry_after.filter(|_| first.state.verdict.refuses()) {
        add("retry-after", seconds(wait).max(1).to_string());
    }
    headers
}

/// The limits, each once, however many descriptors met it.
fn policies(all: &[Said<'_>]) -> String {
    let mut list = String::new();
    for (index, said) in all.iter().enumerate().filter(|(_, said)| said.state.counted) {
        let known = |other: &Said<'_>| other.state.counted && other.limit() == said.limit();
        if all[..index].iter().any(known) {
            continue;
        }
        let comma = if list.is_empty() { "" } else { ", " };
        let (id, amount, period) = said.limit();
        // Writing to a String never fails.
        let _ = write!(list, "{comma}\"{id}\";q={amount};w={}", seconds(period));
    }
    list
}

/// Up to a whole second: what waits so long has waited long enough.
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

/// Envoy has no name for other periods.
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
    fn what_is_told_to_wait_is_never_told_less() {
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_micros(1)), 1);
        assert_eq!(seconds(Duration::from_secs(2)), 2);
        assert_eq!(seconds(Duration::from_nanos(2_000_000_001)), 3);
    }

    #[test]
    fn units_have_names_and_other_periods_none() {
        assert_eq!(unit(Duration::from_secs(60)), Unit::Minute);
        assert_eq!(unit(Duration::from_secs(7 * 86_400)), Unit::Week);
        assert_eq!(unit(Duration::from_secs(300)), Unit::Unknown);
        assert_eq!(unit(Duration::from_millis(1500)), Unit::Unknown);
    }
}

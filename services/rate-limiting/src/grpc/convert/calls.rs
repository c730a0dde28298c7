//! Converts requests on limits to calls, and outcomes to replies.

use std::time::Duration;

use keyplane_contracts::names::{Id, TenantId};
use keyplane_contracts::ratelimit::v1 as pb;
use keyplane_contracts::rules::ratelimit as stated;
use keyplane_contracts::{Violation, Violations, duration, span, timestamp};

use super::policy_reply as policies;
use super::wire::signed;
use crate::app::limiter::{Call, Charge, ChargeKind, Outcome, Settled, Source, State, Verdict};
use crate::app::{Acquired, Explained, Explanation};
use crate::domain::{Limit, LimitIds, PolicyId, Rule, Subject};
use crate::error::Error;

/// Most calls of a batch.
const BATCH: usize = stated::BATCH;
/// Longest time to remember a charge.
const REMEMBER: Duration = Duration::from_secs(stated::REMEMBER);

/// Fields that most requests share.
pub(in crate::grpc) struct Target<'a> {
    pub(in crate::grpc) parent: &'a str,
    pub(in crate::grpc) user: &'a str,
    pub(in crate::grpc) api_key: &'a str,
    pub(in crate::grpc) route: &'a str,
    pub(in crate::grpc) descriptors: &'a std::collections::HashMap<String, String>,
    pub(in crate::grpc) limits: &'a [String],
}

/// Borrows the [`Target`] of any request that has its fields.
macro_rules! target {
    ($request:expr) => {
        $crate::grpc::convert::calls::Target {
            parent: &$request.parent,
            user: &$request.user,
            api_key: &$request.api_key,
            route: &$request.route,
            descriptors: &$request.descriptors,
            limits: &$request.limits,
        }
    };
}
pub(in crate::grpc) use target;

// === impl Target ===

impl Target<'_> {
    /// Subject and limits of a request; `violations` are those of its other fields.
    pub(in crate::grpc) fn limits<'b>(
        &'b self,
        tenant: &'b TenantId,
        mut violations: Violations,
    ) -> Result<(Subject<'b>, LimitIds<'b>), Error> {
        let subject = self.subject(tenant, &mut violations);
        let limits = LimitIds::parse(self.limits, "limits", &mut violations);
        violations.into_result((subject, limits)).map_err(Error::Invalid)
    }

    /// Subject and limits of a request that need not name any.
    pub(in crate::grpc) fn limits_if_any<'b>(
        &'b self,
        tenant: &'b TenantId,
        mut violations: Violations,
    ) -> Result<(Subject<'b>, Option<LimitIds<'b>>), Error> {
        if !self.limits.is_empty() {
            return self.limits(tenant, violations).map(|(subject, limits)| (subject, Some(limits)));
        }
        let subject = self.subject(tenant, &mut violations);
        violations.into_result((subject, None)).map_err(Error::Invalid)
    }

    /// Tenant of a request; nothing else is checked without it.
    pub(in crate::grpc) fn tenant(&self, violations: &mut Violations) -> Result<TenantId, Error> {
        let tenant = violations.keep(TenantId::parse_name(self.parent, "parent"));
        tenant.ok_or_else(|| Error::Invalid(std::mem::take(violations).into_iter().collect()))
    }

    fn subject<'b>(&'b self, tenant: &'b TenantId, violations: &mut Violations) -> Subject<'b> {
        let descriptors = self.descriptors.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        Subject::new(tenant, self.user, self.api_key, self.route, descriptors, violations)
    }
}

// === fields ===

/// Cost; 1 by default.
pub(in crate::grpc) fn cost(cost: Option<i64>, violations: &mut Violations) -> u64 {
    bounded("cost", cost.unwrap_or(1), 1, violations)
}

/// Number from `least` to the largest cost.
pub(in crate::grpc) fn bounded(field: &str, number: i64, least: u64, violations: &mut Violations) -> u64 {
    let valid = u64::try_from(number).ok().filter(|number| (least..=Limit::MOST).contains(number));
    valid.unwrap_or_else(|| {
        violations.add(field, format!("must be {least} to {}; {number} was sent", Limit::MOST));
        least
    })
}

/// Request id, if there is one.
pub(in crate::grpc) fn request_id(id: &str, violations: &mut Violations) -> Option<String> {
    if id.is_empty() { None } else { violations.keep(Id::parse(id, "request_id")).map(|id| id.to_string()) }
}

/// Time to remember a request id or reservation.
pub(in crate::grpc) fn remember(given: Option<prost_types::Duration>, violations: &mut Violations) -> Option<Duration> {
    let time = duration(given?);
    let time = time.filter(|time| (Duration::from_secs(1)..=REMEMBER).contains(time));
    if time.is_none() {
        violations.add("ttl", "must be 1 second to 1 hour");
    }
    time
}

/// Charge that a caller holds.
pub(in crate::grpc) fn charge(
    parent: &str,
    field: &str,
    text: &str,
    kind: ChargeKind,
    mut violations: Violations,
) -> Result<Charge, Error> {
    let charge = match violations.keep(TenantId::parse_name(parent, "parent")) {
        Some(tenant) => {
            let made_by = match kind {
                ChargeKind::Acquired => "Acquire",
                ChargeKind::Reserved => "Reserve",
            };
            let sent = text.len();
            let rule =
                || format!("must be the {field} that {made_by} returned for this tenant; {sent} bytes were sent");
            let parsed = Charge::parse(text, kind, tenant.as_str()).ok_or_else(|| Violation::new(field, rule()));
            violations.keep(parsed)
        }
        None => None,
    };
    match (charge, violations.is_empty()) {
        (Some(charge), true) => Ok(charge),
        _ => Err(Error::Invalid(violations.into_iter().collect())),
    }
}

/// Items of a batch, each with the batch's tenant.
pub(in crate::grpc) fn batch(
    request: pb::BatchAcquireRequest,
) -> Result<Vec<Result<pb::AcquireRequest, Error>>, Error> {
    let mut violations = Violations::new();
    violations.keep(TenantId::parse_name(&request.parent, "parent"));
    if !(1..=BATCH).contains(&request.requests.len()) {
        violations.add("requests", format!("must be 1 to {BATCH}; {} were sent", request.requests.len()));
    }
    violations.into_result(()).map_err(Error::Invalid)?;
    let parent = request.parent;
    let item = |mut item: pb::AcquireRequest| {
        if item.parent.is_empty() {
            item.parent.clone_from(&parent);
        } else if item.parent != parent {
            return Err(Error::invalid(Violation::new("parent", "must be the batch's, or empty")));
        }
        Ok(item)
    };
    Ok(request.requests.into_iter().map(item).collect())
}

// === answers ===

/// Result of an Acquire.
pub(in crate::grpc) fn acquired(acquired: Acquired) -> pb::AcquireResponse {
    let Acquired { call, outcome, charge } = acquired;
    pb::AcquireResponse {
        admitted: outcome.admitted,
        limits: states(&call, &outcome),
        retry_after: outcome.retry_after().map(span),
        source: source(outcome.source).into(),
        replayed: outcome.replayed,
        charge: charge.map_or_else(String::new, |charge| charge.text()),
    }
}

/// Result of a Reserve.
pub(in crate::grpc) fn reserved(reserved: Acquired) -> pb::ReserveResponse {
    let pb::AcquireResponse { admitted, limits, retry_after, source, replayed, charge } = acquired(reserved);
    pb::ReserveResponse { admitted, limits, retry_after, source, replayed, reservation: charge }
}

/// Result of a Peek.
pub(in crate::grpc) fn peeked(call: &Call, outcome: &Outcome) -> pb::PeekResponse {
    pb::PeekResponse {
        would_admit: outcome.admitted,
        limits: states(call, outcome),
        retry_after: outcome.retry_after().map(span),
        source: source(outcome.source).into(),
    }
}

/// States of the limits of a call.
fn states(call: &Call, outcome: &Outcome) -> Vec<pb::LimitState> {
    let limits = call.limits.iter().zip(&outcome.limits);
    limits.map(|(limit, given)| state(&limit.applied.compiled.policy.id, Some(&*limit.applied.rule), given)).collect()
}

/// State of a limit.
fn state(policy: &PolicyId, rule: Option<&Rule>, state: &State) -> pb::LimitState {
    let known = state.verdict != Verdict::Skipped;
    let counted = |rule: &&Rule| known && rule.meter.is_some();
    let limit = rule.filter(counted).map(|rule| rule.limit);
    pb::LimitState {
        policy: policy.as_str().to_owned(),
        verdict: verdict(state.verdict).into(),
        amount: limit.map_or(0, |limit| signed(limit.amount)),
        period: limit.map(|limit| span(limit.period)),
        burst: limit.map_or(0, |limit| signed(limit.full_burst())),
        remaining: signed(state.remaining),
        retry_after: state.retry_after.map(span),
        reset_after: (limit.is_some() && state.verdict != Verdict::Open).then(|| span(state.reset_after)),
        rule: rule.map_or_else(String::new, |rule| rule.name.as_ref().to_owned()),
    }
}

/// Result of a settlement.
pub(in crate::grpc) fn settled(settled: &Settled) -> pb::SettleResponse {
    let limits = settled.limits.iter().map(|limit| state(&limit.policy, limit.rule.as_deref(), &limit.state));
    let returned = settled.limits.iter().map(|limit| signed(limit.returned));
    pb::SettleResponse { charged: signed(settled.charged), limits: limits.collect(), returned: returned.collect() }
}

/// Explanation of limits.
pub(in crate::grpc) fn explained(explained: &Explained) -> pb::ExplainResponse {
    pb::ExplainResponse {
        plan: explained.plan.clone(),
        limits: explained.limits.iter().map(explanation).collect(),
        policies_version: signed(explained.version),
    }
}

fn explanation(explanation: &Explanation) -> pb::LimitExplanation {
    let applied = &explanation.limit.applied;
    pb::LimitExplanation {
        policy: Some(policies::policy(&applied.compiled.policy)),
        rule: applied.rule.name.to_string(),
        limit: Some(policies::limit(&applied.rule.limit)),
        key: explanation.key().unwrap_or_default().to_owned(),
        state: Some(state(&applied.compiled.policy.id, Some(&*applied.rule), &explanation.state)),
        charge_time: explanation.stored.map(|stored| timestamp::from_micros(signed(stored.last))),
        denied_for: explanation.denied_for.map(span),
        leased: signed(explanation.leased),
    }
}

fn source(source: Source) -> pb::Source {
    match source {
        Source::Store => pb::Source::Store,
        Source::Cache => pb::Source::Cache,
        Source::Lease => pb::Source::Lease,
        Source::Outage => pb::Source::Outage,
        Source::Policy => pb::Source::Policy,
    }
}

fn verdict(verdict: Verdict) -> pb::limit_state::Verdict {
    use pb::limit_state::Verdict as Sent;
    match verdict {
        Verdict::Admitted => Sent::Admitted,
        Verdict::Denied => Sent::Denied,
        Verdict::CostOverBurst => Sent::CostOverBurst,
        Verdict::Blocked => Sent::Blocked,
        Verdict::Unlimited => Sent::Unlimited,
        Verdict::ShadowDenied => Sent::ShadowDenied,
        Verdict::Overcharged => Sent::Overcharged,
        Verdict::Open => Sent::Open,
        Verdict::Skipped => Sent::Skipped,
    }
}

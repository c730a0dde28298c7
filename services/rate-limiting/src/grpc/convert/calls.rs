//! Messages to calls, and outcomes back. A request is checked here, once; every violated field is told at once.

use std::time::Duration;

use keyplane_contracts::names::{Id, TenantId};
use keyplane_contracts::ratelimit::v1 as pb;
use keyplane_contracts::rules::ratelimit as stated;
use keyplane_contracts::{Violation, Violations, timestamp};

use super::policy_reply as policies;
use crate::app::limiter::{Call, Outcome, Settled, Source, State, Verdict};
use crate::app::{Admission, Explained, Explanation};
use crate::domain::{Limit, PolicyId, Rule, Subject};
use crate::error::Error;

/// The most calls of a batch.
const BATCH: usize = stated::BATCH;
/// The longest that a charge is remembered.
const REMEMBER: Duration = Duration::from_secs(stated::REMEMBER);

/// What most requests have in common.
pub(in crate::grpc) struct Target<'a> {
    pub(in crate::grpc) parent: &'a str,
    pub(in crate::grpc) user: &'a str,
    pub(in crate::grpc) api_key: &'a str,
    pub(in crate::grpc) route: &'a str,
    pub(in crate::grpc) descriptors: &'a std::collections::HashMap<String, String>,
    pub(in crate::grpc) limits: &'a [String],
}

/// Makes a [`Target`] of any request that has its fields.
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
    /// The limits that it names, for a cost; `violations` are those of the rest of the request.
    pub(in crate::grpc) fn call(
        &self,
        admission: &Admission,
        cost: u64,
        mut violations: Violations,
    ) -> Result<Call, Error> {
        let tenant = self.tenant(&mut violations)?;
        let subject = self.subject(&tenant, &mut violations);
        admission.call(&subject, self.limits, cost, violations)
    }

    /// Explains the limits that it names; all that it could fill, if it names none.
    pub(in crate::grpc) async fn explain(&self, admission: &Admission) -> Result<Explained, Error> {
        let mut violations = Violations::new();
        let tenant = self.tenant(&mut violations)?;
        let subject = self.subject(&tenant, &mut violations);
        admission.explain(&tenant, &subject, self.limits, violations).await
    }

    /// The tenant, without which nothing more can be said of a request.
    fn tenant(&self, violations: &mut Violations) -> Result<TenantId, Error> {
        let tenant = violations.keep(TenantId::parse_name(self.parent, "parent"));
        tenant.ok_or_else(|| Error::Invalid(std::mem::take(violations).into_iter().collect()))
    }

    fn subject<'b>(&'b self, tenant: &'b TenantId, violations: &mut Violations) -> Subject<'b> {
        let descriptors = self.descriptors.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        Subject::new(tenant, self.user, self.api_key, self.route, descriptors, violations)
    }
}

// === fields ===

/// A cost; 1 if none is given.
pub(in crate::grpc) fn cost(cost: Option<i64>, violations: &mut Violations) -> u64 {
    bounded("cost", cost.unwrap_or(1), 1, violations)
}

/// A number from `least` up to the largest cost.
pub(in crate::grpc) fn bounded(field: &str, number: i64, least: u64, violations: &mut Violations) -> u64 {
    let valid = u64::try_from(number).ok().filter(|number| (least..=Limit::MOST).contains(number));
    valid.unwrap_or_else(|| {
        violations.add(field, format!("must be {least} to {}; {number} was sent", Limit::MOST));
        least
    })
}

/// The request's id, if it has one.
pub(in crate::grpc) fn request_id(id: &str, violations: &mut Violations) -> Option<String> {
    if id.is_empty() { None } else { violations.keep(Id::parse(id, "request_id")).map(|id| id.to_string()) }
}

/// How long to remember.
pub(in crate::grpc) fn remember(
    field: &str,
    given: Option<prost_types::Duration>,
    default: Duration,
    violations: &mut Violations,
) -> Duration {
    let Some(given) = given else { return default };
    keyplane_contracts::duration(given)
        .filter(|given| (Duration::from_secs(1)..=REMEMBER).contains(given))
        .unwrap_or_else(|| {
            violations.add(field, "must be 1 second to 1 hour");
            default
        })
}

/// The items of a batch, each with the batch's tenant.
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

/// What became of an Acquire.
pub(in crate::grpc) fn acquired(call: &Call, outcome: &Outcome, charge: String) -> pb::AcquireResponse {
    pb::AcquireResponse {
        admitted: outcome.admitted,
        limits: states(call, outcome),
        retry_after: outcome.retry_after().map(duration),
        source: source(outcome.source).into(),
        replayed: outcome.replayed,
        charge,
    }
}

/// What the limits say.
pub(in crate::grpc) fn states(call: &Call, outcome: &Outcome) -> Vec<pb::LimitState> {
    let slots = call.slots.iter().zip(&outcome.limits);
    slots.map(|(slot, given)| state(&slot.applied.compiled.policy.id, Some(&*slot.applied.rule), given)).collect()
}

/// What a limit says.
pub(in crate::grpc) fn state(policy: &PolicyId, rule: Option<&Rule>, state: &State) -> pb::LimitState {
    let known = state.verdict != Verdict::Skipped;
    let counted = |rule: &&Rule| known && rule.meter.is_some();
    let limit = rule.filter(counted).map(|rule| rule.limit);
    pb::LimitState {
        policy: policy.as_str().to_owned(),
        verdict: verdict(state.verdict).into(),
        amount: limit.map_or(0, |limit| signed(limit.amount)),
        period: limit.map(|limit| duration(limit.period)),
        burst: limit.map_or(0, |limit| signed(limit.full_burst())),
        remaining: signed(state.remaining),
        retry_after: state.retry_after.map(duration),
        reset_after: (limit.is_some() && state.verdict != Verdict::Open).then(|| duration(state.reset_after)),
        rule: rule.map_or_else(String::new, |rule| rule.name.as_ref().to_owned()),
    }
}

/// What a charge is now.
pub(in crate::grpc) fn settled(settled: &Settled) -> pb::SettleResponse {
    let limits = settled.limits.iter().map(|limit| state(&limit.policy, limit.rule.as_deref(), &limit.state));
    let returned = settled.limits.iter().map(|limit| signed(limit.returned));
    pb::SettleResponse { charged: signed(settled.charged), limits: limits.collect(), returned: returned.collect() }
}

/// Limits explained: their state, and where they come from.
pub(in crate::grpc) fn explained(explained: &Explained) -> pb::ExplainResponse {
    pb::ExplainResponse {
        plan: explained.plan.clone(),
        limits: explained.limits.iter().map(explanation).collect(),
        policies_version: signed(explained.version),
    }
}

fn explanation(one: &Explanation) -> pb::LimitExplanation {
    let applied = &one.slot.applied;
    pb::LimitExplanation {
        policy: Some(policies::policy(&applied.compiled.policy)),
        rule: applied.rule.name.to_string(),
        limit: Some(policies::limit(&applied.rule.limit)),
        key: one.key().unwrap_or_default().to_owned(),
        state: Some(state(&applied.compiled.policy.id, Some(&*applied.rule), &one.state)),
        charge_time: one.stored.map(|stored| timestamp::from_micros(signed(stored.last))),
        denied_for: one.refused_for.map(duration),
        leased: signed(one.leased),
    }
}

pub(in crate::grpc) fn source(source: Source) -> pb::Source {
    match source {
        Source::Store => pb::Source::Store,
        Source::Cache => pb::Source::Cache,
        Source::Lease => pb::Source::Lease,
        Source::Outage => pb::Source::Outage,
        Source::Policy => pb::Source::Policy,
    }
}

fn verdict(verdict: Verdict) -> pb::limit_state::Verdict {
    use pb::limit_state::Verdict as Said;
    match verdict {
        Verdict::Admitted => Said::Admitted,
        Verdict::Denied => Said::Denied,
        Verdict::CostOverBurst => Said::CostOverBurst,
        Verdict::Blocked => Said::Blocked,
        Verdict::Unlimited => Said::Unlimited,
        Verdict::ShadowDenied => Said::ShadowDenied,
        Verdict::Overcharged => Said::Overcharged,
        Verdict::Open => Said::Open,
        Verdict::Skipped => Said::Skipped,
    }
}

/// A span of time on the wire.
pub(in crate::grpc) fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or_default()
}

/// No number here has more than 63 bits, but for those that mean "no end".
pub(in crate::grpc) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

//! Checks: requests and responses. Every request of the mesh takes this path, so claims are borrowed from the message,
//! and a good one costs a look at its bytes.

use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::rules::revocation as stated;
use keyplane_contracts::{Violation, Violations, duration};
use keyplane_revocation::{Answer, Claims, Millis, RevocationId, wire};

use super::{checked, fields, reply};
use crate::app::check::{Checked, Demands};
use crate::domain::names::{is_nameable, is_user};
use crate::error::Error;

/// Most claims of one batch.
const BATCH: usize = stated::BATCH;

/// Reads a check: its claims, and the demands on the answer. `partitions` are the store's.
pub(in crate::grpc) fn check(request: &pb::CheckRequest, partitions: u32) -> Result<(Claims<'_>, Demands), Error> {
    let mut violations = Violations::new();
    let tenant = violations.keep(fields::tenant(&request.parent, "parent"));
    let demands = demands(&request.min_sequence, request.max_staleness, partitions, &mut violations);
    let claims = match &request.claims {
        Some(claims) => claims_of(tenant.unwrap_or_default(), claims, &|| "claims".to_owned(), &mut violations),
        None => {
            violations.add("claims", "must be set");
            None
        }
    };
    checked(claims, violations).map(|claims| (claims, demands))
}

/// Reads a batch: all claims, and the demands on the answers.
pub(in crate::grpc) fn batch(
    request: &pb::BatchCheckRequest,
    partitions: u32,
) -> Result<(Vec<Claims<'_>>, Demands), Error> {
    let mut violations = Violations::new();
    let tenant = violations.keep(fields::tenant(&request.parent, "parent"));
    let demands = demands(&request.min_sequence, request.max_staleness, partitions, &mut violations);
    let sent = request.claims.len();
    let mut all = Vec::with_capacity(sent.min(BATCH));
    if (1..=BATCH).contains(&sent) {
        let tenant = tenant.unwrap_or_default();
        for (index, claims) in request.claims.iter().enumerate() {
            all.extend(claims_of(tenant, claims, &|| format!("claims[{index}]"), &mut violations));
        }
    } else {
        violations.add("claims", format!("must be 1 to {BATCH}; {sent} were sent"));
    }
    checked(Some(all), violations).map(|all| (all, demands))
}

/// Reads the demands on an answer.
fn demands(
    min_sequence: &str,
    max_staleness: Option<prost_types::Duration>,
    partitions: u32,
    violations: &mut Violations,
) -> Demands {
    let sequence = (!min_sequence.is_empty()).then(|| fields::sequence(min_sequence, "min_sequence", partitions));
    let min_sequence = sequence.and_then(|sequence| violations.keep(sequence));
    let negative = || Violation::new("max_staleness", "must not be negative");
    let max_staleness = max_staleness.and_then(|sent| violations.keep(duration(sent).ok_or_else(negative)));
    Demands { min_sequence, max_staleness, policy: None }
}

fn claims_of<'a>(
    tenant: &'a str,
    claims: &'a pb::Claims,
    at: &dyn Fn() -> String,
    violations: &mut Violations,
) -> Option<Claims<'a>> {
    let read = read(tenant, claims);
    if read.is_none() {
        explain(claims, &at(), violations);
    }
    read
}

/// Reads claims; `None` if one of them breaks its rule. Allocates nothing.
fn read<'a>(tenant: &'a str, claims: &'a pb::Claims) -> Option<Claims<'a>> {
    let [issuer, jti, sid, client, kid] = names(claims).map(|(text, _)| text);
    let named = [issuer, jti, sid, client, kid].into_iter().all(is_nameable);
    if !named || !is_user(&claims.subject) {
        return None;
    }
    Some(Claims {
        tenant,
        issuer,
        jti,
        sid,
        client,
        kid,
        subject: &claims.subject,
        issued_at: time(claims.issue_time.as_ref())?,
        auth_time: time(claims.auth_time.as_ref())?,
        expires: time(claims.expire_time.as_ref())?,
    })
}

/// Adds the violations of claims that can't be read.
fn explain(claims: &pb::Claims, at: &str, violations: &mut Violations) {
    for (text, field) in names(claims) {
        if !is_nameable(text) {
            violations.add(format!("{at}.{field}"), fields::unnameable(text));
        }
    }
    if !is_user(&claims.subject) {
        fields::user(&claims.subject, &format!("{at}.subject"), violations);
    }
    let times = [
        (claims.issue_time.as_ref(), "issue_time"),
        (claims.auth_time.as_ref(), "auth_time"),
        (claims.expire_time.as_ref(), "expire_time"),
    ];
    for (sent, field) in times {
        if time(sent).is_none() {
            violations.add(format!("{at}.{field}"), fields::NO_MOMENT);
        }
    }
}

fn names(claims: &pb::Claims) -> [(&str, &'static str); 5] {
    [
        (&claims.issuer, "issuer"),
        (&claims.jti, "jti"),
        (&claims.sid, "sid"),
        (&claims.client, "client"),
        (&claims.kid, "kid"),
    ]
}

/// Reads an optional time; `None` if it is malformed.
fn time(time: Option<&prost_types::Timestamp>) -> Option<Option<Millis>> {
    time.map_or(Some(None), |time| fields::moment(time).map(Some))
}

// === responses ===

/// Response about a token of `tenant`.
pub(in crate::grpc) fn check_response(tenant: &str, checked: &Checked) -> pb::CheckResponse {
    let (verdict, rule, revocation) = parts(checked.answer);
    pb::CheckResponse {
        verdict: verdict.into(),
        rule: rule.into(),
        revocation: revocation.map_or_else(String::new, |id| reply::name(tenant, &id)),
        freshness: Some(reply::freshness(&checked.freshness)),
    }
}

/// Result about one token among many; `None` where neither memory nor the store can tell.
pub(in crate::grpc) fn check_result(answer: Option<Answer>) -> pb::CheckResult {
    let (verdict, rule, _) = answer.map_or((pb::Verdict::Unknown, pb::Rule::Unspecified, None), parts);
    pb::CheckResult { verdict: verdict.into(), rule: rule.into() }
}

fn parts(answer: Answer) -> (pb::Verdict, pb::Rule, Option<RevocationId>) {
    match answer {
        Answer::Active => (pb::Verdict::Active, pb::Rule::Unspecified, None),
        Answer::Revoked { rule, revocation } => (pb::Verdict::Revoked, wire::rule(rule), revocation),
        Answer::KeyUnknown => (pb::Verdict::KeyUnknown, pb::Rule::KeyUnknown, None),
        // The checker confirms suspects; if it ever did not, nothing must pass.
        Answer::Suspect(hash) => (pb::Verdict::Revoked, pb::Rule::Token, Some(hash.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(error: &Error) -> Vec<&str> {
        let Error::Invalid(violations) = error else { panic!("{error}") };
        violations.iter().map(|violation| violation.field.as_str()).collect()
    }

    #[test]
    fn each_violated_field_is_named_with_its_index() {
        let bad = pb::Claims {
            issuer: "i".repeat(257),
            jti: "a\nb".into(),
            subject: "no spaces".into(),
            issue_time: Some(prost_types::Timestamp { seconds: 1, nanos: -1 }),
            expire_time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
            ..pb::Claims::default()
        };
        let request = pb::BatchCheckRequest {
            parent: "tenants/ACME".into(),
            claims: vec![pb::Claims::default(), bad],
            min_sequence: "yesterday".into(),
            max_staleness: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
        };
        let error = batch(&request, 4).expect_err("nothing of it is right");
        let expected =
            ["parent", "min_sequence", "max_staleness", "claims[1].issuer", "claims[1].jti", "claims[1].subject"];
        assert_eq!(fields(&error), [&expected[..], &["claims[1].issue_time", "claims[1].expire_time"]].concat());

        let none = pb::BatchCheckRequest { parent: "tenants/acme".into(), ..pb::BatchCheckRequest::default() };
        assert_eq!(fields(&batch(&none, 4).expect_err("it is empty")), ["claims"]);
        let many = pb::BatchCheckRequest { claims: vec![pb::Claims::default(); 1001], ..none };
        assert_eq!(fields(&batch(&many, 4).expect_err("they are too many")), ["claims"]);
        assert_eq!(fields(&check(&pb::CheckRequest::default(), 4).expect_err("it is empty")), ["parent", "claims"]);
    }

    #[test]
    fn missing_claims_are_no_violation() {
        let request = pb::CheckRequest {
            parent: "tenants/acme".into(),
            claims: Some(pb::Claims::default()),
            ..pb::CheckRequest::default()
        };
        let (claims, demands) = check(&request, 4).expect("a token without claims is rejected by the check");
        assert_eq!(claims, Claims { tenant: "acme", ..Claims::default() });
        assert_eq!((demands.min_sequence, demands.max_staleness), (None, None));
    }
}

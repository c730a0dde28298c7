//! Contract of the service, over gRPC on a real store.

mod support;

use keyplane_contracts::audit::v1 as audit;
use keyplane_contracts::ratelimit::v1 as pb;
use pb::limit_state::Verdict;
use support::{PARENT, call, details, shared};
use tonic::{Code, Status};

fn verdicts(limits: &[pb::LimitState]) -> Vec<Verdict> {
    limits.iter().map(pb::LimitState::verdict).collect()
}

fn violations(status: &Status) -> Vec<String> {
    let details = details(status, Code::InvalidArgument, "INVALID_REQUEST");
    let fields = details.bad_request().expect("a BadRequest").field_violations.clone();
    fields.into_iter().map(|violation| format!("{}: {}", violation.field, violation.description)).collect()
}

#[tokio::test]
async fn acquire_reports_every_limit() {
    let service = shared(&[]).await;
    let request = pb::AcquireRequest { cost: Some(4), ..call("u-42", &["user-api", "tenant-api"]) };
    let response = service.acquire(request).await.expect("it is admitted");
    assert!(response.admitted && response.retry_after.is_none() && response.charge.is_empty());
    assert_eq!(response.source(), pb::Source::Store);
    let user = &response.limits[0];
    assert_eq!((user.policy.as_str(), user.rule.as_str()), ("user-api", "default"));
    assert_eq!((user.amount, user.burst, user.remaining), (10, 10, 6));
    assert_eq!(user.period.as_ref().map(|period| period.seconds), Some(3600));
    assert_eq!(user.reset_after.as_ref().map(|reset| reset.seconds), Some(1440));
    assert_eq!(response.limits[1].remaining, 996);
}

#[tokio::test]
async fn denial_is_an_answer_with_a_wait() {
    let service = shared(&[]).await;
    let all = pb::AcquireRequest { cost: Some(10), ..call("u", &["user-api"]) };
    assert!(service.acquire(all).await.expect("a first call").admitted);
    for remembered in [false, true] {
        if remembered {
            service.denies_from_cache("u").await;
        }
        let denied = service.acquire(call("u", &["user-api"])).await.expect("an answer");
        assert!(!denied.admitted);
        assert_eq!(verdicts(&denied.limits), [Verdict::Denied]);
        let wait = denied.retry_after.expect("there will be room").seconds;
        assert!((355..=360).contains(&wait), "{wait}");
    }
    // The numbers of the bucket show which cost would fit.
    for (user, left) in [("u", 0), ("v", 10)] {
        let never = pb::AcquireRequest { cost: Some(11), ..call(user, &["user-api"]) };
        let never = service.acquire(never).await.expect("an answer");
        assert_eq!((verdicts(&never.limits), never.retry_after), (vec![Verdict::CostOverBurst], None));
        assert_eq!(never.limits[0].remaining, left, "{user}");
    }
}

#[tokio::test]
async fn post_charge_in_debt_denies_checks_acquires_and_reservations() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let descriptors: std::collections::HashMap<_, _> = [("counted".to_owned(), "tokens".to_owned())].into();
    let acquire =
        |cost| pb::AcquireRequest { descriptors: descriptors.clone(), cost: Some(cost), ..call("", &["tokens"]) };
    let peek = pb::PeekRequest {
        parent: PARENT.into(),
        descriptors: descriptors.clone(),
        limits: vec!["tokens".into()],
        ..pb::PeekRequest::default()
    };
    assert!(client.peek(peek.clone()).await.expect("an answer").into_inner().would_admit);
    let over = service.acquire(acquire(14)).await.expect("an answer");
    assert_eq!((over.admitted, verdicts(&over.limits)), (true, vec![Verdict::Overcharged]), "the last may overshoot");
    let waits = |wait: Option<prost_types::Duration>| {
        let wait = wait.expect("the debt ends").seconds;
        assert!((1430..=1440).contains(&wait), "4 of 10 an hour leak in 1,440 s, not in {wait}");
    };
    for cost in [1, 4, 1000] {
        let denied = service.acquire(acquire(cost)).await.expect("an answer");
        assert_eq!((denied.admitted, verdicts(&denied.limits)), (false, vec![Verdict::Denied]), "{cost}");
        waits(denied.retry_after);
    }
    let peeked = client.peek(peek).await.expect("an answer").into_inner();
    assert!(!peeked.would_admit);
    waits(peeked.retry_after);
    let reserve = pb::ReserveRequest {
        parent: PARENT.into(),
        descriptors,
        limits: vec!["tokens".into()],
        estimate: 1,
        ..pb::ReserveRequest::default()
    };
    let reserved = client.reserve(reserve).await.expect("an answer").into_inner();
    assert_eq!((reserved.admitted, reserved.reservation.as_str()), (false, ""));
}

#[tokio::test]
async fn plans_tenants_and_modes_choose_the_limit() {
    let service = shared(&[]).await;
    let acquire_as =
        |tenant: &str, limit: &str| pb::AcquireRequest { parent: format!("tenants/{tenant}"), ..call("u", &[limit]) };
    let rich = service.acquire(acquire_as("rich", "user-api")).await.expect("an answer");
    assert_eq!((rich.limits[0].amount, rich.limits[0].rule.as_str()), (100, "plan:gold"));
    let evil = service.acquire(acquire_as("evil", "tenant-api")).await.expect("an answer");
    assert_eq!(
        (evil.admitted, verdicts(&evil.limits), evil.source()),
        (false, vec![Verdict::Blocked], pb::Source::Policy)
    );
    let friend = service.acquire(acquire_as("friend", "tenant-api")).await.expect("an answer");
    assert_eq!((friend.admitted, verdicts(&friend.limits)), (true, vec![Verdict::Unlimited]));
    let trial = || pb::AcquireRequest { api_key: "k-1".into(), ..call("u", &["trial"]) };
    for verdict in [Verdict::Admitted, Verdict::ShadowDenied] {
        let shadow = service.acquire(trial()).await.expect("an answer");
        assert_eq!((shadow.admitted, verdicts(&shadow.limits)), (true, vec![verdict]));
    }
}

#[tokio::test]
async fn every_violated_field_is_reported() {
    let service = shared(&[]).await;
    let bad = pb::AcquireRequest {
        parent: "acme".into(),
        cost: Some(0),
        request_id: "a b".into(),
        ..call("u", &["user-api"])
    };
    let status = service.acquire(bad).await.expect_err("nothing is right");
    assert_eq!(
        violations(&status),
        [
            "cost: must be 1 to 1000000000000; 0 was sent",
            "request_id: the id must match [A-Za-z0-9._~@|:+-]{1,128}; 3 bytes were sent",
            "parent: the name must have the form tenants/{tenant}; 4 bytes were sent",
        ]
    );
    let mut bad = call("u/1", &["user-api", "user-api", &"x".repeat(65)]);
    bad.route = "\n".into();
    bad.ttl = Some(prost_types::Duration { seconds: 3601, nanos: 0 });
    bad.descriptors.insert("tenant".into(), "globex".into());
    let status = service.acquire(bad).await.expect_err("nothing is right");
    assert_eq!(
        violations(&status),
        [
            "ttl: must be 1 second to 1 hour",
            "ttl: needs a `request_id` to be remembered under",
            "user: the id must match [A-Za-z0-9._~@|:+-]{1,128}; 3 bytes were sent",
            "route: must be 1 to 256 bytes without control characters; 1 were sent",
            "descriptors: must not hold tenant, which has a field of its own",
            "limits[1]: must not be named twice",
            "limits[2]: the policy id must match [A-Za-z0-9._~@|:+-]{1,64}; 65 bytes were sent",
        ]
    );
    let status = service.acquire(call("", &["user-api"])).await.expect_err("no user");
    assert_eq!(violations(&status), ["user: policy user-api needs `user`, which is missing"]);
    let other = pb::AcquireRequest { route: "/home".into(), ..call("u", &["chat"]) };
    let status = service.acquire(other).await.expect_err("another route");
    assert_eq!(violations(&status), ["limits: policy chat is for other values than the request has"]);
    assert_eq!(
        violations(&service.acquire(call("u", &[])).await.expect_err("no limits")),
        ["limits: must be 1 to 16; 0 were sent"]
    );
    let status = service.acquire(call("u", &["nope"])).await.expect_err("no such policy");
    details(&status, Code::NotFound, "POLICY_NOT_FOUND");
}

#[tokio::test]
async fn batch_items_are_independent() {
    let service = shared(&[]).await;
    let item = |user: &str, limit: &str, cost| pb::AcquireRequest {
        parent: String::new(),
        cost: Some(cost),
        ..call(user, &[limit])
    };
    let mut elsewhere = item("u", "user-api", 1);
    elsewhere.parent = "tenants/globex".into();
    let requests = vec![
        item("u", "user-api", 10),
        item("u", "user-api", 1),
        item("v", "user-api", 1),
        item("v", "nope", 1),
        elsewhere,
    ];
    let request = pb::BatchAcquireRequest { parent: PARENT.into(), requests };
    let results = service.client.clone().batch_acquire(request).await.expect("an answer").into_inner().results;
    let admitted: Vec<Option<bool>> =
        results.iter().map(|result| result.response.as_ref().map(|response| response.admitted)).collect();
    assert_eq!(admitted, [Some(true), Some(false), Some(true), None, None]);
    let error = |n: usize| results[n].error.as_ref().map(|error| (error.code, error.reason.as_str()));
    assert_eq!((error(0), error(3)), (None, Some((Code::NotFound.into(), "POLICY_NOT_FOUND"))));
    assert_eq!(error(4), Some((Code::InvalidArgument.into(), "INVALID_REQUEST")));
    let none = pb::BatchAcquireRequest { parent: PARENT.into(), requests: Vec::new() };
    let status = service.client.clone().batch_acquire(none).await.expect_err("nothing");
    assert_eq!(violations(&status), ["requests: must be 1 to 500; 0 were sent"]);
}

#[tokio::test]
async fn reservation_is_settled_or_cancelled() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let request = || pb::ReserveRequest {
        parent: PARENT.into(),
        user: "u".into(),
        limits: vec!["user-api".into(), "tenant-api".into()],
        estimate: 8,
        ..pb::ReserveRequest::default()
    };
    let reserved = client.reserve(request()).await.expect("there is room").into_inner();
    assert!(reserved.admitted && !reserved.reservation.is_empty());
    let second = client.reserve(request()).await.expect("an answer").into_inner();
    assert!(!second.admitted && second.reservation.is_empty());
    let commit = |cost| pb::CommitRequest { parent: PARENT.into(), reservation: reserved.reservation.clone(), cost };
    let settled = client.commit(commit(3)).await.expect("it is reserved").into_inner();
    assert_eq!((settled.charged, settled.limits[0].remaining, settled.limits[1].remaining), (3, 7, 997));
    assert_eq!(settled.returned[0], 5, "of the user's limit nothing has leaked yet");
    assert_eq!(client.commit(commit(3)).await.expect("once more").into_inner().charged, 3);
    let cancel = pb::CancelRequest { parent: PARENT.into(), reservation: reserved.reservation.clone() };
    let status = client.cancel(cancel).await.expect_err("it is settled");
    details(&status, Code::FailedPrecondition, "ALREADY_SETTLED");

    let reserved =
        client.reserve(pb::ReserveRequest { estimate: 7, ..request() }).await.expect("there is room").into_inner();
    let cancel = pb::CancelRequest { parent: PARENT.into(), reservation: reserved.reservation.clone() };
    let settled = client.cancel(cancel).await.expect("it is reserved").into_inner();
    assert_eq!((settled.charged, settled.limits[0].remaining), (0, 7));
    // Another tenant's, and one that was made up.
    for (parent, reservation) in [("tenants/globex", reserved.reservation.as_str()), (PARENT, "CAIS"), (PARENT, "?")] {
        let cancel = pb::CancelRequest { parent: parent.into(), reservation: reservation.into() };
        let status = client.cancel(cancel).await.expect_err("it is none");
        assert!(
            violations(&status)[0]
                .starts_with("reservation: must be the reservation that Reserve returned for this tenant")
        );
    }
}

#[tokio::test]
async fn refund_gives_back_the_charge() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let request = pb::AcquireRequest { cost: Some(6), request_id: "r-1".into(), ..call("u", &["user-api"]) };
    let charge = service.acquire(request.clone()).await.expect("there is room").charge;
    let again = service.acquire(request).await.expect("the same answer");
    assert!(again.admitted && again.replayed && again.charge == charge);
    let refund = |cost, id: &str| pb::RefundRequest {
        parent: PARENT.into(),
        charge: charge.clone(),
        cost,
        request_id: id.into(),
    };
    for _ in 0..2 {
        let refunded = client.refund(refund(2, "f-1")).await.expect("it is known").into_inner();
        assert_eq!((refunded.charged, refunded.limits[0].remaining), (4, 6));
    }
    let status = client.refund(refund(5, "f-2")).await.expect_err("4 are left");
    let rejection = details(&status, Code::InvalidArgument, "REFUND_EXCEEDS_CHARGE");
    assert_eq!(rejection.error_info().expect("one").metadata["left"], "4");
    let other = pb::AcquireRequest { cost: Some(1), request_id: "r-1".into(), ..call("u", &["user-api"]) };
    details(&service.acquire(other).await.expect_err("another request"), Code::InvalidArgument, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn reset_empties_buckets_and_is_audited() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let all = || pb::AcquireRequest { cost: Some(10), ..call("u", &["user-api"]) };
    assert!(service.acquire(all()).await.expect("there is room").admitted);
    assert!(!service.acquire(all()).await.expect("an answer").admitted);
    let reason = audit::cause::Reason::Administrative.into();
    let cause = audit::Cause { reason, initiator: "support".into(), description: "a stuck import".into() };
    let reset = pb::ResetRequest {
        parent: PARENT.into(),
        user: "u".into(),
        limits: vec!["user-api".into(), "tenant-api".into()],
        cause: Some(cause.clone()),
        ..pb::ResetRequest::default()
    };
    assert_eq!(client.reset(reset).await.expect("it is reset").into_inner().reset_count, 1);
    assert!(service.acquire(all()).await.expect("there is room again").admitted);
    let request = audit::ListAuditEntriesRequest { parent: PARENT.into(), ..Default::default() };
    let entries = client.list_audit_entries(request).await.expect("an audit").into_inner().audit_entries;
    assert_eq!(entries[0].action, "keyplane.ratelimit.v1.RateLimitService/Reset");
    assert_eq!((entries[0].resource.as_str(), &entries[0].cause), (PARENT, &Some(cause)));
    assert_eq!(entries[0].outcome(), audit::audit_entry::Outcome::Attempted);
    let buckets: Vec<&str> = entries[0].details["buckets"].lines().collect();
    assert!(buckets.len() == 2 && buckets[0].ends_with("ratelimit:{acme:u.u}:b:user-api"), "{buckets:?}");
}

#[tokio::test]
async fn explain_reports_the_limits_that_apply() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    assert!(
        service
            .acquire(pb::AcquireRequest { cost: Some(10), ..call("u", &["user-api"]) })
            .await
            .expect("room")
            .admitted
    );
    // A machine that stalls for a second finds the denial expired.
    let explained = keyplane_testkit::eventually("a cached denial is explained", support::PATIENCE, async || {
        service.denies_from_cache("u").await;
        let request = pb::ExplainRequest { parent: PARENT.into(), user: "u".into(), ..Default::default() };
        let explained = service.client.clone().explain(request).await.expect("an answer").into_inner();
        let cached = explained.limits.iter().any(|limit| limit.denied_for.is_some());
        if cached { Ok(explained) } else { Err(format!("{explained:?}")) }
    })
    .await;
    let names: Vec<&str> =
        explained.limits.iter().map(|limit| limit.policy.as_ref().expect("one").name.as_str()).collect();
    assert_eq!(names, ["policies/tenant-api", "policies/user-api"], "what the user and the tenant fill");
    let [tenant, user] = explained.limits.as_slice() else { panic!("two") };
    assert!(tenant.charge_time.is_none() && tenant.denied_for.is_none());
    assert!(user.charge_time.is_some() && user.denied_for.is_some() && user.key.ends_with("{acme:u.u}:b:user-api"));
    assert_eq!(user.state.as_ref().map(pb::LimitState::verdict), Some(Verdict::Denied));
    let request = pb::ExplainRequest {
        parent: "tenants/rich".into(),
        user: "u".into(),
        limits: vec!["user-api".into()],
        ..Default::default()
    };
    let explained = client.explain(request).await.expect("an answer").into_inner();
    assert_eq!((explained.plan.as_str(), explained.limits[0].rule.as_str()), ("gold", "plan:gold"));
}

#[tokio::test]
async fn peek_charges_nothing() {
    let service = shared(&[]).await;
    let peek = |cost| pb::PeekRequest {
        parent: PARENT.into(),
        user: "u".into(),
        limits: vec!["user-api".into()],
        cost: Some(cost),
        ..Default::default()
    };
    for (cost, admits) in [(10, true), (10, true), (11, false)] {
        let peeked = service.client.clone().peek(peek(cost)).await.expect("an answer").into_inner();
        assert_eq!(peeked.would_admit, admits);
    }
}

#[tokio::test]
async fn created_policy_is_in_force_at_once_and_a_change_keeps_consumed_hits() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let limit = |amount| {
        Some(pb::Limit {
            amount,
            period: Some(prost_types::Duration { seconds: 3600, nanos: 0 }),
            ..Default::default()
        })
    };
    let entries = ["tenant", "user"].map(|key| pb::PolicyEntry { key: key.into(), value: String::new() }).into();
    let policy = pb::Policy { entries, limit: limit(10), ..Default::default() };
    let create = pb::CreatePolicyRequest { policy_id: "own".into(), policy: Some(policy), validate_only: false };
    let made = client.create_policy(create).await.expect("it is made").into_inner();
    let acquired =
        service.acquire(pb::AcquireRequest { cost: Some(4), ..call("u", &["own"]) }).await.expect("in force");
    assert_eq!(acquired.limits[0].remaining, 6);
    let changed = pb::Policy { limit: limit(6), ..made };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["limit".into()] });
    let update = pb::UpdatePolicyRequest { policy: Some(changed), update_mask, validate_only: false };
    client.update_policy(update).await.expect("it is changed");
    let acquired = service.acquire(call("u", &["own"])).await.expect("in force");
    assert_eq!((acquired.limits[0].amount, acquired.limits[0].remaining), (6, 1));
}

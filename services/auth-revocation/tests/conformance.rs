//! Contract of each call, over gRPC on a real store.

mod support;

use std::time::Duration;

use keyplane_contracts::audit::v1 as audit;
use keyplane_contracts::revocation::v1 as pb;
use prost_types::Duration as Span;
use support::{ISSUER, PARENT, PATIENCE, claims, details, seconds_from_now, shared, token, violated};
use tonic::{Code, Request};

fn cause() -> audit::Cause {
    let reason = audit::cause::Reason::Compromised.into();
    audit::Cause { reason, initiator: "ops".into(), description: "T-1".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_revoked_at_once_on_the_instance_that_was_called() {
    let service = shared(&[]).await;
    let before = service.check(claims("j-1")).await;
    assert_eq!((before.verdict(), before.rule()), (pb::Verdict::Active, pb::Rule::Unspecified));
    let freshness = before.freshness.expect("every answer proves its freshness");
    assert_eq!(freshness.source(), pb::Source::Local);
    assert!(!freshness.sequence.is_empty());

    let made = service.revoke_token("j-1").await;
    assert!(made.name.starts_with("tenants/acme/revocations/t"), "{}", made.name);
    assert_eq!((made.scope(), made.state()), (pb::Scope::Token, pb::revocation::State::Revoked));
    assert_eq!((made.target.as_str(), made.cutoff_time), ("", None), "a token is known by its hash alone");
    assert!(!made.etag.is_empty() && !made.sequence.is_empty() && made.update_time.is_some());
    assert_eq!(made.durability(), pb::Durability::PrimaryOnly, "the test's store has no replica");

    let after = service.check(claims("j-1")).await;
    assert_eq!((after.verdict(), after.rule()), (pb::Verdict::Revoked, pb::Rule::Token));
    assert_eq!(after.revocation, made.name);
    assert_eq!(service.rule(claims("j-2")).await, pb::Rule::Unspecified);
    let elsewhere = pb::Claims { issuer: "https://other.example".into(), ..claims("j-1") };
    assert_eq!(service.rule(elsewhere).await, pb::Rule::Unspecified, "a jti is its issuer's");

    let again = service.revoke_token("j-1").await;
    assert_eq!((&again.etag, &again.name), (&made.etag, &made.name), "repeating it changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenant_cannot_revoke_anothers_token() {
    let service = shared(&[]).await;
    let request = pb::RevokeTokenRequest { parent: "tenants/mallory".into(), ..token("j-1") };
    service.client.clone().revoke_token(request).await.expect("its own token of that name");
    assert_eq!(service.rule(claims("j-1")).await, pb::Rule::Unspecified);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_scope_rejects_the_tokens_that_it_covers_and_no_others() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let other = pb::Claims {
        issuer: "https://other.example".into(),
        sid: "s-2".into(),
        subject: "u-43".into(),
        client: "cli".into(),
        ..claims("j-2")
    };

    let parent = || PARENT.to_owned();
    let session =
        pb::RevokeSessionRequest { parent: parent(), sid: "s-1".into(), ..pb::RevokeSessionRequest::default() };
    let made = client.revoke_session(session).await.expect("a session").into_inner();
    assert_eq!((made.scope(), made.target.as_str(), made.cutoff_time), (pb::Scope::Session, "s-1", None));
    assert_eq!(service.rule(claims("j")).await, pb::Rule::Session);

    let subject =
        pb::RevokeSubjectRequest { parent: parent(), subject: "u-42".into(), ..pb::RevokeSubjectRequest::default() };
    let made = client.revoke_subject(subject).await.expect("a user").into_inner();
    assert_eq!((made.scope(), made.target.as_str()), (pb::Scope::SubjectIssuedAt, "u-42"));
    assert!(made.cutoff_time.is_some(), "the store sets it");
    assert_eq!(service.rule(claims("j")).await, pb::Rule::Subject);

    let portal =
        pb::RevokeClientRequest { parent: parent(), client: "portal".into(), ..pb::RevokeClientRequest::default() };
    assert_eq!(client.revoke_client(portal).await.expect("a client").into_inner().scope(), pb::Scope::Client);
    assert_eq!(service.rule(claims("j")).await, pb::Rule::Client);

    let key = pb::RevokeKeyRequest {
        parent: parent(),
        issuer: ISSUER.into(),
        kid: "k-1".into(),
        ..pb::RevokeKeyRequest::default()
    };
    let made = client.revoke_key(key).await.expect("a key").into_inner();
    assert_eq!((made.scope(), made.target.as_str(), made.issuer.as_str()), (pb::Scope::Key, "k-1", ISSUER));
    assert_eq!(service.rule(claims("j")).await, pb::Rule::Key);

    assert_eq!(
        service.rule(other.clone()).await,
        pb::Rule::Unspecified,
        "it shares nothing with the others but its kid's name"
    );
    let all = pb::RevokeTenantRequest { parent: parent(), ..pb::RevokeTenantRequest::default() };
    assert_eq!(client.revoke_tenant(all).await.expect("a tenant").into_inner().scope(), pb::Scope::Tenant);
    assert_eq!(service.rule(other).await, pb::Rule::Tenant);
    assert_eq!(service.rule(claims("j")).await, pb::Rule::Tenant, "of several, the first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_after_the_logout_works_and_kept_sessions_go_on() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let moment = Some(seconds_from_now(-30));
    let request = pb::RevokeSubjectRequest {
        parent: PARENT.into(),
        subject: "u-42".into(),
        cutoff_time: moment,
        keep_sids: vec!["s-kept".into(), "s-kept".into()],
        ..pb::RevokeSubjectRequest::default()
    };
    let made = client.revoke_subject(request).await.expect("a logout").into_inner();
    assert_eq!((made.cutoff_time, &made.keep_sids[..]), (moment, &["s-kept".to_owned()][..]));
    assert_eq!(service.rule(claims("old")).await, pb::Rule::Subject);
    let kept = pb::Claims { sid: "s-kept".into(), ..claims("kept") };
    assert_eq!(service.rule(kept).await, pb::Rule::Unspecified);
    let later = pb::Claims { issue_time: Some(seconds_from_now(-10)), ..claims("later") };
    assert_eq!(service.rule(later.clone()).await, pb::Rule::Unspecified);

    // By the time of the login: a token that was issued later, for a login before, is rejected as well.
    let request = pb::RevokeSubjectRequest {
        parent: PARENT.into(),
        subject: "u-42".into(),
        cutoff_time: Some(seconds_from_now(-30)),
        kind: pb::revoke_subject_request::Kind::AuthTime.into(),
        ..pb::RevokeSubjectRequest::default()
    };
    let made = client.revoke_subject(request).await.expect("a deactivation").into_inner();
    assert_eq!(made.scope(), pb::Scope::SubjectAuthTime);
    assert_eq!(service.rule(later.clone()).await, pb::Rule::Subject);
    assert_eq!(service.rule(pb::Claims { auth_time: None, ..later.clone() }).await, pb::Rule::Subject);
    let anew = pb::Claims { auth_time: Some(seconds_from_now(-10)), ..later };
    assert_eq!(service.rule(anew).await, pb::Rule::Unspecified);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_break_a_rule_by_themselves_are_rejected() {
    let service = shared(&[]).await;
    let cases = [
        (pb::Claims { expire_time: None, ..claims("j") }, pb::Rule::NoExpiry),
        (pb::Claims { expire_time: Some(seconds_from_now(-120)), ..claims("j") }, pb::Rule::Expired),
        (pb::Claims { expire_time: Some(seconds_from_now(90_000)), ..claims("j") }, pb::Rule::LifetimeTooLong),
        (pb::Claims { issue_time: Some(seconds_from_now(120)), ..claims("j") }, pb::Rule::IssuedInFuture),
    ];
    for (claims, rule) in cases {
        let checked = service.check(claims).await;
        assert_eq!((checked.verdict(), checked.rule(), checked.revocation.as_str()), (pb::Verdict::Revoked, rule, ""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_as_fresh_as_demanded() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let made = service.revoke_token("j-1").await;
    let mut request = pb::CheckRequest {
        parent: PARENT.into(),
        claims: Some(claims("j-2")),
        min_sequence: made.sequence.clone(),
        max_staleness: None,
    };
    let checked = client.check(request.clone()).await.expect("it is known, or asked").into_inner();
    assert_eq!(checked.verdict(), pb::Verdict::Active);
    request.max_staleness = Some(Span::default());
    let freshness = client.check(request.clone()).await.expect("the store is there").into_inner().freshness.unwrap();
    assert_eq!(
        (freshness.source(), freshness.age, freshness.sequence.as_str()),
        (pb::Source::Store, Some(Span::default()), "")
    );
    request.claims = Some(claims("j-1"));
    let checked = client.check(request.clone()).await.expect("the store is there").into_inner();
    assert_eq!((checked.rule(), checked.freshness.unwrap().source()), (pb::Rule::Token, pb::Source::Store));

    // A sequence of another store is no sequence of this one.
    request.min_sequence = "AQAA".into();
    assert_eq!(violated(&client.check(request.clone()).await.unwrap_err()), ["min_sequence"]);
    let negative = pb::CheckRequest {
        min_sequence: String::new(),
        max_staleness: Some(Span { seconds: -1, nanos: 0 }),
        ..request
    };
    assert_eq!(violated(&client.check(negative).await.unwrap_err()), ["max_staleness"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_checked_at_once() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    service.revoke_token("j-7").await;
    let all: Vec<_> = (0..100).map(|n| claims(&format!("j-{n}"))).collect();
    let request = pb::BatchCheckRequest { parent: PARENT.into(), claims: all, ..pb::BatchCheckRequest::default() };
    let checked = client.batch_check(request.clone()).await.expect("answers").into_inner();
    let revoked: Vec<_> = (0..100).filter(|&n| checked.results[n].verdict() == pb::Verdict::Revoked).collect();
    assert_eq!((revoked, checked.results[7].rule()), (vec![7], pb::Rule::Token));
    assert_eq!(checked.freshness.unwrap().source(), pb::Source::Local);
    let asked = pb::BatchCheckRequest { max_staleness: Some(Span::default()), ..request.clone() };
    let checked = client.batch_check(asked).await.expect("the store is there").into_inner();
    assert_eq!((checked.results[7].rule(), checked.results[8].verdict()), (pb::Rule::Token, pb::Verdict::Active));
    assert_eq!(checked.freshness.unwrap().source(), pb::Source::Store, "the weakest");

    let mut bad = request;
    bad.claims[3].jti = "a\nb".into();
    bad.claims[5].subject = "not a user".into();
    assert_eq!(violated(&client.batch_check(bad).await.unwrap_err()), ["claims[3].jti", "claims[5].subject"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_read_undone_and_made_again() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let made = service.revoke_token("j-1").await;
    let get = pb::GetRevocationRequest { name: made.name.clone() };
    let read = client.get_revocation(get.clone()).await.expect("it is there").into_inner();
    assert_eq!(read, pb::Revocation { sequence: String::new(), durability: 0, ..made.clone() });

    let undo = pb::UndoRevocationRequest { name: made.name.clone(), etag: "1".into(), cause: Some(cause()) };
    let status = client.undo_revocation(undo.clone()).await.unwrap_err();
    let stale = details(&status, Code::Aborted, "STALE_WRITE");
    assert_eq!(stale.error_info().unwrap().metadata["current"], made.etag);
    let undo = pb::UndoRevocationRequest { etag: made.etag.clone(), ..undo };
    let undone = client.undo_revocation(undo.clone()).await.expect("its own etag").into_inner();
    assert_eq!(undone.state(), pb::revocation::State::Undone);
    assert!(undone.etag != made.etag && !undone.sequence.is_empty());
    assert_eq!(service.rule(claims("j-1")).await, pb::Rule::Unspecified);
    let again = client.undo_revocation(undo).await.expect("repeating it changes nothing").into_inner();
    assert_eq!((&again.etag, again.state()), (&undone.etag, undone.state()));
    assert_eq!(client.get_revocation(get).await.expect("it is still there").into_inner().etag, undone.etag);

    let anew = service.revoke_token("j-1").await;
    assert_eq!((anew.state(), anew.name), (pb::revocation::State::Revoked, made.name));
    assert_eq!(service.rule(claims("j-1")).await, pb::Rule::Token);

    let none = format!("{PARENT}/revocations/t{}", "0".repeat(32));
    let status = client.get_revocation(pb::GetRevocationRequest { name: none.clone() }).await.unwrap_err();
    details(&status, Code::NotFound, "REVOCATION_NOT_FOUND");
    let undo = pb::UndoRevocationRequest { name: none, ..pb::UndoRevocationRequest::default() };
    details(&client.undo_revocation(undo).await.unwrap_err(), Code::NotFound, "REVOCATION_NOT_FOUND");
    let undo =
        pb::UndoRevocationRequest { name: "tenants/acme/revocations/x".into(), etag: "\"7\"".into(), cause: None };
    assert_eq!(violated(&client.undo_revocation(undo).await.unwrap_err()), ["name", "etag"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_tokens_need_no_revocation_and_future_cutoffs_are_invalid() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let expired = pb::RevokeTokenRequest { expire_time: Some(seconds_from_now(-3600)), ..token("j-1") };
    let made = client.revoke_token(expired).await.expect("a late retry is no error").into_inner();
    assert_eq!((made.etag.as_str(), made.update_time), ("", None), "nothing was stored");
    assert_eq!(made.state(), pb::revocation::State::AlreadyExpired, "and the response claims no revocation");
    let status = client.get_revocation(pb::GetRevocationRequest { name: made.name }).await.unwrap_err();
    details(&status, Code::NotFound, "REVOCATION_NOT_FOUND");

    let long = pb::RevokeTokenRequest { expire_time: Some(seconds_from_now(90_000)), ..token("j-1") };
    assert_eq!(violated(&client.revoke_token(long).await.unwrap_err()), ["expire_time"]);
    let future = pb::RevokeTenantRequest { parent: PARENT.into(), cutoff_time: Some(seconds_from_now(5)), cause: None };
    assert_eq!(violated(&client.revoke_tenant(future).await.unwrap_err()), ["cutoff_time"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_violated_field_is_named_and_no_value_is_repeated() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let request = pb::RevokeSubjectRequest {
        parent: "tenants/SECRET".into(),
        subject: "SECRET secret".into(),
        cutoff_time: Some(prost_types::Timestamp { seconds: -1, nanos: 0 }),
        kind: 7,
        keep_sids: vec!["ok".into(), "SECRET\n".into()],
        cause: Some(audit::Cause { reason: 99, initiator: "SECRET".repeat(30), description: "SECRET".repeat(60) }),
    };
    let status = client.revoke_subject(request).await.unwrap_err();
    let fields = violated(&status);
    let expected = [
        "parent",
        "kind",
        "subject",
        "cutoff_time",
        "keep_sids[1]",
        "cause.initiator",
        "cause.description",
        "cause.reason",
    ];
    assert_eq!(fields, expected);
    assert!(!format!("{status:?}").contains("SECRET"), "{status:?}");
    let many = pb::RevokeSubjectRequest {
        parent: PARENT.into(),
        subject: "u".into(),
        keep_sids: (0..17).map(|n| n.to_string()).collect(),
        ..pb::RevokeSubjectRequest::default()
    };
    assert_eq!(violated(&client.revoke_subject(many).await.unwrap_err()), ["keep_sids"]);
    let status = client.revoke_client(pb::RevokeClientRequest::default()).await.unwrap_err();
    assert_eq!(violated(&status), ["parent", "client"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_names_initiator_and_reason_newest_first() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let mut names = Vec::new();
    for n in 0..5 {
        let request = pb::RevokeTokenRequest { cause: Some(cause()), ..token(&format!("j-{n}")) };
        names.insert(0, client.revoke_token(request).await.expect("it is revoked").into_inner().name);
    }
    let undo = pb::UndoRevocationRequest { name: names[4].clone(), ..pb::UndoRevocationRequest::default() };
    client.undo_revocation(undo).await.expect("it is undone");
    names.insert(0, names[4].clone());

    let mut request = audit::ListAuditEntriesRequest { parent: PARENT.into(), page_size: 4, page_token: String::new() };
    let mut seen = Vec::new();
    loop {
        let page = client.list_audit_entries(request.clone()).await.expect("a page").into_inner();
        assert!(page.audit_entries.len() <= 4);
        seen.extend(page.audit_entries);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let resources: Vec<_> = seen.iter().map(|entry| entry.resource.clone()).collect();
    assert_eq!(resources, names);
    let rpc = |name: &str| format!("keyplane.revocation.v1.RevocationService/{name}");
    assert_eq!((&seen[0].action, &seen[1].action), (&rpc("UndoRevocation"), &rpc("RevokeToken")));
    assert!(seen.iter().all(|entry| entry.outcome() == audit::audit_entry::Outcome::Succeeded));
    assert_eq!(seen[1].details["scope"], "SCOPE_TOKEN", "{:?}", seen[1].details);
    assert!(seen[1].details["expire_time"].ends_with('Z') && !seen[1].details["etag"].is_empty());
    assert!(!seen[1].details.contains_key("cutoff_time"), "a token has no cutoff");
    assert_eq!(seen[1].cause, Some(cause()));
    assert!(seen.iter().all(|entry| entry.time.is_some()));

    request.parent = "tenants/other".into();
    let page_token = client.list_audit_entries(request.clone()).await;
    assert_eq!(violated(&page_token.unwrap_err()), ["page_token"], "a token is bound to its parent");
    request.page_token.clear();
    assert_eq!(client.list_audit_entries(request.clone()).await.expect("a page").into_inner().audit_entries, []);
    request.page_size = -1;
    assert_eq!(violated(&client.list_audit_entries(request).await.unwrap_err()), ["page_size"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_for_propagation_is_complete_or_names_lagging_instances() {
    let app = keyplane_testkit::app();
    let url = keyplane_testkit::valkey().url();
    let first = support::start(&app, &url, &[], |_| {}).await;
    let second = support::start(&app, &url, &[], |_| {}).await;
    let made = second.revoke_token("j-1").await;
    let mut client = first.client.clone();
    let wait = |sequence: &str, seconds| pb::WaitForPropagationRequest {
        sequence: sequence.into(),
        timeout: Some(Span { seconds, nanos: 0 }),
    };
    let mut request = Request::new(wait(&made.sequence, 10));
    request.set_timeout(Duration::from_secs(15));
    let propagation = client.wait_for_propagation(request).await.expect("the store answers").into_inner();
    assert_eq!((propagation.complete, propagation.instance_count), (true, 2), "{propagation:?}");
    assert_eq!(first.rule(claims("j-1")).await, pb::Rule::Token, "so the first knows");

    // A sequence far ahead: nobody has it, and the call answers before its deadline.
    let ahead = keyplane_revocation::Sequence::at(0, 1_000_000, 4).encode();
    let mut request = Request::new(wait(&ahead, 10));
    request.set_timeout(Duration::from_millis(500));
    let propagation =
        client.wait_for_propagation(request).await.expect("an answer, not DEADLINE_EXCEEDED").into_inner();
    assert_eq!(
        (propagation.complete, propagation.instance_count, propagation.lagging_instances.len()),
        (false, 2, 2),
        "{propagation:?}"
    );

    assert_eq!(violated(&client.wait_for_propagation(wait("", 11)).await.unwrap_err()), ["sequence", "timeout"]);

    // Nobody waits for an instance that shut down in good order. (Its lease would last for three seconds more.)
    second.running.drain_and_stop().await;
    let propagation =
        client.wait_for_propagation(wait(&made.sequence, 10)).await.expect("the store answers").into_inner();
    assert_eq!((propagation.complete, propagation.instance_count), (true, 1), "{propagation:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_is_the_position_of_the_instance() {
    let service = shared(&[]).await;
    let made = service.revoke_token("j-1").await;
    let wanted = keyplane_revocation::Sequence::parse(&made.sequence).expect("a sequence");
    let client = service.client.clone();
    let head = keyplane_testkit::eventually("the instance applies its own write", PATIENCE, async || {
        let head = client.clone().get_head(pb::GetHeadRequest {}).await.expect("it is in memory").into_inner();
        let sequence = keyplane_revocation::Sequence::parse(&head.sequence).expect("a sequence");
        if sequence.covers(&wanted) { Ok(head) } else { Err(head) }
    })
    .await;
    assert!(head.age.is_some() && !head.epoch.is_empty(), "{head:?}");
}

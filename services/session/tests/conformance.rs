//! Promises of the contract for each call, over gRPC on a real store.

mod support {
    pub(crate) mod service;
}

use std::time::Duration;

use keyplane_contracts::session::v1 as pb;
use prost_types::FieldMask;
use support::service::{PARENT, PATIENCE, details, parent, sample, shared};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn created_session_is_read() {
    let mut service = shared(&[]).await;
    let device = pb::Device { user_agent: "Mozilla/5.0".into(), ip: "10.0.0.7".into(), label: "laptop".into() };
    let made = service.create(pb::Session { device: Some(device.clone()), ..sample() }).await;
    assert_eq!(made.name, format!("{PARENT}/sessions/{}", made.session_id));
    assert_eq!((made.company_id(), made.last_path(), made.version), ("c-7", "/home", 1));
    assert_eq!(made.attributes["theme"], "dark");
    assert_eq!(made.device, Some(device));
    assert_eq!(made.create_time, made.update_time);
    let seconds = |time: &Option<prost_types::Timestamp>| time.as_ref().map(|time| time.seconds).unwrap();
    assert!((1799..=1800).contains(&(seconds(&made.expire_time) - seconds(&made.create_time))));
    assert_eq!(made.idle_timeout.unwrap().seconds, 1800);
    assert_eq!(made.absolute_timeout.unwrap().seconds, 43_200);
    assert_eq!(service.get(&made.name).await.unwrap(), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn retried_login_creates_one_session() {
    let mut service = shared(&[]).await;
    let attributes = (0..20).map(|n| (format!("k{n}"), "v".to_owned())).collect();
    let session = pb::Session { attributes, ..sample() };
    let request = pb::CreateSessionRequest { session: Some(session), request_id: "login-1".into(), ..parent() };
    let first = service.client.create_session(request.clone()).await.unwrap().into_inner();
    let second = service.client.create_session(request.clone()).await.unwrap().into_inner();
    assert_eq!(first, second);

    let mut other = request.clone();
    other.session = Some(pb::Session { company_id: Some("c-8".into()), ..sample() });
    let status = service.client.create_session(other).await.unwrap_err();
    details(&status, Code::InvalidArgument, "REQUEST_ID_REUSED");

    service
        .client
        .delete_session(pb::DeleteSessionRequest { name: first.name, allow_missing: false, revoke_tokens: false })
        .await
        .unwrap();
    let status = service.client.create_session(request).await.unwrap_err();
    details(&status, Code::NotFound, "SESSION_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn update_merges_what_is_present_or_masked() {
    let mut service = shared(&[]).await;
    let made = service.create(sample()).await;
    let name = made.name.clone();

    let patch = pb::Session { name: name.clone(), last_path: Some("/tasks/42".into()), ..pb::Session::default() };
    let patched = service.update(patch).await.unwrap();
    assert_eq!((patched.last_path(), patched.company_id(), patched.version), ("/tasks/42", "c-7", 2));
    assert!(patched.expire_time.unwrap().seconds >= made.expire_time.unwrap().seconds);

    // Under a mask, what it does not name is left alone, and what it names is taken even if empty.
    let attributes = [("lang".to_owned(), "de".to_owned())].into();
    let session =
        pb::Session { name: name.clone(), last_path: Some("/ignored".into()), attributes, ..pb::Session::default() };
    let request = pb::UpdateSessionRequest {
        session: Some(session),
        update_mask: Some(FieldMask { paths: vec!["company_id".into(), "attributes".into()] }),
        remove_attributes: vec!["theme".into(), "unknown".into()],
        version: 2,
    };
    let masked = service.client.update_session(request.clone()).await.unwrap().into_inner();
    assert_eq!((masked.last_path(), masked.company_id(), masked.version), ("/tasks/42", "", 3));
    assert_eq!(masked.attributes, [("lang".to_owned(), "de".to_owned())].into());

    let status = service.client.update_session(request).await.unwrap_err();
    let found = details(&status, Code::Aborted, "STALE_WRITE");
    assert_eq!(found.error_info().unwrap().metadata["current"], "3");

    // Nothing changes: the session is prolonged, and keeps its version.
    let same = service
        .update(pb::Session { name, last_path: Some("/tasks/42".into()), ..pb::Session::default() })
        .await
        .unwrap();
    assert_eq!((same.version, same.update_time), (3, masked.update_time));
}

#[tokio::test(flavor = "multi_thread")]
async fn update_never_recreates_a_session() {
    let mut service = shared(&[]).await;
    let made = service.create(sample()).await;
    let delete = pb::DeleteSessionRequest { name: made.name.clone(), allow_missing: false, revoke_tokens: false };
    service.client.delete_session(delete.clone()).await.unwrap();
    let patch = pb::Session { name: made.name.clone(), last_path: Some("/late".into()), ..pb::Session::default() };
    details(&service.update(patch).await.unwrap_err(), Code::NotFound, "SESSION_NOT_FOUND");
    details(&service.get(&made.name).await.unwrap_err(), Code::NotFound, "SESSION_NOT_FOUND");
    let touch = pb::TouchSessionRequest { name: made.name.clone() };
    details(&service.client.touch_session(touch).await.unwrap_err(), Code::NotFound, "SESSION_NOT_FOUND");
    details(&service.client.delete_session(delete.clone()).await.unwrap_err(), Code::NotFound, "SESSION_NOT_FOUND");
    service.client.delete_session(pb::DeleteSessionRequest { allow_missing: true, ..delete }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_sessions_end_and_use_prolongs_them_up_to_the_cap() {
    let mut service = shared(&[]).await;
    let second = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let made = service.create(pb::Session { idle_timeout: second(1), absolute_timeout: second(2), ..sample() }).await;
    let cap = made.absolute_expire_time.unwrap();
    // Touched again and again, it reaches its cap and no more.
    let mut last = made.expire_time.unwrap();
    let ended = keyplane_testkit::eventually("the session reaches its cap", PATIENCE, async || {
        match service.client.touch_session(pb::TouchSessionRequest { name: made.name.clone() }).await {
            Ok(touched) => {
                last = touched.into_inner().expire_time.unwrap();
                Err(last)
            }
            Err(status) => Ok(status),
        }
    })
    .await;
    details(&ended, Code::NotFound, "SESSION_NOT_FOUND");
    assert_eq!(last, cap, "a touch prolongs up to the absolute expiry");

    let idle = service.create(pb::Session { idle_timeout: second(1), ..sample() }).await;
    let listed = |list: tonic::Response<pb::ListSessionsResponse>| list.into_inner().sessions;
    let list = pb::ListSessionsRequest { parent: PARENT.into(), page_size: 0, page_token: String::new() };
    assert_eq!(listed(service.client.list_sessions(list.clone()).await.unwrap()), std::slice::from_ref(&idle));
    let client = service.client.clone();
    keyplane_testkit::eventually("an unused session ends", PATIENCE, async || {
        client.clone().get_session(pb::GetSessionRequest { name: idle.name.clone() }).await.is_err()
    })
    .await;
    assert_eq!(listed(service.client.list_sessions(list).await.unwrap()), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_a_user_are_capped() {
    let mut service =
        shared(&[("KEYPLANE_SESSION_TENANTS", "acme: max_sessions=2; strict: max_sessions=1, overflow=reject")]).await;
    let first = service.create(sample()).await;
    let second = service.create(sample()).await;
    service.client.touch_session(pb::TouchSessionRequest { name: first.name.clone() }).await.unwrap();
    service.create(sample()).await;
    assert!(service.get(&first.name).await.is_ok(), "it was used last");
    details(&service.get(&second.name).await.unwrap_err(), Code::NotFound, "SESSION_NOT_FOUND");

    let strict =
        pb::CreateSessionRequest { parent: "tenants/strict/users/u".into(), ..pb::CreateSessionRequest::default() };
    service.client.create_session(strict.clone()).await.unwrap();
    let status = service.client.create_session(strict).await.unwrap_err();
    let found = details(&status, Code::ResourceExhausted, "TOO_MANY_SESSIONS");
    assert_eq!(found.quota_failure().unwrap().violations.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn least_recently_used_session_is_evicted_whichever_ends_first() {
    let mut service = shared(&[("KEYPLANE_SESSION_TENANTS", "acme: max_sessions=2")]).await;
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let long = service.create(sample()).await;
    let short = service.create(pb::Session { idle_timeout: seconds(60), ..sample() }).await;
    service.client.touch_session(pb::TouchSessionRequest { name: short.name.clone() }).await.unwrap();
    // As long as its absolute timeout, which cuts every use short.
    let capped = pb::Session { idle_timeout: seconds(60), absolute_timeout: seconds(60), ..sample() };
    let third = service.create(capped.clone()).await;
    details(&service.get(&long.name).await.unwrap_err(), Code::NotFound, "SESSION_NOT_FOUND");
    service.get(&short.name).await.expect("it was used after the other, though it ends before it");

    // Reading is no use; an update that changes nothing is.
    service.update(pb::Session { name: short.name.clone(), ..pb::Session::default() }).await.unwrap();
    service.get(&third.name).await.unwrap();
    let fourth = service.create(capped).await;
    details(&service.get(&third.name).await.unwrap_err(), Code::NotFound, "SESSION_NOT_FOUND");

    let rotate = pb::RotateSessionRequest { name: short.name, request_id: String::new() };
    let rotated = service.client.rotate_session(rotate).await.unwrap().into_inner();
    service.create(sample()).await;
    details(&service.get(&fourth.name).await.unwrap_err(), Code::NotFound, "SESSION_NOT_FOUND");
    service.get(&rotated.name).await.expect("it was used last");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged_newest_first() {
    let mut service = shared(&[]).await;
    let mut names = Vec::new();
    for _ in 0..5 {
        names.insert(0, service.create(sample()).await.name);
    }
    let mut request = pb::ListSessionsRequest { parent: PARENT.into(), page_size: 2, page_token: String::new() };
    let mut seen = Vec::new();
    loop {
        let page = service.client.list_sessions(request.clone()).await.unwrap().into_inner();
        seen.extend(page.sessions.into_iter().map(|session| session.name));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen, names);

    request.parent = "tenants/acme/users/other".into();
    let status = service.client.list_sessions(request.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "a token is bound to its parent: {status:?}");
    request.page_token.clear();
    request.page_size = -1;
    assert_eq!(service.client.list_sessions(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_session_keeps_its_data_and_loses_its_id() {
    let mut service = shared(&[]).await;
    let made = service.create(sample()).await;
    let request = pb::RotateSessionRequest { name: made.name.clone(), request_id: "rotate-1".into() };
    let rotated = service.client.rotate_session(request.clone()).await.unwrap().into_inner();
    assert_ne!(rotated.name, made.name);
    assert_eq!((&rotated.last_path, &rotated.attributes, rotated.version), (&made.last_path, &made.attributes, 2));
    assert_eq!(rotated.absolute_expire_time, made.absolute_expire_time);
    details(&service.get(&made.name).await.unwrap_err(), Code::NotFound, "SESSION_NOT_FOUND");
    let again = service.client.rotate_session(request).await.unwrap().into_inner();
    assert_eq!(again, rotated, "a retry returns the new id");
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_all_keeps_one_session() {
    let mut service = shared(&[]).await;
    let kept = service.create(sample()).await;
    for _ in 0..3 {
        service.create(sample()).await;
    }
    let request =
        pb::RevokeAllSessionsRequest { parent: PARENT.into(), keep_session: kept.name.clone(), revoke_tokens: false };
    assert_eq!(service.client.revoke_all_sessions(request.clone()).await.unwrap().into_inner().revoked_count, 3);
    assert!(service.get(&kept.name).await.is_ok());
    let all = pb::RevokeAllSessionsRequest { keep_session: String::new(), ..request };
    assert_eq!(service.client.revoke_all_sessions(all).await.unwrap().into_inner().revoked_count, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_bound_merged_and_drop_out() {
    let mut service = shared(&[]).await;
    let token = |jti: &str, seconds: u64| {
        let at = std::time::SystemTime::now() + Duration::from_secs(seconds);
        pb::BoundToken { jti: jti.into(), issuer: "https://id.example".into(), expire_time: Some(at.into()) }
    };
    let made = service.create(pb::Session { tokens: vec![token("short", 1), token("long", 600)], ..sample() }).await;
    assert_eq!(made.tokens.len(), 2);
    let client = service.client.clone();
    keyplane_testkit::eventually("an expired token drops out", PATIENCE, async || {
        let request = pb::GetSessionRequest { name: made.name.clone() };
        client.clone().get_session(request).await.is_ok_and(|session| session.get_ref().tokens.len() == 1)
    })
    .await;
    let patch = pb::Session { name: made.name.clone(), tokens: vec![token("more", 600)], ..pb::Session::default() };
    let patched = service.update(patch).await.unwrap();
    let ids: Vec<_> = patched.tokens.iter().map(|token| token.jti.as_str()).collect();
    assert_eq!(ids, ["long", "more"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_token_is_found_by_the_stores_clock() {
    let mut service = shared(&[]).await;
    let token = |jti: &str, at: std::time::SystemTime| pb::BoundToken {
        jti: jti.into(),
        issuer: "https://id.example".into(),
        expire_time: Some(at.into()),
    };
    let now = std::time::SystemTime::now();
    let tokens = vec![token("good", now + Duration::from_mins(10)), token("old", now - Duration::from_secs(1))];
    let named = |status: tonic::Status| {
        let found = details(&status, Code::InvalidArgument, "INVALID_REQUEST");
        found.bad_request().unwrap().field_violations.iter().map(|v| v.field.clone()).collect::<Vec<_>>()
    };
    let session = pb::Session { tokens: tokens.clone(), ..sample() };
    let request = pb::CreateSessionRequest {
        parent: PARENT.into(),
        session: Some(session),
        ..pb::CreateSessionRequest::default()
    };
    let rejected = service.client.create_session(request).await.unwrap_err();
    assert_eq!(named(rejected), ["session.tokens[1].expire_time"]);
    let made = service.create(sample()).await;
    let rejected = service.update(pb::Session { name: made.name.clone(), tokens, ..pb::Session::default() }).await;
    assert_eq!(named(rejected.unwrap_err()), ["session.tokens[1].expire_time"]);
    assert_eq!(service.get(&made.name).await.unwrap(), made, "nothing was changed");
}

/// Regression: an instance whose clock was a day ahead rejected good tokens, and did not revoke them at a logout.
#[test]
fn requests_are_not_checked_against_this_machines_clock() {
    for (name, source) in [
        ("domain/rules.rs", include_str!("../src/domain/rules.rs")),
        ("app/logout.rs", include_str!("../src/app/logout.rs")),
        ("peers/revocation.rs", include_str!("../src/peers/revocation.rs")),
        ("store/sessions.rs", include_str!("../src/store/sessions.rs")),
        ("store/endings.rs", include_str!("../src/store/endings.rs")),
    ] {
        assert!(
            !source.contains("SystemTime"),
            "{name}: ask the store what has expired; see expired_token in common.lua"
        );
        assert!(!source.contains("now: Micros"), "{name}: scripts decide on expiry");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn violated_fields_are_all_named() {
    let mut service = shared(&[]).await;
    let session = pb::Session {
        company_id: Some("x".repeat(129)),
        last_path: Some("no-slash\u{1}".into()),
        attributes: (0..65).map(|n| (format!("k{n}"), String::new())).collect(),
        device: Some(pb::Device { ip: "not-an-ip".into(), ..pb::Device::default() }),
        tokens: vec![pb::BoundToken::default()],
        idle_timeout: Some(prost_types::Duration { seconds: 86_400, nanos: 0 }),
        ..pb::Session::default()
    };
    let request = pb::CreateSessionRequest {
        parent: "tenants/ACME/users/u".into(),
        session: Some(session.clone()),
        request_id: "no spaces".into(),
    };
    let status = service.client.create_session(request.clone()).await.unwrap_err();
    let fields = |status: &tonic::Status| {
        let found = details(status, Code::InvalidArgument, "INVALID_REQUEST");
        found.bad_request().unwrap().field_violations.iter().map(|v| v.field.clone()).collect::<Vec<_>>()
    };
    let expected = ["parent", "request_id", "session.tokens[0].expire_time", "session.company_id", "session.last_path"];
    let named = fields(&status);
    for field in expected.iter().chain(&["session.attributes", "session.device.ip"]) {
        assert!(named.iter().any(|named| named == field), "{field} is not among {named:?}");
    }
    // The tenant's own bounds are listed with the rest once the tenant is known.
    let status = service.client.create_session(pb::CreateSessionRequest { parent: PARENT.into(), ..request }).await;
    assert!(fields(&status.unwrap_err()).contains(&"session.idle_timeout".to_owned()));

    let status = service.update(pb::Session { name: "tenants/acme/users/u/sessions/7f3c".into(), ..session }).await;
    assert!(fields(&status.unwrap_err()).contains(&"session.name".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn merge_beyond_the_bounds_writes_nothing() {
    let mut service = shared(&[]).await;
    let many = |from: usize, to: usize| (from..to).map(|n| (format!("k{n}"), String::new())).collect();
    let made = service.create(pb::Session { attributes: many(0, 60), ..sample() }).await;
    let patch = |attributes| pb::Session { name: made.name.clone(), attributes, ..pb::Session::default() };
    let status = service.update(patch(many(60, 65))).await.unwrap_err();
    details(&status, Code::InvalidArgument, "INVALID_REQUEST");
    assert!(status.message().contains("at most 64 attributes; it would have 65"), "{}", status.message());
    let big = [("big".to_owned(), "x".repeat(8192))].into();
    let status = service.update(patch(big)).await.unwrap_err();
    assert!(status.message().contains("at most 8192 bytes"), "{}", status.message());
    assert_eq!(service.get(&made.name).await.unwrap(), made);
}

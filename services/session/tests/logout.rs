//! Ends of sessions with `revoke_tokens`: no token outlives its session, whatever happens in between.

mod support {
    pub(crate) mod revocation;
    pub(crate) mod service;
}

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use futures::FutureExt as _;
use keyplane_contracts::audit::v1 as audit;
use keyplane_contracts::revocation::v1 as revocation;
use keyplane_contracts::session::v1 as pb;
use keyplane_testkit::{Fault, FaultProxy};
use revocation::revoke_request::Target;
use support::revocation::{Revocations, name};
use support::service::{PARENT, PATIENCE, Service, details, parent, sample, shared};
use tonic::{Code, Request, Status};

const URL: &str = "KEYPLANE_SESSION_REVOCATION_URL";
const ISSUER: &str = "https://id.example";

async fn pair() -> (Revocations, Service) {
    let revocations = Revocations::start().await;
    let service = shared(&[(URL, &revocations.url())]).await;
    (revocations, service)
}

fn token(jti: &str) -> pb::BoundToken {
    let expires = SystemTime::now() + Duration::from_mins(10);
    pb::BoundToken { jti: jti.into(), issuer: ISSUER.into(), expire_time: Some(expires.into()) }
}

fn with_tokens(jtis: &[&str]) -> pb::Session {
    pb::Session { tokens: jtis.iter().map(|jti| token(jti)).collect(), ..sample() }
}

fn binding(name: &str, jti: &str) -> pb::UpdateSessionRequest {
    let session = pb::Session { name: name.to_owned(), tokens: vec![token(jti)], ..pb::Session::default() };
    pb::UpdateSessionRequest { session: Some(session), ..pb::UpdateSessionRequest::default() }
}

fn delete(name: &str) -> pb::DeleteSessionRequest {
    pb::DeleteSessionRequest { name: name.to_owned(), allow_missing: false, revoke_tokens: true }
}

fn all() -> pb::RevokeAllSessionsRequest {
    pb::RevokeAllSessionsRequest { parent: PARENT.into(), keep_session: String::new(), revoke_tokens: true }
}

fn sid(session: &pb::Session) -> String {
    format!("sid:{}", session.name.rsplit('/').next().unwrap())
}

fn names(expected: &[&str]) -> BTreeSet<String> {
    expected.iter().map(|&name| name.to_owned()).collect()
}

#[track_caller]
fn assert_not_found(read: Result<pb::Session, Status>) {
    details(&read.expect_err("the session ended"), Code::NotFound, "SESSION_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn session_ends_with_its_tokens() {
    let (revocations, mut service) = pair().await;
    let made = service.create(with_tokens(&["a", "b"])).await;
    let mut request = Request::new(delete(&made.name));
    request.set_timeout(Duration::from_secs(8));
    service.client.delete_session(request).await.unwrap();
    assert_not_found(service.get(&made.name).await);

    let [call] = revocations.calls().try_into().expect("one call");
    assert_eq!(call.parent, "tenants/acme");
    assert_eq!(revocations.revoked(), names(&["jti:a", "jti:b", &sid(&made)]));
    for one in call.requests {
        let cause = match one.target.unwrap() {
            Target::Token(token) => {
                assert_eq!(token.issuer, ISSUER);
                let bound = made.tokens.iter().find(|bound| bound.jti == token.jti).unwrap();
                assert_eq!(token.expire_time, bound.expire_time);
                token.cause
            }
            Target::Session(session) => {
                assert_eq!(session.expire_time, None, "for as long as a token may live");
                session.cause
            }
            other @ (Target::Subject(_) | Target::Client(_) | Target::Key(_) | Target::Tenant(_)) => {
                panic!("{other:?}")
            }
        };
        let cause = cause.expect("a cause");
        assert_eq!((cause.reason(), cause.initiator.as_str()), (audit::cause::Reason::Logout, "session"));
    }
    let [timeout] = revocations.timeouts().try_into().expect("one deadline");
    let micros: u64 = timeout.strip_suffix('u').and_then(|digits| digits.parse().ok()).expect("microseconds");
    assert!((1..=7_200_000).contains(&micros), "nine tenths of what the caller's deadline leaves: {timeout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_being_asked_nothing_is_revoked() {
    let (revocations, mut service) = pair().await;
    let made = service.create(with_tokens(&["a"])).await;
    service
        .client
        .delete_session(pb::DeleteSessionRequest { revoke_tokens: false, ..delete(&made.name) })
        .await
        .unwrap();
    service.create(with_tokens(&["b"])).await;
    service.client.revoke_all_sessions(pb::RevokeAllSessionsRequest { revoke_tokens: false, ..all() }).await.unwrap();
    assert_eq!(revocations.calls(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_bound_during_a_logout_is_revoked() {
    let (revocations, mut service) = pair().await;
    let made = service.create(with_tokens(&["a"])).await;
    let (client, session) = (service.client.clone(), made.name.clone());
    revocations.meanwhile(move |call| {
        let (mut client, request) = (client.clone(), binding(&session, "late"));
        async move {
            if call == 1 {
                client.update_session(request).await.expect("the session is still there");
            }
        }
        .boxed()
    });
    service.client.delete_session(delete(&made.name)).await.unwrap();
    assert_not_found(service.get(&made.name).await);
    assert_eq!(revocations.revoked(), names(&["jti:a", "jti:late", &sid(&made)]));
    let second: Vec<_> = revocations.calls()[1].requests.iter().map(name).collect();
    assert_eq!(second, ["jti:late"], "the second round revokes only what is new");
}

#[tokio::test(flavor = "multi_thread")]
async fn bound_tokens_are_all_revoked_whoever_wins() {
    let (revocations, mut service) = pair().await;
    for _ in 0..20 {
        let made = service.create(sample()).await;
        let binders = (0..4).map(|binder| {
            let (mut client, session) = (service.client.clone(), made.name.clone());
            tokio::spawn(async move {
                let mut bound = Vec::new();
                for n in 0..4 {
                    let jti = format!("{}-{binder}-{n}", session.rsplit('/').next().unwrap());
                    match client.update_session(binding(&session, &jti)).await {
                        Ok(_) => bound.push(format!("jti:{jti}")),
                        Err(status) => drop(details(&status, Code::NotFound, "SESSION_NOT_FOUND")),
                    }
                }
                bound
            })
        });
        let binders: Vec<_> = binders.collect();
        while let Err(status) = service.client.delete_session(delete(&made.name)).await {
            details(&status, Code::Aborted, "SESSIONS_CHANGING");
        }
        for binder in binders {
            let bound: BTreeSet<_> = binder.await.expect("a binder").into_iter().collect();
            let revoked = revocations.revoked();
            assert!(bound.is_subset(&revoked), "they outlive their session: {:?}", bound.difference(&revoked));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_never_rest_are_left_alone() {
    let (revocations, mut service) = pair().await;
    let made = service.create(sample()).await;
    let (client, session) = (service.client.clone(), made.name.clone());
    revocations.meanwhile(move |call| {
        let (mut client, request) = (client.clone(), binding(&session, &format!("t{call}")));
        async move { drop(client.update_session(request).await.expect("the session is still there")) }.boxed()
    });
    let status = service.client.delete_session(delete(&made.name)).await.expect_err("it gives up");
    details(&status, Code::Aborted, "SESSIONS_CHANGING");
    assert_eq!(revocations.calls().len(), 5);
    let status = service.client.revoke_all_sessions(all()).await.expect_err("it gives up");
    details(&status, Code::Aborted, "SESSIONS_CHANGING");
    assert_eq!(service.get(&made.name).await.expect("it is there").version, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn revoke_all_but_one_revokes_their_tokens() {
    let (revocations, mut service) = pair().await;
    let kept = service.create(with_tokens(&["kept"])).await;
    let one = service.create(with_tokens(&["one"])).await;
    let two = service.create(with_tokens(&["two"])).await;
    // A login in between is not what was read: it ends as well, and its token with it.
    let client = service.client.clone();
    revocations.meanwhile(move |call| {
        let mut client = client.clone();
        async move {
            if call == 1 {
                let session = Some(with_tokens(&["between"]));
                let request = pb::CreateSessionRequest { session, ..parent() };
                client.create_session(request).await.expect("a login");
            }
        }
        .boxed()
    });
    let request = pb::RevokeAllSessionsRequest { keep_session: kept.name.clone(), ..all() };
    let count = service.client.revoke_all_sessions(request).await.unwrap().into_inner().revoked_count;
    assert_eq!(count, 3);
    let after = service.create(sample()).await;
    let list = pb::ListSessionsRequest { parent: PARENT.into(), page_size: 0, page_token: String::new() };
    let left = service.client.list_sessions(list).await.unwrap().into_inner().sessions;
    let left: Vec<_> = left.into_iter().map(|session| session.name).collect();
    assert_eq!(left, [after.name, kept.name], "a login that comes after it survives");
    let mut revoked = revocations.revoked();
    for name in ["jti:one", "jti:two", "jti:between", &sid(&one), &sid(&two)] {
        assert!(revoked.remove(name), "{name} is not revoked");
    }
    assert_eq!(revoked.len(), 1, "the login's sid, and nothing of the one that was kept: {revoked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sid_of_an_ended_session_is_revoked() {
    let (revocations, mut service) = pair().await;
    let made = service.create(with_tokens(&["a"])).await;
    service
        .client
        .delete_session(pb::DeleteSessionRequest { revoke_tokens: false, ..delete(&made.name) })
        .await
        .unwrap();
    let status = service.client.delete_session(delete(&made.name)).await.expect_err("it ended before");
    details(&status, Code::NotFound, "SESSION_NOT_FOUND");
    assert_eq!(revocations.revoked(), names(&[&sid(&made)]));
    service
        .client
        .delete_session(pb::DeleteSessionRequest { allow_missing: true, ..delete(&made.name) })
        .await
        .unwrap();
    let count = service.client.revoke_all_sessions(all()).await.unwrap().into_inner().revoked_count;
    assert_eq!(count, 0);
}

// === failures ===

#[tokio::test(flavor = "multi_thread")]
async fn while_the_revocation_service_is_away_sessions_stay() {
    let revocations = Revocations::start().await;
    let proxy = FaultProxy::start(revocations.addr());
    let mut service = shared(&[(URL, &format!("http://{}", proxy.addr()))]).await;
    let made = service.create(with_tokens(&["a"])).await;
    for fault in [Fault::Cut, Fault::BlackHole] {
        proxy.set(fault);
        for _ in 0..2 {
            let mut request = Request::new(delete(&made.name));
            request.set_timeout(Duration::from_millis(500));
            let status = service.client.delete_session(request).await.expect_err("it can't revoke");
            let found = details(&status, Code::Unavailable, "REVOCATION_UNAVAILABLE");
            assert!(found.retry_info().is_some(), "{status:?}");
            assert!(status.message().contains("no session was ended"), "{}", status.message());
            let mut request = Request::new(all());
            request.set_timeout(Duration::from_millis(500));
            let status = service.client.revoke_all_sessions(request).await.expect_err("it can't revoke");
            details(&status, Code::Unavailable, "REVOCATION_UNAVAILABLE");
            assert_eq!(service.get(&made.name).await.expect("the session stays"), made);
        }
        proxy.set(Fault::Pass);
        let again = service.create(with_tokens(&["b"])).await;
        let client = service.client.clone();
        keyplane_testkit::eventually("the same call succeeds when the service is back", PATIENCE, async || {
            let deleted = client.clone().delete_session(delete(&again.name)).await;
            deleted.is_ok_and(|_| revocations.revoked().contains("jti:b"))
        })
        .await;
    }
    service.client.delete_session(delete(&made.name)).await.unwrap();
    assert!(revocations.revoked().contains("jti:a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_revocation_ends_no_session() {
    let (revocations, mut service) = pair().await;
    let made = service.create(with_tokens(&["a", "b"])).await;
    revocations.answer(|one| (name(one) == "jti:b").then_some((Code::Unavailable, "STORE_UNAVAILABLE")));
    let status = service.client.delete_session(delete(&made.name)).await.expect_err("one of three failed");
    details(&status, Code::Unavailable, "REVOCATION_UNAVAILABLE");
    revocations.answer(|one| (name(one) == "jti:b").then_some((Code::FailedPrecondition, "ENGINE_FEATURE_MISSING")));
    let status = service.client.revoke_all_sessions(all()).await.expect_err("one of three failed");
    let found = details(&status, Code::FailedPrecondition, "REVOCATION_REJECTED");
    assert_eq!(found.error_info().unwrap().metadata["revocation_reason"], "ENGINE_FEATURE_MISSING");
    assert_eq!(service.get(&made.name).await.expect("the session stays"), made);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_expiry_is_left_out() {
    let (revocations, mut service) = pair().await;
    let made = service.create(with_tokens(&["refresh"])).await;
    let too_long = |one: &revocation::RevokeRequest| match one.target.as_ref().unwrap() {
        Target::Token(token) => token.expire_time.map(|_| (Code::InvalidArgument, "INVALID_REQUEST")),
        Target::Session(_) | Target::Subject(_) | Target::Client(_) | Target::Key(_) | Target::Tenant(_) => None,
    };
    revocations.answer(too_long);
    service.client.delete_session(delete(&made.name)).await.unwrap();
    assert_not_found(service.get(&made.name).await);
    assert_eq!(revocations.revoked(), names(&["jti:refresh", &sid(&made)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_revocation_service_it_is_refused() {
    let mut service = shared(&[]).await;
    let made = service.create(with_tokens(&["a"])).await;
    let status = service.client.delete_session(delete(&made.name)).await.expect_err("it knows none");
    details(&status, Code::FailedPrecondition, "REVOCATION_NOT_CONFIGURED");
    assert!(status.message().contains(URL), "{}", status.message());
    let status = service.client.revoke_all_sessions(all()).await.expect_err("it knows none");
    details(&status, Code::FailedPrecondition, "REVOCATION_NOT_CONFIGURED");
    assert_eq!(service.get(&made.name).await.expect("the session stays"), made);
}

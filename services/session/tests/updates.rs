//! Updates: fields present are written, and what can't be written is rejected, never ignored.

mod support {
    pub(crate) mod service;
}

use keyplane_contracts::session::v1 as pb;
use prost_types::{Duration, FieldMask};
use support::service::{Service, details, sample, shared};
use tonic::{Code, Request, Status};

/// UpdateSession with `headers`.
async fn update(
    service: &Service,
    request: pb::UpdateSessionRequest,
    headers: &[(&'static str, &str)],
) -> Result<pb::Session, Status> {
    let mut request = Request::new(request);
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().expect("a value of a header"));
    }
    service.client.clone().update_session(request).await.map(tonic::Response::into_inner)
}

fn to(session: pb::Session) -> pb::UpdateSessionRequest {
    pb::UpdateSessionRequest { session: Some(session), ..pb::UpdateSessionRequest::default() }
}

fn named(name: &str) -> pb::Session {
    pb::Session { name: name.to_owned(), ..pb::Session::default() }
}

/// Violations of a status, as `field: description`.
#[track_caller]
fn violations(status: &Status) -> Vec<String> {
    let found = details(status, Code::InvalidArgument, "INVALID_REQUEST");
    let violations = &found.bad_request().expect("violations").field_violations;
    violations.iter().map(|violation| format!("{}: {}", violation.field, violation.description)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn present_empty_string_clears_and_absent_field_stays() {
    let mut service = shared(&[]).await;
    let made = service.create(sample()).await;
    let patch = pb::Session { last_path: Some(String::new()), ..named(&made.name) };
    let patched = update(&service, to(patch), &[]).await.unwrap();
    assert_eq!((patched.last_path(), patched.company_id(), patched.version), ("", "c-7", 2));
    let untouched = update(&service, to(named(&made.name)), &[]).await.unwrap();
    assert_eq!((untouched.company_id(), untouched.version), ("c-7", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn session_may_be_sent_back_as_read() {
    let mut service = shared(&[]).await;
    let idle_timeout = Some(Duration { seconds: 60, nanos: 0 });
    let made = service.create(pb::Session { idle_timeout, ..sample() }).await;
    let changed = pb::Session { last_path: Some("/x".into()), ..made.clone() };
    let updated = update(&service, to(changed.clone()), &[]).await.unwrap();
    assert_eq!((updated.last_path(), updated.version), ("/x", 2));
    let late = update(&service, to(changed), &[]).await.unwrap_err();
    let found = details(&late, Code::Aborted, "STALE_WRITE");
    assert_eq!(found.error_info().unwrap().metadata["current"], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn body_query_and_header_agree_on_a_version() {
    let mut service = shared(&[]).await;
    let made = service.create(sample()).await;
    let request = |field, within| pb::UpdateSessionRequest {
        version: field,
        ..to(pb::Session { version: within, ..named(&made.name) })
    };
    for (field, within, header) in [(7, 0, None), (0, 7, None), (0, 0, Some("\"7\"")), (7, 7, Some("7"))] {
        let headers: Vec<_> = header.iter().map(|tag| ("if-match", *tag)).collect();
        let status = update(&service, request(field, within), &headers).await.unwrap_err();
        details(&status, Code::Aborted, "STALE_WRITE");
    }
    for (field, within, header) in [(1, 1, "\"1\""), (0, 0, "*")] {
        update(&service, request(field, within), &[("if-match", header)]).await.expect("it is the current one");
    }
    let status = update(&service, request(1, 2), &[("if-match", "\"3\"")]).await.unwrap_err();
    assert_eq!(
        violations(&status),
        [
            "version: must agree with the other version sent, 3; got 1",
            "session.version: must agree with the other version sent, 3; got 2",
        ]
    );
    for header in ["\"x\"", "W/\"1\"", "\"1\", \"2\"", "0"] {
        let status = update(&service, request(0, 0), &[("if-match", header)]).await.unwrap_err();
        assert!(violations(&status)[0].starts_with("if-match: must be "), "{header}: {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts_are_immutable() {
    let mut service = shared(&[]).await;
    let seconds = |seconds| Some(Duration { seconds, nanos: 0 });
    let made =
        service.create(pb::Session { idle_timeout: seconds(60), absolute_timeout: seconds(600), ..sample() }).await;
    let same = pb::Session { idle_timeout: seconds(60), absolute_timeout: seconds(600), ..named(&made.name) };
    update(&service, to(same), &[]).await.expect("they are what they are");
    let cases = [
        (seconds(61), None, "session.idle_timeout: is immutable; this session's is 60s"),
        (None, seconds(599), "session.absolute_timeout: is immutable; this session's is 600s"),
    ];
    for (idle_timeout, absolute_timeout, violation) in cases {
        let patch = pb::Session { idle_timeout, absolute_timeout, last_path: Some("/x".into()), ..named(&made.name) };
        let status = update(&service, to(patch.clone()), &[]).await.unwrap_err();
        assert_eq!(violations(&status), [violation]);
        let mask = |path: &str| Some(FieldMask { paths: vec![path.to_owned()] });
        let masked = pb::UpdateSessionRequest { update_mask: mask("idle_timeout"), ..to(patch.clone()) };
        let status = update(&service, masked, &[]).await.unwrap_err();
        let known = "`company_id`, `last_path`, `attributes`, `device`, `tokens`";
        assert_eq!(
            violations(&status),
            [format!("update_mask: its path number 1 (12 bytes) is unknown; it may name {known}")]
        );
        let masked = pb::UpdateSessionRequest { update_mask: mask("company_id"), ..to(patch) };
        let session = update(&service, masked, &[]).await.expect("what the mask does not name is not looked at");
        assert_eq!(session.last_path(), "/home");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn if_match_guards_a_deletion() {
    let mut service = shared(&[]).await;
    let made = service.create(sample()).await;
    let delete = async |revoke_tokens, tag: &str| {
        let request = pb::DeleteSessionRequest { name: made.name.clone(), allow_missing: false, revoke_tokens };
        let mut request = Request::new(request);
        request.metadata_mut().insert("if-match", tag.parse().unwrap());
        service.client.clone().delete_session(request).await
    };
    details(&delete(false, "\"2\"").await.unwrap_err(), Code::Aborted, "STALE_WRITE");
    let rejected = delete(true, "\"1\"").await.unwrap_err();
    assert!(violations(&rejected)[0].starts_with("if-match: can't be combined with `revoke_tokens`"), "{rejected:?}");
    delete(false, "\"1\"").await.expect("it is the current one");
}

/// Envoy marks transcoded requests by a header.
#[tokio::test(flavor = "multi_thread")]
async fn violations_name_fields_in_the_callers_spelling() {
    let mut service = shared(&[]).await;
    let made = service.create(sample()).await;
    let attributes = [("last_path".to_owned(), "\n".to_owned())].into();
    let patch = pb::Session { last_path: Some("x".into()), attributes, ..named(&made.name) };
    let request = pb::UpdateSessionRequest {
        update_mask: Some(FieldMask { paths: vec!["last_path".into(), "attributes".into(), "x".into()] }),
        ..to(patch)
    };
    let json = &[("x-envoy-original-path", "/v1/whatever")][..];
    for (headers, [path, company]) in [(&[][..], ["last_path", "company_id"]), (json, ["lastPath", "companyId"])] {
        let status = update(&service, request.clone(), headers).await.unwrap_err();
        let mask = if headers.is_empty() { "update_mask" } else { "updateMask" };
        let expected = [
            format!(
                "{mask}: its path number 3 (1 bytes) is unknown; it may name `{company}`, `{path}`, `attributes`, `device`, `tokens`"
            ),
            format!("session.{path}: must start with `/`; 1 bytes were sent"),
            "session.attributes[last_path]: no control characters; one is among the 1 bytes sent".to_owned(),
        ];
        assert_eq!(violations(&status), expected);
        assert_eq!(status.message(), format!("the request is invalid: {}", expected.join("; ")));
    }
}

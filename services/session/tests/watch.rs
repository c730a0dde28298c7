//! Watches: events, their order, and the resumption after a reconnect.

mod support {
    pub(crate) mod service;
}

use keyplane_contracts::session::v1 as pb;
use keyplane_contracts::session::v1::session_event::{EndReason, Type};
use keyplane_testkit::eventually;
use support::service::{PARENT, PATIENCE, Service, details, sample, shared};
use tokio::time::timeout;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status, Streaming};

struct Watch(Streaming<pb::SessionEvent>);

// === impl Watch ===

impl Watch {
    async fn open(service: &Service, name: &str, after: &str) -> Result<Watch, Status> {
        let request = pb::WatchSessionsRequest { name: name.to_owned(), after: after.to_owned() };
        service.client.clone().watch_sessions(request).await.map(|response| Watch(response.into_inner()))
    }

    async fn item(&mut self) -> Result<Option<pb::SessionEvent>, Status> {
        timeout(PATIENCE, self.0.message()).await.expect("an event, or the end, comes within the test's patience")
    }

    async fn next(&mut self, expected: Type) -> pb::SessionEvent {
        let event = self.item().await.expect("no error").expect("not the end");
        assert_eq!(event.r#type(), expected, "{event:?}");
        event
    }

    async fn ended(&mut self) {
        assert_eq!(self.item().await.expect("no error"), None);
    }
}

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

async fn delete(service: &Service, name: &str) {
    let request = pb::DeleteSessionRequest { name: name.to_owned(), allow_missing: false, revoke_tokens: false };
    service.client.clone().delete_session(request).await.expect("it is deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn user_watch_sends_each_change_once_and_in_order() {
    let mut service = shared(&[]).await;
    let before = service.create(sample()).await;
    let mut watch = Watch::open(&service, PARENT, "").await.unwrap();
    assert_eq!(watch.next(Type::Snapshot).await.sessions, std::slice::from_ref(&before));

    let made = service.create(sample()).await;
    let created = watch.next(Type::Created).await;
    assert_eq!((&created.name, created.session.as_ref()), (&made.name, Some(&made)));

    let attributes = [("lang".to_owned(), "de".to_owned())].into();
    let session =
        pb::Session { name: made.name.clone(), last_path: Some("/x".into()), attributes, ..pb::Session::default() };
    let request = pb::UpdateSessionRequest {
        session: Some(session),
        remove_attributes: vec!["theme".into()],
        ..pb::UpdateSessionRequest::default()
    };
    let patched = service.client.update_session(request).await.unwrap().into_inner();
    let updated = watch.next(Type::Updated).await;
    assert_eq!(updated.changed_fields, ["last_path", "attributes"], "in the words of a mask");
    assert_eq!(updated.removed_attributes, ["theme"]);
    let sent = updated.session.unwrap();
    assert_eq!((sent.last_path(), sent.version, sent.update_time), ("/x", 2, patched.update_time));
    assert_eq!(sent.company_id, None, "only changed fields are sent");
    assert_eq!(sent.attributes, [("lang".to_owned(), "de".to_owned())].into());

    let request = pb::RotateSessionRequest { name: made.name.clone(), request_id: String::new() };
    let rotated = service.client.rotate_session(request).await.unwrap().into_inner();
    let event = watch.next(Type::Rotated).await;
    assert_eq!((event.name, event.new_name), (made.name, rotated.name.clone()));

    delete(&service, &rotated.name).await;
    assert_eq!(watch.next(Type::Deleted).await.name, rotated.name);

    let request =
        pb::RevokeAllSessionsRequest { parent: PARENT.into(), keep_session: String::new(), revoke_tokens: false };
    service.client.revoke_all_sessions(request).await.unwrap();
    let ended = watch.next(Type::Expired).await;
    assert_eq!((ended.name.as_str(), ended.end_reason()), (before.name.as_str(), EndReason::Revoked));
}

#[tokio::test(flavor = "multi_thread")]
async fn session_watch_follows_one_session_to_its_end() {
    let mut service = shared(&[]).await;
    let made = service.create(sample()).await;
    let mut watch = Watch::open(&service, &made.name, "").await.unwrap();
    assert_eq!(watch.next(Type::Snapshot).await.sessions, std::slice::from_ref(&made));
    let other = service.create(sample()).await;
    let request = pb::RotateSessionRequest { name: made.name, request_id: String::new() };
    let rotated = service.client.rotate_session(request).await.unwrap().into_inner();
    watch.next(Type::Rotated).await;
    delete(&service, &other.name).await;
    delete(&service, &rotated.name).await;
    let end = watch.next(Type::Deleted).await;
    assert_eq!(end.name, rotated.name, "the other session's events are not sent");
    watch.ended().await;

    // A watcher that missed the end receives it; one that received it finds nothing.
    let status = Watch::open(&service, &rotated.name, "").await.map(drop).unwrap_err();
    details(&status, Code::NotFound, "SESSION_NOT_FOUND");
    let status = Watch::open(&service, &rotated.name, &end.id).await.map(drop).unwrap_err();
    details(&status, Code::NotFound, "SESSION_NOT_FOUND");
}

async fn rotate(service: &Service, name: &str) -> pb::Session {
    let request = pb::RotateSessionRequest { name: name.to_owned(), request_id: String::new() };
    service.client.clone().rotate_session(request).await.expect("it is rotated").into_inner()
}

/// Path after a rotation: an EventSource reconnects to the path that it was opened with.
#[tokio::test(flavor = "multi_thread")]
async fn watcher_reconnects_under_the_name_from_before_a_rotation() {
    let mut service = shared(&[]).await;
    let made = service.create(sample()).await;
    let mut watch = Watch::open(&service, &made.name, "").await.unwrap();
    watch.next(Type::Snapshot).await;
    let second = rotate(&service, &made.name).await;
    let first_rotation = watch.next(Type::Rotated).await.id;
    drop(watch);

    let mut watch = Watch::open(&service, &made.name, &first_rotation).await.expect("it leads to the new one");
    let third = rotate(&service, &second.name).await;
    let rotated = watch.next(Type::Rotated).await;
    assert_eq!((&rotated.name, &rotated.new_name), (&second.name, &third.name));
    drop(watch);
    let patch = pb::Session { name: third.name.clone(), last_path: Some("/x".into()), ..pb::Session::default() };
    service.update(patch).await.unwrap();
    for (after, missed) in [(&first_rotation, true), (&rotated.id, false)] {
        let mut watch = Watch::open(&service, &made.name, after).await.expect("over two rotations");
        if missed {
            watch.next(Type::Rotated).await;
        }
        assert_eq!(watch.next(Type::Updated).await.name, third.name);
    }
    delete(&service, &third.name).await;
    let mut watch = Watch::open(&service, &made.name, &rotated.id).await.expect("it missed the end");
    watch.next(Type::Updated).await;
    let end = watch.next(Type::Deleted).await;
    watch.ended().await;

    for (name, after) in [
        (made.name.clone(), end.id.as_str()),
        (made.name.clone(), ""),
        (made.name.replace("users/u-42", "users/other"), first_rotation.as_str()),
        (made.name.replace("tenants/acme", "tenants/other"), first_rotation.as_str()),
    ] {
        let status = Watch::open(&service, &name, after).await.map(drop).unwrap_err();
        details(&status, Code::NotFound, "SESSION_NOT_FOUND");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnected_watcher_resumes_at_its_position() {
    let mut service = shared(&[]).await;
    let made = service.create(sample()).await;
    let mut watch = Watch::open(&service, &made.name, "").await.unwrap();
    let seen = watch.next(Type::Snapshot).await;
    drop(watch);
    for path in ["/1", "/2"] {
        let patch = pb::Session { name: made.name.clone(), last_path: Some(path.into()), ..pb::Session::default() };
        service.update(patch).await.unwrap();
    }
    delete(&service, &made.name).await;
    let mut watch = Watch::open(&service, &made.name, &seen.id).await.unwrap();
    let paths = [watch.next(Type::Updated).await, watch.next(Type::Updated).await];
    assert_eq!(paths.map(|event| event.session.unwrap().last_path.unwrap()), ["/1", "/2"]);
    watch.next(Type::Deleted).await;
    watch.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watcher_that_missed_events_gets_a_snapshot() {
    let mut service = shared(&[("KEYPLANE_SESSION_EVENTS", "4")]).await;
    let made = service.create(sample()).await;
    let mut watch = Watch::open(&service, PARENT, "").await.unwrap();
    let seen = watch.next(Type::Snapshot).await;
    drop(watch);
    let mut last = made;
    for n in 0..10 {
        let patch = pb::Session { name: last.name.clone(), last_path: Some(format!("/{n}")), ..pb::Session::default() };
        last = service.update(patch).await.unwrap();
    }
    let mut watch = Watch::open(&service, PARENT, &seen.id).await.unwrap();
    assert_eq!(watch.next(Type::Snapshot).await.sessions, [last]);
    for after in ["yesterday", "1-18446744073709551616", "-1", "+1-1"] {
        let status = Watch::open(&service, PARENT, after).await.map(drop).unwrap_err();
        details(&status, Code::InvalidArgument, "INVALID_REQUEST");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timer_sends_expiry_without_an_engine_event() {
    let mut service = shared(&[]).await;
    let mut watch = Watch::open(&service, PARENT, "").await.unwrap();
    assert_eq!(watch.next(Type::Snapshot).await.sessions, []);
    let idle = service.create(pb::Session { idle_timeout: Some(seconds(1)), ..sample() }).await;
    watch.next(Type::Created).await;
    let ended = watch.next(Type::Expired).await;
    assert_eq!((ended.end_reason(), ended.name), (EndReason::Idle, idle.name));
    let short = service.create(pb::Session { absolute_timeout: Some(seconds(1)), ..sample() }).await;
    watch.next(Type::Created).await;
    let ended = watch.next(Type::Expired).await;
    assert_eq!((ended.end_reason(), ended.name), (EndReason::Absolute, short.name));
}

#[tokio::test(flavor = "multi_thread")]
async fn unwatched_expiry_is_sent_at_the_next_use() {
    let mut service = shared(&[]).await;
    let mut watch = Watch::open(&service, PARENT, "").await.unwrap();
    let seen = watch.next(Type::Snapshot).await;
    drop(watch);
    let idle = service.create(pb::Session { idle_timeout: Some(seconds(1)), ..sample() }).await;
    let client = service.client.clone();
    eventually("it ends", PATIENCE, async || {
        client.clone().get_session(pb::GetSessionRequest { name: idle.name.clone() }).await.is_err()
    })
    .await;
    let mut watch = Watch::open(&service, PARENT, &seen.id).await.unwrap();
    watch.next(Type::Created).await;
    assert_eq!(watch.next(Type::Expired).await.end_reason(), EndReason::Idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn eviction_is_sent() {
    let mut service = shared(&[("KEYPLANE_SESSION_MAX_SESSIONS", "1")]).await;
    let first = service.create(sample()).await;
    let mut watch = Watch::open(&service, &first.name, "").await.unwrap();
    watch.next(Type::Snapshot).await;
    service.create(sample()).await;
    assert_eq!(watch.next(Type::Expired).await.end_reason(), EndReason::Evicted);
    watch.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_of_an_instance_are_capped() {
    let service = shared(&[("KEYPLANE_SESSION_MAX_WATCHES", "1")]).await;
    let mut watch = Watch::open(&service, PARENT, "").await.unwrap();
    watch.next(Type::Snapshot).await;
    let status = Watch::open(&service, PARENT, "").await.map(drop).unwrap_err();
    let found = details(&status, Code::ResourceExhausted, "TOO_MANY_WATCHES");
    assert!(found.retry_info().is_some());
    drop(watch);
    let reopened = async || Watch::open(&service, PARENT, "").await.is_ok();
    eventually("a closed watch makes room", PATIENCE, reopened).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_ends_watches_with_a_retryable_status() {
    let service = shared(&[]).await;
    let mut watch = Watch::open(&service, PARENT, "").await.unwrap();
    watch.next(Type::Snapshot).await;
    let stopped = tokio::spawn(service.running.drain_and_stop());
    let status = watch.item().await.unwrap_err();
    let found = details(&status, Code::Unavailable, "SHUTTING_DOWN");
    assert!(found.retry_info().is_some());
    timeout(PATIENCE, stopped).await.expect("the drain ends").expect("and does not panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn last_event_id_that_is_no_id_is_rejected() {
    let mut service = shared(&[]).await;
    for id in [&b"yesterday"[..], b"\xff\xfe", b"caf\xc3\xa9"] {
        let message = pb::StreamSessionEventsRequest { name: PARENT.to_owned(), after: String::new() };
        let mut request = Request::new(message);
        request.metadata_mut().insert("last-event-id", MetadataValue::try_from(id).expect("a header"));
        let status = service.client.stream_session_events(request).await.map(drop).unwrap_err();
        details(&status, Code::InvalidArgument, "INVALID_REQUEST");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn event_stream_is_what_a_browser_reads() {
    let mut service = shared(&[("KEYPLANE_SESSION_HEARTBEAT", "100ms")]).await;
    let made = service.create(sample()).await;
    let request = pb::StreamSessionEventsRequest { name: made.name.clone(), after: String::new() };
    let mut stream = service.client.stream_session_events(request).await.unwrap().into_inner();
    let mut text = String::new();
    let mut types = Vec::new();
    while !text.ends_with(":\n\n") {
        let body = timeout(PATIENCE, stream.message()).await.expect("a heartbeat comes").unwrap().expect("no end");
        types.push(body.content_type);
        text.push_str(std::str::from_utf8(&body.data).unwrap());
    }
    assert!(types.iter().all(|kind| kind == "text/event-stream"));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines[0], lines[1]), ("retry: 1000", ""));
    let id = lines[2].strip_prefix("id: ").expect("an id");
    assert_eq!(lines[3], "event: snapshot");
    let data = lines[4].strip_prefix("data: ").expect("the data in one line");
    let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
    assert_eq!((data["id"].as_str(), data["type"].as_str()), (Some(id), Some("TYPE_SNAPSHOT")));
    assert_eq!(data["sessions"][0]["lastPath"], "/home");
    assert_eq!(&lines[5..], ["", ":", ""]);

    delete(&service, &made.name).await;
    let mut rest = String::new();
    while let Some(body) = timeout(PATIENCE, stream.message()).await.expect("the end comes").unwrap() {
        rest.push_str(std::str::from_utf8(&body.data).unwrap());
    }
    assert!(rest.contains("event: deleted\n"), "{rest}");
}

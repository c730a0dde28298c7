//! Watches: the updates of a replica elsewhere, and how it resumes.

mod support;

use std::collections::HashMap;
use std::time::Duration;

use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revoke_request::Target;
use keyplane_contracts::revocation::v1::watch_response::Stage;
use keyplane_revocation::Sequence;
use keyplane_testkit::eventually;
use support::{PARENT, PATIENCE, Service, details, shared, start, token, violated};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status, Streaming};

struct Watch {
    stream: Streaming<pb::WatchResponse>,
    /// Knowledge of a replica: by target, the highest version.
    known: HashMap<Vec<u8>, pb::FeedEntry>,
    last: pb::WatchResponse,
}

// === impl Watch ===

impl Watch {
    async fn open(service: &Service, parent: &str, resume_token: &str) -> Result<Watch, Status> {
        let request = pb::WatchRequest { parent: parent.to_owned(), resume_token: resume_token.to_owned() };
        let stream = service.client.clone().watch(request).await?.into_inner();
        Ok(Watch { stream, known: HashMap::new(), last: pb::WatchResponse::default() })
    }

    async fn next(&mut self) -> Result<pb::WatchResponse, Status> {
        let response =
            timeout(PATIENCE, self.stream.message()).await.expect("a heartbeat comes within the patience")?;
        let response = response.expect("a watch ends with a status");
        for entry in &response.entries {
            let known = self.known.entry(entry.token_hash.to_vec()).or_default();
            if entry.version > known.version {
                known.clone_from(entry);
            }
        }
        self.last.clone_from(&response);
        Ok(response)
    }

    /// Reads until `enough`.
    async fn until(&mut self, what: &str, mut enough: impl FnMut(&Watch) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !enough(self) {
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}; known: {}", self.known.len());
            self.next().await.expect("no error");
        }
    }

    async fn live(&mut self) {
        self.until("the snapshot is complete", |watch| watch.last.stage() == Stage::Live).await;
    }

    async fn error(&mut self) -> Status {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Err(status) = self.next().await {
                return status;
            }
        }
        panic!("no error within {PATIENCE:?}");
    }
}

async fn revoke_many(service: &Service, parent: &str, prefix: &str, count: usize) {
    for chunk in (0..count).collect::<Vec<_>>().chunks(1000) {
        let one = |n: &usize| {
            let token = pb::RevokeTokenRequest { parent: parent.to_owned(), ..token(&format!("{prefix}-{n}")) };
            pb::RevokeRequest { target: Some(Target::Token(token)) }
        };
        let request = pb::BatchRevokeRequest { parent: parent.to_owned(), requests: chunk.iter().map(one).collect() };
        // On a busy machine the store may be too slow for some; repeating the others changes nothing.
        keyplane_testkit::eventually("the store takes all of them", PATIENCE, async || {
            let made =
                service.client.clone().batch_revoke(request.clone()).await.map_err(|status| status.to_string())?;
            let failed = made.into_inner().results.into_iter().find(|result| result.error.is_some());
            failed.map_or(Ok(()), |failed| Err(format!("{failed:?}")))
        })
        .await;
    }
}

fn sequence(text: &str) -> Sequence {
    Sequence::parse(text).expect("a sequence")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_then_each_change() {
    let service = shared(&[]).await;
    revoke_many(&service, PARENT, "before", 700).await;
    let mut watch = Watch::open(&service, PARENT, "").await.expect("it begins");
    let first = watch.next().await.expect("no error");
    let rules = first.rules.as_ref().expect("the rules are in the first response");
    assert_eq!((rules.max_lifetime.unwrap().seconds, rules.leeway.unwrap().seconds), (86_400, 60));
    assert_eq!((first.stage(), first.sequence.as_str()), (Stage::Snapshot, ""), "it can't be complete yet");
    assert!(first.entries.len() <= 256 && !first.epoch.is_empty() && !first.resume_token.is_empty());
    watch.live().await;
    assert_eq!(watch.known.len(), 700);
    assert!(watch.last.rules.is_none());

    let made = service.revoke_token("after").await;
    let epoch = watch.last.epoch.clone();
    watch.until("it is told of", |watch| watch.known.len() == 701).await;
    watch.until("and of where it is", |watch| sequence(&watch.last.sequence).covers(&sequence(&made.sequence))).await;
    let told = watch.known.values().max_by_key(|entry| entry.version).expect("there are 701");
    assert_eq!((told.tenant.as_str(), told.scope(), told.version.to_string()), ("acme", pb::Scope::Token, made.etag));

    let undo = pb::UndoRevocationRequest { name: made.name, ..pb::UndoRevocationRequest::default() };
    service.client.clone().undo_revocation(undo).await.expect("it is undone");
    watch.until("the undo is told", |watch| watch.known.values().any(|entry| entry.undone)).await;

    // A replica that has applied all of it, in the same epoch, is as fresh as the head.
    let mut client = service.client.clone();
    let head = client.get_head(pb::GetHeadRequest {}).await.expect("a head").into_inner();
    assert_eq!(head.epoch, epoch);
    watch
        .until("it is as far as the head", |watch| sequence(&watch.last.sequence).covers(&sequence(&head.sequence)))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_between_the_snapshot_and_the_changes() {
    let service = shared(&[]).await;
    revoke_many(&service, PARENT, "before", 1000).await;
    let writer = async { revoke_many(&service, PARENT, "meanwhile", 2000).await };
    let reader = async {
        let mut watch = Watch::open(&service, "tenants/-", "").await.expect("it begins");
        watch.until("all are told", |watch| watch.known.len() == 3000).await;
    };
    tokio::join!(writer, reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_watch_sends_no_other_entries_but_advances_with_them() {
    let service = shared(&[]).await;
    revoke_many(&service, "tenants/other", "j", 10).await;
    revoke_many(&service, PARENT, "j", 10).await;
    let mut watch = Watch::open(&service, PARENT, "").await.expect("it begins");
    watch.live().await;
    let request = pb::RevokeTokenRequest { parent: "tenants/other".into(), ..token("later") };
    let made = service.client.clone().revoke_token(request).await.expect("it is revoked").into_inner();
    let passed = |watch: &Watch| sequence(&watch.last.sequence).covers(&sequence(&made.sequence));
    let began = Instant::now();
    watch.until("its number passes", passed).await;
    assert!(began.elapsed() < Duration::from_millis(900), "sooner than a heartbeat: {:?}", began.elapsed());
    assert!(watch.known.len() == 10 && watch.known.values().all(|entry| entry.tenant == "acme"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_watch_sends_a_heartbeat_each_second() {
    let service = shared(&[]).await;
    let mut watch = Watch::open(&service, PARENT, "").await.expect("it begins");
    watch.live().await;
    let began = Instant::now();
    let response = watch.next().await.expect("no error");
    assert!(response.entries.is_empty() && !response.sequence.is_empty());
    let after = began.elapsed();
    assert!((Duration::from_millis(500)..Duration::from_secs(5)).contains(&after), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_resumes_also_at_another_instance() {
    let app = keyplane_testkit::app();
    let url = keyplane_testkit::valkey().url();
    let first = start(&app, &url, &[], |_| {}).await;
    let second = start(&app, &url, &[], |_| {}).await;
    revoke_many(&first, PARENT, "before", 300).await;
    let mut watch = Watch::open(&first, PARENT, "").await.expect("it begins");
    watch.live().await;
    watch.until("all are told", |watch| watch.known.len() == 300).await;
    let resume_token = watch.last.resume_token.clone();
    drop(watch);
    revoke_many(&first, PARENT, "away", 5).await;
    let mut watch = Watch::open(&second, PARENT, &resume_token).await.expect("it goes on");
    let response = watch.next().await.expect("no error");
    assert_eq!(response.stage(), Stage::Live, "its replica is whole");
    assert!(response.rules.is_some());
    watch.until("what it missed is told", |watch| watch.known.len() == 5).await;

    for (parent, token) in [("tenants/other", resume_token.as_str()), (PARENT, "yesterday")] {
        let status = Watch::open(&second, parent, token).await.map(drop).expect_err("no token of this watch");
        assert_eq!(violated(&status), ["resume_token"]);
    }
    let status = Watch::open(&second, "tenants/", "").await.map(drop).expect_err("no tenant");
    assert_eq!(violated(&status), ["parent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_snapshot_is_no_complete_replica() {
    let service = shared(&[]).await;
    revoke_many(&service, PARENT, "j", 1500).await;
    let mut watch = Watch::open(&service, PARENT, "").await.expect("it begins");
    let first = watch.next().await.expect("no error");
    assert_eq!(first.stage(), Stage::Snapshot);
    let mut known = watch.known.clone();
    drop(watch);
    let mut watch = Watch::open(&service, PARENT, &first.resume_token).await.expect("it goes on");
    assert_eq!(watch.next().await.expect("no error").stage(), Stage::Snapshot, "it is not complete yet");
    watch.live().await;
    known.extend(watch.known.clone());
    assert_eq!(known.len(), 1500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_feed_has_outlived_gets_a_snapshot() {
    let service = shared(&[("KEYPLANE_REVOCATION_PARTITIONS", "1")]).await;
    revoke_many(&service, PARENT, "j", 10).await;
    let mut watch = Watch::open(&service, PARENT, "").await.expect("it begins");
    watch.live().await;
    watch.until("all are told", |watch| watch.known.len() == 10).await;
    let text = watch.last.resume_token.clone();
    // The token again, of an entry that the feed does not hold: as after a trim, or a failover that lost it.
    let decoded = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).expect("base64url");
    let decoded = String::from_utf8(decoded).expect("text");
    let (head, number) = decoded.rsplit_once('/').expect("an id and a number");
    let forged = format!("{head}/{}", number.parse::<u64>().expect("a number") + 1);
    let forged = data_encoding::BASE64URL_NOPAD.encode(forged.as_bytes());
    let mut watch = Watch::open(&service, PARENT, &forged).await.expect("it begins anew");
    watch.live().await;
    assert_eq!(watch.known.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_falls_behind_is_interrupted() {
    let (app, url) = (keyplane_testkit::app(), keyplane_testkit::valkey().url());
    let service = start(&app, &url, &[], |config| config.replica.backlog = 8).await;
    let mut watch = Watch::open(&service, "tenants/-", "").await.expect("it begins");
    watch.live().await;
    revoke_many(&service, "tenants/other", "j", 1000).await;
    let status = watch.error().await;
    assert!(details(&status, Code::Aborted, "FEED_RESTARTED").retry_info().is_some());

    // With the token of the last response nothing is missed.
    let resume_token = watch.last.resume_token.clone();
    let mut again = Watch::open(&service, "tenants/-", &resume_token).await.expect("it goes on");
    again.known = watch.known;
    again.until("all are told", |watch| watch.known.len() == 1000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_serves_its_maximum_of_watches() {
    let service = shared(&[("KEYPLANE_REVOCATION_MAX_WATCHES", "1")]).await;
    let watch = Watch::open(&service, PARENT, "").await.expect("the first");
    let status = Watch::open(&service, PARENT, "").await.map(drop).expect_err("the second");
    assert!(details(&status, Code::ResourceExhausted, "TOO_MANY_WATCHES").retry_info().is_some());
    drop(watch);
    let reopened = async || Watch::open(&service, PARENT, "").await.is_ok();
    eventually("a closed watch makes room", PATIENCE, reopened).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_watches_with_a_retryable_status() {
    let service = shared(&[]).await;
    let mut watch = Watch::open(&service, PARENT, "").await.expect("it begins");
    watch.live().await;
    let stopped = tokio::spawn(service.running.drain_and_stop());
    let status = watch.error().await;
    assert!(details(&status, Code::Unavailable, "SHUTTING_DOWN").retry_info().is_some());
    timeout(PATIENCE, stopped).await.expect("the drain ends").expect("and does not panic");
}

//! Reservations and charges that come to something else than they were made for, over gRPC on a real store.

mod support;

use keyplane_contracts::ratelimit::v1 as pb;
use keyplane_testkit::{Fault, FaultProxy, eventually};
use pb::limit_state::Verdict;
use support::{PARENT, call, details, shared};
use tonic::{Code, Status};

fn verdicts(limits: &[pb::LimitState]) -> Vec<Verdict> {
    limits.iter().map(pb::LimitState::verdict).collect()
}

/// Settles `reservation` of `parent` in every way, twice: nothing has a record of it. The store may still be coming
/// back.
async fn settle_in_every_way(service: &support::Service, parent: &str, reservation: &str) {
    let commit = |cost| pb::CommitRequest { parent: parent.into(), reservation: reservation.into(), cost };
    let cancel = || pb::CancelRequest { parent: parent.into(), reservation: reservation.into() };
    for cost in [0, 7, 1000, 7] {
        let settled = eventually("it is settled", support::PATIENCE, async || {
            let committed = service.client.clone().commit(commit(cost)).await?.into_inner();
            let cancelled = service.client.clone().cancel(cancel()).await?.into_inner();
            Ok::<_, Status>([committed, cancelled])
        });
        for settled in settled.await {
            assert_eq!((settled.charged, settled.limits.len()), (0, 0));
        }
    }
}

#[tokio::test]
async fn uncounted_reservation_is_settled_like_any_other() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let friend = "tenants/friend";
    let request = |limits: &[&str], id: &str| pb::ReserveRequest {
        parent: friend.into(),
        user: "u".into(),
        limits: limits.iter().map(|limit| (*limit).to_owned()).collect(),
        estimate: 5,
        request_id: id.into(),
        ..pb::ReserveRequest::default()
    };
    for id in ["", "r-1"] {
        let reserved = client.reserve(request(&["tenant-api"], id)).await.expect("an answer").into_inner();
        assert_eq!((reserved.admitted, verdicts(&reserved.limits)), (true, vec![Verdict::Unlimited]));
        settle_in_every_way(&service, friend, &reserved.reservation).await;
    }
    // Beside a limit that counts, that one decides.
    let both = client.reserve(request(&["tenant-api", "user-api"], "")).await.expect("an answer").into_inner();
    let commit = pb::CommitRequest { parent: friend.into(), reservation: both.reservation, cost: 3 };
    let settled = client.commit(commit.clone()).await.expect("it was admitted").into_inner();
    assert_eq!((settled.charged, settled.limits.len(), settled.limits[0].remaining), (3, 1, 7));
    let again = pb::CommitRequest { cost: 4, ..commit };
    let status = client.commit(again).await.expect_err("it is settled");
    details(&status, Code::FailedPrecondition, "ALREADY_SETTLED");

    let acquire = pb::AcquireRequest { parent: friend.into(), request_id: "r-2".into(), ..call("u", &["tenant-api"]) };
    let charge = service.acquire(acquire).await.expect("an answer").charge;
    let refund = pb::RefundRequest { parent: friend.into(), charge, cost: 1, request_id: String::new() };
    assert_eq!(client.refund(refund).await.expect("it was admitted").into_inner().charged, 0);
}

#[tokio::test]
async fn reservation_of_an_outage_is_settled_after_it() {
    let proxy = FaultProxy::to_port(keyplane_testkit::valkey().port());
    let url = proxy.url(&keyplane_testkit::valkey().url());
    let settings = [("KEYPLANE_RATELIMIT_OUTAGE_POLICY", "open")];
    let service = support::start(&keyplane_testkit::app(), &url, &settings).await;
    let request = pb::ReserveRequest {
        parent: PARENT.into(),
        user: "u".into(),
        limits: vec!["user-api".into(), "tenant-api".into()],
        estimate: 8,
        ..pb::ReserveRequest::default()
    };
    proxy.set(Fault::Cut);
    let reserved = service.client.clone().reserve(request).await.expect("an answer").into_inner();
    assert_eq!((reserved.admitted, verdicts(&reserved.limits)), (true, vec![Verdict::Open; 2]));
    proxy.set(Fault::Pass);
    settle_in_every_way(&service, PARENT, &reserved.reservation).await;
    let whole = eventually("the store is back", support::PATIENCE, async || {
        let whole = pb::AcquireRequest { cost: Some(10), ..call("u", &["user-api"]) };
        let whole = service.acquire(whole).await.map_err(|status| status.to_string())?;
        if whole.source() == pb::Source::Store { Ok(whole) } else { Err(format!("{whole:?}")) }
    });
    assert!(whole.await.admitted, "it was never charged");
}

#[tokio::test]
async fn commit_far_above_its_estimate_reports_the_charge() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let reserve = pb::ReserveRequest {
        parent: PARENT.into(),
        user: "u".into(),
        limits: vec!["user-api".into()],
        estimate: 7,
        ..pb::ReserveRequest::default()
    };
    let reservation = client.reserve(reserve).await.expect("there is room").into_inner().reservation;
    let commit = |cost| pb::CommitRequest { parent: PARENT.into(), reservation: reservation.clone(), cost };
    for attempt in ["first", "again"] {
        let settled = client.commit(commit(1000)).await.expect("it is reserved").into_inner();
        assert_eq!(settled.charged, 20, "a debt ends at another burst of 10; {attempt}");
    }
    let status = client.commit(commit(20)).await.expect_err("it is settled");
    let rejection = details(&status, Code::FailedPrecondition, "ALREADY_SETTLED");
    assert_eq!(rejection.error_info().expect("one").metadata["cost"], "1000");
}

#[tokio::test]
async fn refund_id_allows_one_cost() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let request = pb::AcquireRequest { cost: Some(6), request_id: "r-1".into(), ..call("u", &["user-api"]) };
    let charge = service.acquire(request).await.expect("there is room").charge;
    let refund =
        |cost| pb::RefundRequest { parent: PARENT.into(), charge: charge.clone(), cost, request_id: "f-1".into() };
    assert_eq!(client.refund(refund(2)).await.expect("it is known").into_inner().charged, 4);
    for cost in [1, 3] {
        let status = client.refund(refund(cost)).await.expect_err("it was of 2");
        details(&status, Code::InvalidArgument, "REQUEST_ID_REUSED");
    }
    let again = client.refund(refund(2)).await.expect("the same once more").into_inner();
    assert_eq!((again.charged, again.limits[0].remaining), (4, 6));
}

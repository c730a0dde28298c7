//! Envoy's global rate limit, over gRPC on a real store.

mod support;

use std::collections::HashMap;
use std::time::Duration;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{Entry, RateLimitOverride};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code as Said, rate_limit::Unit};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::UInt64Value;
use envoy_types::pb::google::protobuf::value::Kind;
use keyplane_contracts::envoy::RATE_LIMIT_DESCRIPTOR_SET;
use keyplane_testkit::{Fault, FaultProxy};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use support::{Service, details, shared, start};
use tonic::{Code, Request, Status};

fn descriptor(entries: &[(&str, &str)]) -> RateLimitDescriptor {
    let entry = |(key, value): &(&str, &str)| Entry { key: (*key).into(), value: (*value).into() };
    RateLimitDescriptor { entries: entries.iter().map(entry).collect(), ..RateLimitDescriptor::default() }
}

fn user(user: &str) -> RateLimitDescriptor {
    descriptor(&[("tenant", "acme"), ("user", user)])
}

fn request(descriptors: Vec<RateLimitDescriptor>) -> RateLimitRequest {
    RateLimitRequest { domain: "keyplane".into(), descriptors, hits_addend: 0 }
}

async fn ask(service: &Service, request: RateLimitRequest) -> Result<RateLimitResponse, Status> {
    service.envoy.clone().should_rate_limit(request).await.map(tonic::Response::into_inner)
}

async fn answer(service: &Service, descriptors: Vec<RateLimitDescriptor>) -> RateLimitResponse {
    ask(service, request(descriptors)).await.expect("an answer")
}

fn codes(response: &RateLimitResponse) -> Vec<Said> {
    response.statuses.iter().map(|status| status.code()).collect()
}

fn headers(response: &RateLimitResponse) -> HashMap<&str, &str> {
    response.response_headers_to_add.iter().map(|header| (header.key.as_str(), header.value.as_str())).collect()
}

#[tokio::test]
async fn every_descriptor_has_a_status_and_nothing_is_charged_in_part() {
    let service = shared(&[]).await;
    let descriptors = || vec![user("u"), descriptor(&[("tenant", "acme")]), descriptor(&[("x", "y")])];
    let all = RateLimitRequest { hits_addend: 9, ..request(descriptors()) };
    let admitted = ask(&service, all.clone()).await.expect("an answer");
    assert_eq!(admitted.overall_code(), Said::Ok);
    assert_eq!(codes(&admitted), [Said::Ok; 3]);
    let limits: Vec<_> =
        admitted.statuses.iter().map(|status| (status.limit_remaining, status.current_limit.is_some())).collect();
    assert_eq!(limits, [(1, true), (991, true), (0, false)]);
    let current = admitted.statuses[0].current_limit.as_ref().expect("a limit");
    assert_eq!((current.name.as_str(), current.requests_per_unit, current.unit()), ("user-api", 10, Unit::Hour));

    let denied = ask(&service, all).await.expect("an answer");
    assert_eq!(denied.overall_code(), Said::OverLimit);
    assert_eq!(codes(&denied), [Said::OverLimit, Said::Ok, Said::Ok]);
    let reset = denied.statuses[0].duration_until_reset.as_ref().expect("a time").seconds;
    assert!((2870..=2880).contains(&reset), "8 of 10 an hour: {reset}");
    let tenant = answer(&service, vec![descriptor(&[("tenant", "acme")])]).await;
    assert_eq!(tenant.statuses[0].limit_remaining, 990, "the tenant was not charged for the denied call of its user");
}

#[tokio::test]
async fn eleventh_hit_of_ten_gets_a_wait() {
    let service = shared(&[]).await;
    for left in (0..10).rev() {
        let response = answer(&service, vec![user("u")]).await;
        assert_eq!((response.overall_code(), response.statuses[0].limit_remaining), (Said::Ok, left));
        let headers = headers(&response);
        assert_eq!(
            (headers["x-ratelimit-limit"], headers["ratelimit-policy"]),
            ("10, 10;w=3600", "\"user-api\";q=10;w=3600")
        );
        assert_eq!(headers["x-ratelimit-remaining"], left.to_string());
        // The reset is not when all hits are back: one more fits in six minutes.
        let more: u64 = headers["x-ratelimit-reset"].parse().expect("seconds");
        assert!((355..=360).contains(&more), "{more}");
        assert_eq!(headers["ratelimit"], format!("\"user-api\";r={left};t={more}"));
        assert!(!headers.contains_key("retry-after"));
    }
    for _ in 0..2 {
        let denied = answer(&service, vec![user("u")]).await;
        let headers = headers(&denied);
        let wait: u64 = headers["retry-after"].parse().expect("seconds");
        assert!((355..=360).contains(&wait), "{wait}");
        assert_eq!((headers["x-ratelimit-reset"], headers["x-ratelimit-remaining"]), (headers["retry-after"], "0"));
        assert_eq!(headers["ratelimit"], format!("\"user-api\";r=0;t={wait}"));
        let fields = &denied.dynamic_metadata.as_ref().expect("metadata").fields;
        assert!(fields.contains_key("policy") && fields.contains_key("rule") && !fields.contains_key("store_away"));
    }
}

#[tokio::test]
async fn named_values_take_precedence_and_other_domains_pass() {
    let service = shared(&[]).await;
    let limit = async |route: &str| {
        let response = answer(&service, vec![descriptor(&[("tenant", "acme"), ("route", route)])]).await;
        response.statuses[0].current_limit.as_ref().map(|limit| limit.name.clone())
    };
    assert_eq!((limit("/chat").await.as_deref(), limit("/home").await.as_deref()), (Some("chat"), Some("any-route")));
    let other = ask(&service, RateLimitRequest { domain: "other".into(), ..request(vec![user("u")]) })
        .await
        .expect("an answer");
    assert_eq!((other.overall_code(), other.statuses[0].current_limit.is_none()), (Said::Ok, true));
}

#[tokio::test]
async fn unnamed_periods_and_equal_descriptors_are_counted() {
    let service = shared(&[]).await;
    let address = || descriptor(&[("remote_address", "2001:db8::1")]);
    let response = answer(&service, vec![address(), address()]).await;
    let limit = response.statuses[0].current_limit.as_ref().expect("a limit");
    assert_eq!((limit.requests_per_unit, limit.unit()), (3, Unit::Unknown), "5 minutes have no name");
    let remaining: Vec<u32> = response.statuses.iter().map(|status| status.limit_remaining).collect();
    assert_eq!(remaining, [1, 1], "two descriptors of one bucket are two hits");
    assert_eq!(answer(&service, vec![address(), address()]).await.overall_code(), Said::OverLimit);
    assert_eq!(answer(&service, vec![address()]).await.overall_code(), Said::Ok);
}

#[tokio::test]
async fn descriptor_hits_override_the_request_and_zero_peeks() {
    let service = shared(&[]).await;
    let with = |hits| RateLimitDescriptor { hits_addend: Some(UInt64Value { value: hits }), ..user("u") };
    let peek = answer(&service, vec![with(0)]).await;
    assert_eq!((peek.overall_code(), peek.statuses[0].limit_remaining), (Said::Ok, 10));
    let charged =
        ask(&service, RateLimitRequest { hits_addend: 9, ..request(vec![with(10)]) }).await.expect("an answer");
    assert_eq!((charged.overall_code(), charged.statuses[0].limit_remaining), (Said::Ok, 0));
    // A descriptor that is only peeked at denies those that would be charged beside it.
    let both = answer(&service, vec![with(0), descriptor(&[("tenant", "acme")])]).await;
    assert_eq!((both.overall_code(), codes(&both)), (Said::OverLimit, vec![Said::OverLimit, Said::Ok]));
    let tenant = answer(&service, vec![descriptor(&[("tenant", "acme")])]).await;
    assert_eq!(tenant.statuses[0].limit_remaining, 999);
}

/// Route that peeks with `hits_addend: 0` before the request, and charges with `apply_on_stream_done`.
#[tokio::test]
async fn check_before_the_request_enforces_charges_after_it() {
    let service = shared(&[]).await;
    let hits = |value| RateLimitDescriptor {
        hits_addend: Some(UInt64Value { value }),
        ..descriptor(&[("tenant", "acme"), ("counted", "tokens")])
    };
    let ask = async |value| {
        let response = answer(&service, vec![hits(value)]).await;
        let wait = headers(&response).get("retry-after").map(|wait| wait.parse::<u64>().expect("seconds"));
        (response.overall_code(), wait)
    };
    let debt = |reported: (Said, Option<u64>), seconds: u64| {
        let near = reported.1.is_some_and(|wait| (seconds - 10..=seconds).contains(&wait));
        assert!(reported.0 == Said::OverLimit && near, "{reported:?}, in place of {seconds} s");
    };
    // Two requests at once pass the check, and both are charged.
    assert_eq!((ask(0).await, ask(0).await), ((Said::Ok, None), (Said::Ok, None)));
    assert_eq!(ask(13).await, (Said::Ok, None));
    debt(ask(0).await, 1080);
    debt(ask(2).await, 1800);
    debt(ask(0).await, 1800);
    // No debt is larger than another burst.
    debt(ask(400).await, 3600);
    debt(ask(0).await, 3600);
    assert_eq!(answer(&service, vec![descriptor(&[("tenant", "acme")])]).await.overall_code(), Said::Ok);
}

#[tokio::test]
async fn cost_over_the_burst_reports_the_rest_and_no_wait() {
    let service = shared(&[]).await;
    for (charged, left) in [(0, 10), (4, 6)] {
        if charged > 0 {
            ask(&service, RateLimitRequest { hits_addend: charged, ..request(vec![user("u")]) })
                .await
                .expect("an answer");
        }
        let never = RateLimitRequest { hits_addend: 11, ..request(vec![user("u"), descriptor(&[("tenant", "acme")])]) };
        let never = ask(&service, never).await.expect("an answer");
        assert_eq!((never.overall_code(), never.statuses[0].limit_remaining), (Said::OverLimit, left));
        assert_eq!(never.statuses[1].limit_remaining, 1000, "nothing is charged");
        let headers = headers(&never);
        assert_eq!((headers["x-ratelimit-remaining"], headers.get("retry-after")), (&*left.to_string(), None));
    }
}

#[tokio::test]
async fn unasked_limits_are_not_reported_as_used_up() {
    let service = shared(&[]).await;
    let all = RateLimitRequest { hits_addend: 10, ..request(vec![user("u")]) };
    ask(&service, all).await.expect("an answer");
    // A machine that stalls for a second finds the denial expired.
    let denied = keyplane_testkit::eventually("the store is not asked", support::PATIENCE, async || {
        service.denies_from_cache("u").await;
        let denied = answer(&service, vec![user("u"), descriptor(&[("tenant", "acme")])]).await;
        if denied.statuses[1].current_limit.is_none() { Ok(denied) } else { Err(denied) }
    })
    .await;
    assert_eq!(codes(&denied), [Said::OverLimit, Said::Ok]);
    assert_eq!((denied.statuses[0].limit_remaining, denied.statuses[1].limit_remaining), (0, u32::MAX));
    assert_eq!(headers(&denied)["ratelimit-policy"], "\"user-api\";q=10;w=3600");
}

#[tokio::test]
async fn headers_list_each_limit_once() {
    let service = shared(&[]).await;
    let descriptors = vec![user("u"), descriptor(&[("tenant", "acme")]), user("u"), user("v")];
    let response = answer(&service, descriptors).await;
    assert_eq!(headers(&response)["ratelimit-policy"], "\"user-api\";q=10;w=3600, \"tenant-api\";q=1000;w=3600");
}

#[tokio::test]
async fn override_of_a_request_counts_in_the_policys_bucket() {
    let service = shared(&[]).await;
    let with = |amount, unit, descriptor: RateLimitDescriptor| RateLimitDescriptor {
        limit: Some(RateLimitOverride { requests_per_unit: amount, unit }),
        ..descriptor
    };
    for left in [1, 0] {
        let response = answer(&service, vec![with(2, 4, user("u"))]).await;
        assert_eq!((response.overall_code(), response.statuses[0].limit_remaining), (Said::Ok, left));
        assert_eq!(response.statuses[0].current_limit.as_ref().map(|limit| limit.unit()), Some(Unit::Day));
    }
    assert_eq!(answer(&service, vec![with(2, 4, user("u"))]).await.overall_code(), Said::OverLimit);
    assert_eq!(answer(&service, vec![user("u")]).await.statuses[0].limit_remaining, 7, "two of ten, and this one");
    assert_eq!(answer(&service, vec![with(0, 1, user("v"))]).await.overall_code(), Said::OverLimit, "0 is none");
    let unknown = || descriptor(&[("whatever", "z")]);
    assert_eq!(answer(&service, vec![with(1, 7, unknown())]).await.overall_code(), Said::Ok);
    assert_eq!(
        answer(&service, vec![with(1, 7, unknown())]).await.overall_code(),
        Said::OverLimit,
        "without a policy, too"
    );
}

#[tokio::test]
async fn only_trusted_peers_take_hits_back() {
    let back =
        || RateLimitDescriptor { is_negative_hits: true, hits_addend: Some(UInt64Value { value: 4 }), ..user("u") };
    let service = shared(&[]).await;
    let denied = ask(&service, request(vec![back()])).await.expect_err("no peer is trusted");
    details(&denied, Code::PermissionDenied, "REFUND_NOT_ALLOWED");

    let service = shared(&[("KEYPLANE_RATELIMIT_REFUND_PEERS", "10.0.0.0/8, 127.0.0.0/8")]).await;
    let all = RateLimitRequest { hits_addend: 10, ..request(vec![user("u")]) };
    assert_eq!(ask(&service, all.clone()).await.expect("an answer").overall_code(), Said::Ok);
    assert_eq!(ask(&service, all).await.expect("an answer").overall_code(), Said::OverLimit);
    let given = answer(&service, vec![back()]).await;
    assert_eq!((given.overall_code(), given.statuses[0].limit_remaining), (Said::Ok, 4));
    for _ in 0..3 {
        answer(&service, vec![back()]).await;
    }
    assert_eq!(answer(&service, vec![user("u")]).await.statuses[0].limit_remaining, 9, "never more than the limit");
}

#[tokio::test]
async fn retry_under_one_request_id_charges_once_and_another_question_counts() {
    let service = shared(&[]).await;
    let ask = async |descriptors: Vec<RateLimitDescriptor>| {
        let mut request = Request::new(request(descriptors));
        request.metadata_mut().insert("x-request-id", "7c3a/1".parse().expect("a value"));
        service.envoy.clone().should_rate_limit(request).await.expect("an answer").into_inner()
    };
    assert_eq!(ask(vec![user("u")]).await.statuses[0].limit_remaining, 9);
    assert_eq!(ask(vec![user("u")]).await.statuses[0].limit_remaining, 9);
    // As Envoy does when the stream is done.
    assert_eq!(ask(vec![user("u"), descriptor(&[("tenant", "acme")])]).await.statuses[0].limit_remaining, 8);
}

#[tokio::test]
async fn input_of_users_is_no_error_and_a_wrong_configuration_is_one() {
    let service = shared(&[]).await;
    for value in ["", "a\nb\0", &"x".repeat(5000), "{tag}:*"] {
        let response = answer(&service, vec![user(value)]).await;
        assert_eq!(
            (response.overall_code(), response.statuses[0].limit_remaining),
            (Said::Ok, 9),
            "{} bytes",
            value.len()
        );
    }
    let wrong = [
        request(Vec::new()),
        request(vec![descriptor(&[])]),
        RateLimitRequest { domain: String::new(), ..request(vec![user("u")]) },
        request(vec![RateLimitDescriptor {
            limit: Some(RateLimitOverride { requests_per_unit: 1, unit: 9 }),
            ..user("u")
        }]),
    ];
    for request in wrong {
        let status = ask(&service, request.clone()).await.expect_err("an error");
        details(&status, Code::InvalidArgument, "INVALID_REQUEST");
    }
}

/// Checks for an answer: an error would be the gateway's 503, which reports an unavailable service.
#[tokio::test]
async fn too_many_descriptors_are_rejected_with_the_reason() {
    let service = shared(&[]).await;
    let most = answer(&service, vec![user("u"); 16]).await;
    assert_eq!((most.overall_code(), most.statuses.len()), (Said::OverLimit, 16), "16 hits of 10");
    let response = answer(&service, vec![user("v"); 17]).await;
    assert_eq!((response.overall_code(), codes(&response)), (Said::OverLimit, vec![Said::OverLimit; 17]));
    let fields = response.dynamic_metadata.expect("metadata").fields;
    assert_eq!(fields["reason"].kind, Some(Kind::StringValue("TOO_MANY_DESCRIPTORS".into())));
    let body = String::from_utf8(response.raw_body).expect("a text");
    assert!(body.contains("at most 16 descriptors") && body.contains("made 17"), "{body}");
    let first = answer(&service, vec![user("v")]).await;
    assert_eq!(first.statuses[0].limit_remaining, 9, "nothing was charged");
}

#[tokio::test]
async fn unreachable_store_is_unavailable_for_a_retry_elsewhere() {
    let valkey = keyplane_testkit::valkey();
    let proxy = FaultProxy::to_port(valkey.port());
    let service = start(&keyplane_testkit::app(), &proxy.url(&valkey.url()), &[]).await;
    proxy.set(Fault::Cut);
    let untouched =
        keyplane_testkit::eventually("the loss of the connection is noticed", support::PATIENCE, async || {
            let status = ask(&service, request(vec![user("u")])).await.expect_err("the store is unavailable");
            if status.code() == Code::Unavailable { Ok(status) } else { Err(status.to_string()) }
        });
    let untouched = details(&untouched.await, Code::Unavailable, "STORE_UNAVAILABLE");
    assert!(!untouched.error_info().expect("an ErrorInfo").metadata.contains_key("outcome"), "nothing was charged");
}

/// Checks for an error that is never OK nor UNKNOWN, before Envoy stops waiting, unless a denial is certain.
#[tokio::test]
async fn unavailable_store_is_an_error_and_cached_denials_stay() {
    let valkey = keyplane_testkit::valkey();
    let proxy = FaultProxy::to_port(valkey.port());
    let settings = [("KEYPLANE_RATELIMIT_ENVOY_DEADLINE", "250ms")];
    let service = start(&keyplane_testkit::app(), &proxy.url(&valkey.url()), &settings).await;
    let all = RateLimitRequest { hits_addend: 10, ..request(vec![user("u")]) };
    keyplane_testkit::eventually("it is charged", support::PATIENCE, async || ask(&service, all.clone()).await.is_ok())
        .await;
    assert_eq!(answer(&service, vec![user("u")]).await.overall_code(), Said::OverLimit);
    let began = keyplane_testkit::eventually("what is certain needs no store", support::PATIENCE, async || {
        proxy.set(Fault::Pass);
        service.denies_from_cache("u").await;
        proxy.set(Fault::BlackHole);
        let began = std::time::Instant::now();
        // A machine that stalls for a second finds the denial expired.
        let denied = ask(&service, request(vec![user("u"), descriptor(&[("tenant", "acme")])])).await;
        let denied = denied.map_err(|status| status.to_string())?;
        assert_eq!(denied.overall_code(), Said::OverLimit);
        Ok::<_, String>(began)
    })
    .await;
    let status = ask(&service, request(vec![user("v")])).await.expect_err("the store is unavailable");
    let unknown = details(&status, Code::DeadlineExceeded, "STORE_UNAVAILABLE");
    assert_eq!(unknown.error_info().expect("an ErrorInfo").metadata["outcome"], "unknown", "no other may be asked");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    proxy.set(Fault::Pass);
    keyplane_testkit::eventually("the store is found again", support::PATIENCE, async || {
        ask(&service, request(vec![user("w")])).await.map(drop).map_err(|status| status.to_string())
    })
    .await;
}

#[test]
fn reflection_lists_the_services() {
    let pool = DescriptorPool::decode(RATE_LIMIT_DESCRIPTOR_SET).expect("it decodes");
    let message = |name: &str| pool.get_message_by_name(name).expect("it is declared");
    let full = RateLimitDescriptor {
        limit: Some(RateLimitOverride { requests_per_unit: 5, unit: 6 }),
        hits_addend: Some(UInt64Value { value: 7 }),
        is_negative_hits: true,
        ..user("u")
    };
    let request = RateLimitRequest { hits_addend: 3, ..request(vec![full]) };
    let name = "envoy.service.ratelimit.v3.RateLimitRequest";
    let read = DynamicMessage::decode(message(name), request.encode_to_vec().as_slice()).expect("it decodes");
    assert!(read.unknown_fields().next().is_none());
    assert_eq!(RateLimitRequest::decode(read.encode_to_vec().as_slice()).expect("it decodes"), request);
    let text = serde_json::to_string(&read).expect("JSON");
    for word in [
        "\"requestsPerUnit\":5",
        "\"unit\":\"YEAR\"",
        "\"hitsAddend\":\"7\"",
        "\"isNegativeHits\":true",
        "\"value\":\"u\"",
    ] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
}

//! Envoy's external authorization, over gRPC on a real store, and while that is unavailable.

mod support;

use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use keyplane_contracts::envoy::EXT_AUTHZ_DESCRIPTOR_SET;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_testkit::{Fault, FaultProxy, eventually};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::json;
use support::{ISSUER, PARENT, PATIENCE, Service, details, seconds_from_now, shared, start};
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

fn value(json: &serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().expect("a double")),
        serde_json::Value::String(text) => Kind::StringValue(text.clone()),
        serde_json::Value::Object(_) => Kind::StructValue(structure(json)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Array(_) => {
            panic!("no test has {json}")
        }
    };
    Value { kind: Some(kind) }
}

fn structure(json: &serde_json::Value) -> Struct {
    let fields = json.as_object().expect("an object").iter().map(|(name, json)| (name.clone(), value(json)));
    Struct { fields: fields.collect() }
}

/// Request whose token the gateway verified, on a route with `extensions`.
fn request(payload: &serde_json::Value, extensions: &[(&str, &str)]) -> CheckRequest {
    request_with(&json!({"payload": payload, "header": {"kid": "k-1", "alg": "ES256"}}), extensions)
}

/// Request with `verified` as the gateway's metadata, on a route with `extensions`.
fn request_with(verified: &serde_json::Value, extensions: &[(&str, &str)]) -> CheckRequest {
    let verified = structure(verified);
    let metadata = Metadata {
        filter_metadata: [("envoy.filters.http.jwt_authn".to_owned(), verified)].into(),
        ..Metadata::default()
    };
    let attributes = AttributeContext {
        metadata_context: Some(metadata),
        context_extensions: extensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..AttributeContext::default()
    };
    CheckRequest { attributes: Some(attributes) }
}

fn payload(jti: &str) -> serde_json::Value {
    let (issued, expires) = (seconds_from_now(-60).seconds, seconds_from_now(600).seconds);
    json!({
        "tenant": "acme", "iss": ISSUER, "jti": jti, "sub": "u-42", "azp": "portal",
        "iat": issued as f64 + 0.25, "exp": expires,
    })
}

async fn ask(service: &Service, request: CheckRequest) -> Result<CheckResponse, Status> {
    let mut client: AuthorizationClient<Channel> =
        AuthorizationClient::new(keyplane_testkit::channel(service.running.grpc_addr()));
    client.check(request).await.map(tonic::Response::into_inner)
}

/// Status of HTTP, and the challenge if there is one.
fn outcome(response: &CheckResponse) -> (i32, String) {
    let code = response.status.as_ref().expect("a status").code;
    match response.http_response.as_ref().expect("a response") {
        HttpResponse::OkResponse(_) => {
            assert_eq!(code, i32::from(Code::Ok));
            (200, String::new())
        }
        HttpResponse::DeniedResponse(denied) => {
            assert_eq!(code, i32::from(Code::Unauthenticated));
            let header = denied.headers[0].header.as_ref().expect("a header");
            assert_eq!(header.key, "www-authenticate");
            // The body that the gateway makes has the same text.
            let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{}\"", denied.body);
            assert_eq!(header.value, challenge);
            (denied.status.expect("a status of HTTP").code, header.value.clone())
        }
        HttpResponse::ErrorResponse(_) => panic!("older gateways don't know it"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_token_passes_with_metadata_for_the_limiter() {
    let service = shared(&[]).await;
    let response = ask(&service, request(&payload("j-1"), &[])).await.expect("an answer");
    assert_eq!(outcome(&response), (200, String::new()));
    let metadata = response.dynamic_metadata.expect("for the filters after");
    let expected = json!({"tenant": "acme", "subject": "u-42", "jti": "j-1", "client": "portal"});
    assert_eq!(metadata, structure(&expected));
    let bare = json!({"tenant": "acme", "exp": seconds_from_now(60).seconds});
    let response = ask(&service, request(&bare, &[])).await.expect("an answer");
    assert_eq!(
        response.dynamic_metadata,
        Some(structure(&json!({"tenant": "acme"}))),
        "what is missing is not made up"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_401_with_the_challenge_of_rfc_6750() {
    let service = shared(&[]).await;
    service.revoke_token("j-1").await;
    let revoked = "Bearer error=\"invalid_token\", error_description=\"the token was revoked; log in again\"";
    let response = ask(&service, request(&payload("j-1"), &[])).await.expect("an answer");
    assert_eq!(outcome(&response), (401, revoked.to_owned()));
    assert_eq!(response.dynamic_metadata, None);

    // A logout: an iat with a fraction in the same second counts, and `iat_ms` wins over `iat`.
    let logout = pb::RevokeSubjectRequest {
        parent: PARENT.into(),
        subject: "u-42".into(),
        cutoff_time: Some(prost_types::Timestamp { nanos: 500_000_000, ..seconds_from_now(-60) }),
        ..pb::RevokeSubjectRequest::default()
    };
    let cutoff = logout.cutoff_time.expect("it has one").seconds;
    service.client.clone().revoke_subject(logout).await.expect("a logout");
    let issued = |claims: serde_json::Value| {
        let mut payload = payload("j-2");
        payload.as_object_mut().expect("an object").extend(claims.as_object().expect("an object").clone());
        request(&payload, &[])
    };
    for (claims, status) in [
        (json!({"iat": cutoff}), 401),
        (json!({"iat": cutoff as f64 + 0.5}), 401),
        (json!({"iat": cutoff as f64 + 0.501}), 200),
        (json!({"iat": cutoff, "iat_ms": cutoff * 1000 + 501}), 200),
        (json!({"iat": cutoff + 30, "iat_ms": cutoff * 1000 + 499}), 401),
    ] {
        let response = ask(&service, issued(claims.clone())).await.expect("an answer");
        assert_eq!(outcome(&response).0, status, "{claims}");
    }
    let response = ask(&service, issued(json!({"exp": seconds_from_now(-600).seconds}))).await.expect("an answer");
    assert!(outcome(&response).1.contains("the token has expired"), "{:?}", outcome(&response));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_verified_token_of_a_tenant_nothing_passes() {
    let service = shared(&[("KEYPLANE_REVOCATION_TENANT_CLAIM", "org")]).await;
    let invalid = |why: &str| (401, format!("Bearer error=\"invalid_token\", error_description=\"{why}\""));
    let none = ask(&service, CheckRequest::default()).await.expect("an answer");
    assert_eq!(outcome(&none), invalid("the request has no token that was verified"));
    for (payload, why) in [
        (payload("j"), "the token lacks the claim org"),
        (json!({"org": 7}), "the token's claim org must be a text of at most 256 bytes without control characters"),
        (json!({"org": "acme", "exp": "soon"}), "the token's claim exp must be a time in seconds since 1970"),
        (json!({"org": "a/b"}), "the token's claim org must be the id of a tenant"),
    ] {
        let response = ask(&service, request(&payload, &[])).await.expect("an answer");
        assert_eq!(outcome(&response), invalid(why), "{payload}");
    }
    let good = json!({"org": "acme", "exp": seconds_from_now(60).seconds});
    assert_eq!(outcome(&ask(&service, request(&good, &[])).await.expect("an answer")).0, 200);
}

/// Tokens without `kid`: the gateway verifies them with every key, and nobody knows which one signed them.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_kid_is_rejected_unless_its_issuer_is_listed() {
    let service = shared(&[("KEYPLANE_REVOCATION_ISSUERS_WITHOUT_KID", "https://old.example")]).await;
    let naming = |issuer: &str, header: &serde_json::Value| {
        let mut payload = payload("j-1");
        payload.as_object_mut().expect("an object").insert("iss".to_owned(), json!(issuer));
        request_with(&json!({"payload": payload, "header": header}), &[])
    };
    let answer = async |request| outcome(&ask(&service, request).await.expect("an answer"));
    let description = "error_description=\"the token does not say in its header, as kid, which key signed it\"";
    let rejected = (401, format!("Bearer error=\"invalid_token\", {description}"));
    for header in [json!({}), json!({"kid": ""})] {
        assert_eq!(answer(naming(ISSUER, &header)).await, rejected, "{header}");
        assert_eq!(answer(naming("https://old.example", &header)).await.0, 200, "{header}");
    }
    assert_eq!(answer(naming(ISSUER, &json!({"kid": "k-1"}))).await.0, 200);
    // Without the header in the metadata, it may be any.
    assert_eq!(answer(request_with(&json!({"payload": payload("j-1")}), &[])).await, rejected);

    // A key that tokens need not name can't be revoked, alone or among others.
    let key = |issuer: &str| pb::RevokeKeyRequest {
        parent: PARENT.into(),
        issuer: issuer.into(),
        kid: "stolen".into(),
        ..pb::RevokeKeyRequest::default()
    };
    let mut client = service.client.clone();
    let status = client.revoke_key(key("https://old.example")).await.expect_err("it would do nothing");
    details(&status, Code::FailedPrecondition, "ISSUER_WITHOUT_KID");
    let item = |issuer: &str| pb::RevokeRequest { target: Some(pb::revoke_request::Target::Key(key(issuer))) };
    let requests = vec![item("https://old.example"), item(ISSUER), item("https://old.example")];
    let batch = pb::BatchRevokeRequest { parent: PARENT.into(), requests };
    let results = client.batch_revoke(batch).await.expect("each has a result").into_inner().results;
    let reasons: Vec<_> =
        results.iter().map(|result| result.error.as_ref().map(|error| error.reason.as_str())).collect();
    assert_eq!(reasons, [Some("ISSUER_WITHOUT_KID"), None, Some("ISSUER_WITHOUT_KID")]);
    assert_eq!(results[1].revocation.as_ref().map(|made| made.issuer.as_str()), Some(ISSUER));
    assert_eq!(answer(naming("https://old.example", &json!({}))).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_freshness_is_an_error_unless_the_route_has_a_policy() {
    let valkey = keyplane_testkit::valkey();
    let proxy = FaultProxy::to_port(valkey.port());
    let settings = [("KEYPLANE_REVOCATION_MAX_STALENESS", "100ms"), ("KEYPLANE_REVOCATION_STORE_TIMEOUT", "100ms")];
    let service = start(&keyplane_testkit::app(), &proxy.url(&valkey.url()), &settings, |_| {}).await;
    service.revoke_token("j-1").await;
    proxy.set(Fault::BlackHole);
    let answer = async |jti: &str, policy: &str| {
        let extensions = [("keyplane.policy", policy)];
        let extensions = if policy.is_empty() { &extensions[..0] } else { &extensions[..] };
        ask(&service, request(&payload(jti), extensions)).await
    };
    let status = eventually("memory grows too old", PATIENCE, async || answer("j-2", "").await.err()).await;
    assert!(details(&status, Code::Unavailable, "FRESHNESS_UNKNOWN").retry_info().is_some());
    for policy in ["closed", "last-known 1ms"] {
        let status = answer("j-2", policy).await.expect_err("no answer");
        details(&status, Code::Unavailable, "FRESHNESS_UNKNOWN");
    }
    for policy in ["open", "last-known 10m"] {
        assert_eq!(outcome(&answer("j-2", policy).await.expect("the route lets it pass")).0, 200, "{policy}");
        let known = answer("j-1", policy).await.map(|response| outcome(&response).0);
        assert!(!matches!(known, Ok(200)), "no policy lets a token pass that memory holds to be revoked: {policy}");
    }
    // A token that breaks a rule by itself needs no knowledge.
    let expired = json!({"tenant": "acme", "exp": seconds_from_now(-600).seconds});
    assert_eq!(outcome(&ask(&service, request(&expired, &[])).await.expect("an answer")).0, 401);

    proxy.set(Fault::Pass);
    let back = async || answer("j-2", "").await.map(|response| assert_eq!(outcome(&response).0, 200));
    eventually("the service finds the store by itself", PATIENCE, back).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_with_an_invalid_policy_is_rejected() {
    let service = shared(&[]).await;
    for policy in ["ope", "", "last-known", "last-known 30", "Open"] {
        let status =
            ask(&service, request(&payload("j"), &[("keyplane.policy", policy)])).await.expect_err("no policy");
        details(&status, Code::Unavailable, "ROUTE_POLICY_INVALID");
        assert!(status.message().contains("keyplane.policy"), "{}", status.message());
    }
    let response = ask(&service, request(&payload("j"), &[("keyplane.policy", "last-known 30s")])).await;
    assert_eq!(outcome(&response.expect("a policy")).0, 200);
}

/// Compatibility of the declaration that reflection serves with Envoy's wire format, as far as it goes.
#[tokio::test(flavor = "multi_thread")]
async fn the_declaration_is_wire_compatible() {
    let pool = DescriptorPool::decode(EXT_AUTHZ_DESCRIPTOR_SET).expect("it decodes");
    let decode = |name: &str, bytes: &[u8]| {
        let message = pool.get_message_by_name(name).expect(name);
        let message = DynamicMessage::decode(message, bytes).expect("it is of that type");
        assert_eq!(message.encode_to_vec().len(), bytes.len());
        assert_eq!(unknown(&message), 0, "{message:?}");
        message
    };
    let asked = request(&payload("j-1"), &[("keyplane.policy", "open")]);
    decode("envoy.service.auth.v3.CheckRequest", &asked.encode_to_vec());
    let service = shared(&[]).await;
    let passed = ask(&service, asked).await.expect("an answer");
    decode("envoy.service.auth.v3.CheckResponse", &passed.encode_to_vec());
    let denied = ask(&service, CheckRequest::default()).await.expect("an answer");
    let denied = format!("{:?}", decode("envoy.service.auth.v3.CheckResponse", &denied.encode_to_vec()));
    assert!(denied.contains("401") && denied.contains("www-authenticate"), "{denied}");
    let method = pool.get_service_by_name("envoy.service.auth.v3.Authorization").expect("the service");
    assert_eq!(method.methods().map(|method| method.name().to_owned()).collect::<Vec<_>>(), ["Check"]);
}

/// Number of fields that the message's type does not declare, in it and in its parts.
fn unknown(message: &DynamicMessage) -> usize {
    let within = message.fields().map(|(_, value)| {
        let inner = value.as_message().into_iter();
        let listed = value.as_list().into_iter().flatten().filter_map(prost_reflect::Value::as_message);
        let mapped =
            value.as_map().into_iter().flat_map(|map| map.values()).filter_map(prost_reflect::Value::as_message);
        inner.chain(listed).chain(mapped).map(unknown).sum::<usize>()
    });
    message.unknown_fields().count() + within.sum::<usize>()
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_knows_both_services() {
    let service = shared(&[]).await;
    let mut client = ServerReflectionClient::new(keyplane_testkit::channel(service.running.grpc_addr()));
    for symbol in ["envoy.service.auth.v3.Authorization", "keyplane.revocation.v1.RevocationService"] {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::FileContainingSymbol(symbol.to_owned())),
        };
        let mut answers =
            client.server_reflection_info(tokio_stream::once(request)).await.expect("it answers").into_inner();
        let answer = answers.message().await.expect("no error").expect("an answer").message_response;
        assert!(matches!(answer, Some(MessageResponse::FileDescriptorResponse(_))), "{symbol}: {answer:?}");
    }
}

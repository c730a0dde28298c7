//! Responses to the gateway.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::{
    HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction,
};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::{HttpStatus, StatusCode};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use envoy_types::pb::google::rpc;
use keyplane_revocation::{Claims, Rule};
use tonic::Code;

/// Response for a request that may pass. Tenant, subject, jti and client of its token go on to the filters after.
pub(super) fn allowed(claims: &Claims<'_>) -> CheckResponse {
    let named =
        [("tenant", claims.tenant), ("subject", claims.subject), ("jti", claims.jti), ("client", claims.client)];
    let field = |(name, text): (&str, &str)| {
        (!text.is_empty()).then(|| (name.to_owned(), Value { kind: Some(Kind::StringValue(text.to_owned())) }))
    };
    let fields: HashMap<_, _> = named.into_iter().filter_map(field).collect();
    CheckResponse {
        status: Some(rpc::Status { code: Code::Ok.into(), ..rpc::Status::default() }),
        dynamic_metadata: Some(Struct { fields }),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
    }
}

/// Response for a token that breaks a rule or was revoked. RFC 6750 has one error for it; the words say what a client
/// may do.
pub(super) fn rejected(rule: Rule) -> CheckResponse {
    let reason = match rule {
        Rule::Expired => "the token has expired",
        Rule::NoExpiry => "the token never expires",
        Rule::LifetimeTooLong => "the token lives longer than tokens may",
        Rule::IssuedInFuture => "the token was issued in the future",
        Rule::Tenant | Rule::Key | Rule::Client | Rule::Subject | Rule::Session | Rule::Token => {
            "the token was revoked; log in again"
        }
        Rule::Lost => "the token may have been revoked; log in again",
    };
    unauthenticated(reason)
}

/// Response for a token that is rejected, or that cannot be checked. `reason` is for its bearer.
pub(super) fn unauthenticated(reason: &str) -> CheckResponse {
    // Without the characters that error_description forbids (RFC 6750, section 3): operators name claims as they like.
    let allowed = |c: &char| (' '..='~').contains(c) && !['"', '\\'].contains(c);
    let reason: String = reason.chars().filter(allowed).collect();
    let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{reason}\"");
    let header = HeaderValue { key: "www-authenticate".to_owned(), value: challenge, ..HeaderValue::default() };
    let header = HeaderValueOption {
        header: Some(header),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    };
    CheckResponse {
        status: Some(rpc::Status { code: Code::Unauthenticated.into(), ..rpc::Status::default() }),
        dynamic_metadata: None,
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus { code: StatusCode::Unauthorized.into() }),
            headers: vec![header],
            // The message of the body that the gateway makes, as for its own refusals.
            body: reason,
        })),
    }
}

//! What the gateway is told.

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

/// The request may pass. Its tenant, subject, jti and client, as far as the token has them, go on to the filters after.
pub(super) fn allowed(claims: &Claims<'_>) -> CheckResponse {
    let told = [("tenant", claims.tenant), ("subject", claims.subject), ("jti", claims.jti), ("client", claims.client)];
    let field = |(name, text): (&str, &str)| {
        (!text.is_empty()).then(|| (name.to_owned(), Value { kind: Some(Kind::StringValue(text.to_owned())) }))
    };
    let fields: HashMap<_, _> = told.into_iter().filter_map(field).collect();
    CheckResponse {
        status: Some(rpc::Status { code: Code::Ok.into(), ..rpc::Status::default() }),
        dynamic_metadata: Some(Struct { fields }),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
    }
}

/// The token must be refused. RFC 6750 has one error for it; the words say what a client may do.
pub(super) fn refused(rule: Rule) -> CheckResponse {
    let why = match rule {
        Rule::Expired => "the token has expired",
        Rule::NoExpiry => "the token never expires",
        Rule::LifetimeTooLong => "the token lives longer than tokens may",
        Rule::IssuedInFuture => "the token was issued in the future",
        Rule::Tenant | Rule::Key | Rule::Client | Rule::Subject | Rule::Session | Rule::Token => {
            "the token was revoked; log in again"
        }
        Rule::Lost => "the token may have been revoked; log in again",
    };
    unacceptable(why)
}

/// The request has no token that could be checked, or one that must be refused. `why` is for its bearer.
pub(super) fn unacceptable(why: &str) -> CheckResponse {
    // Without what an error_description may not have (RFC 6750, section 3): the name of a claim is the operator's.
    let allowed = |c: &char| (' '..='~').contains(c) && !['"', '\\'].contains(c);
    let why: String = why.chars().filter(allowed).collect();
    let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{why}\"");
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
            body: why,
        })),
    }
}

//! Claims that the gateway verified, from the metadata of a request.
//!
//! Only the metadata of its filter `jwt_authn` counts: a header may hold anything, and nobody has verified its
//! signature.

use std::collections::HashMap;

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::google::protobuf::Value;
use envoy_types::pb::google::protobuf::value::Kind;
use keyplane_contracts::names::{Id, TenantId};
use keyplane_revocation::{Claims, Millis};

use crate::domain::names::is_nameable;

/// Name under which `jwt_authn` puts what it verified.
pub(super) const FILTER: &str = "envoy.filters.http.jwt_authn";
/// Setting `payload_in_metadata` of `jwt_authn`.
const PAYLOAD: &str = "payload";
/// Setting `header_in_metadata` of `jwt_authn`.
const HEADER: &str = "header";
/// Seconds up to the year 10000.
const LATEST: f64 = 253_402_300_800.0;

/// Fault of a request without claims that can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault<'a> {
    /// Missing token: the gateway verified none.
    NoToken,
    /// Missing claim.
    Missing(&'a str),
    /// Claim that breaks a rule.
    Malformed(&'a str, &'static str),
    /// Header that lists critical extensions, of which this service understands none.
    Critical,
}

const TEXT: &str = "a text of at most 256 bytes without control characters";
const TIME: &str = "a time in seconds since 1970";
const EXACT_TIME: &str = "a time in whole milliseconds since 1970";
const OBJECT: &str = "an object";

type Fields = HashMap<String, Value>;

// === impl Fault ===

impl Fault<'_> {
    /// Message for the sender of the token, which repeats nothing of it but the name of a claim.
    pub(super) fn message(self) -> String {
        match self {
            Fault::NoToken => "the request has no token that was verified".to_owned(),
            Fault::Missing(claim) => format!("the token lacks the claim {claim}"),
            Fault::Malformed(claim, rule) => format!("the token's claim {claim} must be {rule}"),
            Fault::Critical => "the token's header crit lists extensions, and none is understood here".to_owned(),
        }
    }
}

/// Reads the claims of the token that the gateway verified; the claim `tenant_claim` names its tenant.
pub(super) fn read<'a>(request: &'a CheckRequest, tenant_claim: &'a str) -> Result<Claims<'a>, Fault<'a>> {
    let metadata = request.attributes.as_ref().and_then(|attributes| attributes.metadata_context.as_ref());
    let verified = metadata.and_then(|metadata| metadata.filter_metadata.get(FILTER)).ok_or(Fault::NoToken)?;
    let payload = structure(&verified.fields, PAYLOAD)?.ok_or(Fault::NoToken)?;
    let header = structure(&verified.fields, HEADER)?;
    // RFC 7515, section 4.1.11. The gateway does not look at it.
    if header.is_some_and(|header| header.contains_key("crit")) {
        return Err(Fault::Critical);
    }

    let tenant = text(payload, tenant_claim)?;
    if tenant.is_empty() {
        return Err(Fault::Missing(tenant_claim));
    }
    TenantId::parse(tenant, "").map_err(|_| Fault::Malformed(tenant_claim, "the id of a tenant"))?;
    let subject = text(payload, "sub")?;
    if !subject.is_empty() {
        Id::parse(subject, "").map_err(|_| Fault::Malformed("sub", "the id of a user"))?;
    }
    let client = match bounded(payload, "client_id")? {
        "" => bounded(payload, "azp")?,
        client => client,
    };
    Ok(Claims {
        tenant,
        subject,
        client,
        issuer: bounded(payload, "iss")?,
        jti: bounded(payload, "jti")?,
        sid: bounded(payload, "sid")?,
        kid: header.map_or(Ok(""), |header| bounded(header, "kid"))?,
        issued_at: time(payload, "iat_ms", "iat")?,
        auth_time: time(payload, "auth_time_ms", "auth_time")?,
        expires: seconds(payload, "exp")?,
    })
}

fn kind<'a>(fields: &'a Fields, name: &str) -> Option<&'a Kind> {
    fields.get(name).and_then(|value| value.kind.as_ref())
}

fn structure<'a>(fields: &'a Fields, name: &'static str) -> Result<Option<&'a Fields>, Fault<'a>> {
    let Some(kind) = kind(fields, name) else { return Ok(None) };
    if let Kind::StructValue(inner) = kind { Ok(Some(&inner.fields)) } else { Err(Fault::Malformed(name, OBJECT)) }
}

/// Reads a text; empty where the claim is missing.
fn text<'a>(fields: &'a Fields, name: &'a str) -> Result<&'a str, Fault<'a>> {
    let Some(kind) = kind(fields, name) else { return Ok("") };
    if let Kind::StringValue(text) = kind { Ok(text) } else { Err(Fault::Malformed(name, TEXT)) }
}

/// Reads a text that a revocation could name.
fn bounded<'a>(fields: &'a Fields, name: &'a str) -> Result<&'a str, Fault<'a>> {
    let text = text(fields, name)?;
    if is_nameable(text) { Ok(text) } else { Err(Fault::Malformed(name, TEXT)) }
}

fn number<'a>(fields: &'a Fields, name: &'a str) -> Result<Option<f64>, Fault<'a>> {
    let Some(kind) = kind(fields, name) else { return Ok(None) };
    if let Kind::NumberValue(number) = kind { Ok(Some(*number)) } else { Err(Fault::Malformed(name, TIME)) }
}

/// Reads a time: `exact`, in whole milliseconds, wins over `name`, in seconds.
fn time<'a>(fields: &'a Fields, exact: &'static str, name: &'static str) -> Result<Option<Millis>, Fault<'a>> {
    match number(fields, exact)? {
        None => seconds(fields, name),
        // Whole, and in range: the cast cuts nothing off.
        Some(ms) if ms.fract() == 0.0 && (0.0..LATEST * 1e3).contains(&ms) => Ok(Some(Millis(ms as i64))),
        Some(_) => Err(Fault::Malformed(exact, EXACT_TIME)),
    }
}

/// Reads a time in seconds, with or without a fraction.
fn seconds<'a>(fields: &'a Fields, name: &'static str) -> Result<Option<Millis>, Fault<'a>> {
    let Some(seconds) = number(fields, name)? else { return Ok(None) };
    let in_range = (0.0..LATEST).contains(&seconds);
    let time = in_range.then(|| Millis::from_seconds(seconds)).flatten();
    time.map(Some).ok_or(Fault::Malformed(name, TIME))
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3::Metadata;
    use envoy_types::pb::envoy::service::auth::v3::AttributeContext;
    use envoy_types::pb::google::protobuf::{ListValue, Struct};

    use super::*;

    fn value(json: &serde_json::Value) -> Value {
        let kind = match json {
            serde_json::Value::Null => Kind::NullValue(0),
            serde_json::Value::Bool(flag) => Kind::BoolValue(*flag),
            serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
            serde_json::Value::String(text) => Kind::StringValue(text.clone()),
            serde_json::Value::Array(values) => {
                Kind::ListValue(ListValue { values: values.iter().map(value).collect() })
            }
            serde_json::Value::Object(_) => Kind::StructValue(fields(json)),
        };
        Value { kind: Some(kind) }
    }

    fn fields(json: &serde_json::Value) -> Struct {
        let fields = json.as_object().unwrap().iter().map(|(name, json)| (name.clone(), value(json))).collect();
        Struct { fields }
    }

    fn request(verified: &serde_json::Value) -> CheckRequest {
        let metadata =
            Metadata { filter_metadata: [(FILTER.to_owned(), fields(verified))].into(), ..Metadata::default() };
        let attributes = AttributeContext { metadata_context: Some(metadata), ..AttributeContext::default() };
        CheckRequest { attributes: Some(attributes) }
    }

    #[test]
    fn each_claim_is_read() {
        let request = request(&serde_json::json!({
            "payload": {"tenant": "acme", "iss": "https://idp", "jti": "j", "sid": "s", "sub": "u-42", "azp": "portal",
                        "iat": 1_700_000_000.25, "auth_time": 1_700_000_000, "exp": 1_700_000_600},
            "header": {"kid": "k", "alg": "ES256"},
        }));
        let claims = read(&request, "tenant").unwrap();
        assert_eq!((claims.tenant, claims.issuer, claims.jti, claims.sid), ("acme", "https://idp", "j", "s"));
        assert_eq!((claims.subject, claims.client, claims.kid), ("u-42", "portal", "k"));
        assert_eq!(claims.issued_at, Some(Millis(1_700_000_000_250)));
        assert_eq!(claims.auth_time, Some(Millis(1_700_000_000_000)));
        assert_eq!(claims.expires, Some(Millis(1_700_000_600_000)));
    }

    #[test]
    fn the_client_id_and_exact_times_win() {
        let request = request(&serde_json::json!({"payload": {
            "org": "acme", "client_id": "app", "azp": "other", "iat": 1_700_000_000, "iat_ms": 1_700_000_000_999_i64,
        }}));
        let claims = read(&request, "org").unwrap();
        assert_eq!((claims.client, claims.issued_at), ("app", Some(Millis(1_700_000_000_999))));
        assert_eq!((claims.kid, claims.expires), ("", None));
    }

    #[test]
    fn a_fraction_survives_being_a_double() {
        for ms in [1_700_000_000_001_i64, 1_700_000_000_549, 1_700_000_000_999, 1_899_999_999_123] {
            let request = request(&serde_json::json!({"payload": {"tenant": "acme", "iat": ms as f64 / 1e3}}));
            assert_eq!(read(&request, "tenant").unwrap().issued_at, Some(Millis(ms)));
        }
    }

    #[test]
    fn a_critical_extension_is_rejected() {
        for crit in [serde_json::json!(["exp"]), serde_json::json!([]), serde_json::json!("b64")] {
            let request = request(&serde_json::json!({"payload": {"tenant": "acme"}, "header": {"crit": crit}}));
            assert_eq!(read(&request, "tenant").map(|_| ()), Err(Fault::Critical));
        }
    }

    #[test]
    fn a_malformed_claim_is_rejected_by_name() {
        let rejected = |payload: serde_json::Value| {
            let request = request(&serde_json::json!({ "payload": payload }));
            read(&request, "tenant").map(|_| ()).map_err(|fault| fault.message())
        };
        let cases = [
            (serde_json::json!({"sub": "u"}), "the token lacks the claim tenant"),
            (serde_json::json!({"tenant": ""}), "the token lacks the claim tenant"),
            (
                serde_json::json!({"tenant": 7}),
                "the token's claim tenant must be a text of at most 256 bytes without control characters",
            ),
            (serde_json::json!({"tenant": "ACME"}), "the token's claim tenant must be the id of a tenant"),
            (
                serde_json::json!({"tenant": "acme", "sub": 42}),
                "the token's claim sub must be a text of at most 256 bytes without control characters",
            ),
            (serde_json::json!({"tenant": "acme", "sub": "a b"}), "the token's claim sub must be the id of a user"),
            (
                serde_json::json!({"tenant": "acme", "jti": null}),
                "the token's claim jti must be a text of at most 256 bytes without control characters",
            ),
            (
                serde_json::json!({"tenant": "acme", "jti": "x".repeat(257)}),
                "the token's claim jti must be a text of at most 256 bytes without control characters",
            ),
            (
                serde_json::json!({"tenant": "acme", "sid": "a\nb"}),
                "the token's claim sid must be a text of at most 256 bytes without control characters",
            ),
            (
                serde_json::json!({"tenant": "acme", "exp": "soon"}),
                "the token's claim exp must be a time in seconds since 1970",
            ),
            (
                serde_json::json!({"tenant": "acme", "exp": 1e300}),
                "the token's claim exp must be a time in seconds since 1970",
            ),
            (
                serde_json::json!({"tenant": "acme", "iat": -1}),
                "the token's claim iat must be a time in seconds since 1970",
            ),
            (
                serde_json::json!({"tenant": "acme", "iat_ms": 1.5, "iat": 1}),
                "the token's claim iat_ms must be a time in whole milliseconds since 1970",
            ),
        ];
        for (payload, fault) in cases {
            assert_eq!(rejected(payload.clone()), Err(fault.to_owned()), "{payload}");
        }
        assert_eq!(read(&CheckRequest::default(), "tenant").map(|_| ()), Err(Fault::NoToken));
        assert_eq!(read(&request(&serde_json::json!({})), "tenant").map(|_| ()), Err(Fault::NoToken));
    }
}

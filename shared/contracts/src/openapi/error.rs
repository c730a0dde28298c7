//! Error schemas of the gateway and of OAuth. Details are one flat schema, since importers take only the first of
//! many.

use serde_json::{Map, Value, json};

use crate::reasons::{DOMAIN, Reason, code_name, gateway, kit, session, store};

/// Name of the schema of every error but those of OAuth. JavaScript, Swift and others have an `Error` of their own.
pub(super) const NAME: &str = "ApiError";
/// Schema of an error of OAuth.
pub(super) const OAUTH: &str = "OAuthError";
/// Schema of the last event of a stream that ends for an error.
pub(super) const EVENT: &str = "StreamError";

/// HTTP status and its meaning; reason and message of an example.
type Status = (&'static str, &'static str, &'static Reason, &'static str);

/// Statuses that callers can meet on every route.
pub(super) static STATUSES: &[Status] = &[
    (
        "400",
        "The request breaks a rule: fix it. `details` names every violated field.",
        &kit::INVALID_REQUEST,
        "the request is invalid: parent: the tenant must match [a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?; 4 bytes were sent",
    ),
    (
        "401",
        "No token (`UNAUTHENTICATED`), or one that is not good any more (`TOKEN_REVOKED`): log in.",
        &gateway::TOKEN_REVOKED,
        "the token was revoked; log in again",
    ),
    ("404", "There is no such resource, or no such route.", &session::SESSION_NOT_FOUND, "there is no such session"),
    (
        "409",
        "The resource has changed meanwhile (`STALE_WRITE`): read it and try again.",
        &kit::STALE_WRITE,
        "the session has version 3",
    ),
    (
        "429",
        "A limit is reached: wait for `retryDelay`, if given.",
        &gateway::RATE_LIMITED,
        "too many requests: the limit user-api has room in 1 s; retry then",
    ),
    (
        "503",
        "Not now: wait for `retryDelay` and try again.",
        &store::STORE_UNAVAILABLE,
        "the store can't be reached; try again",
    ),
    (
        "504",
        "The deadline passed. A write may have happened.",
        &kit::DEADLINE_EXCEEDED,
        "the deadline passed; a write may have happened",
    ),
];

/// Example of an error of [`STATUSES`], in JSON.
pub(super) fn example(status: &str, reason: &Reason, message: &str) -> Value {
    let kind = |name: &str| format!("type.googleapis.com/google.rpc.{name}");
    let mut details =
        vec![json!({"@type": kind("ErrorInfo"), "reason": reason.name, "domain": DOMAIN, "metadata": {}})];
    match status {
        "400" => details.push(json!({"@type": kind("BadRequest"), "fieldViolations": [{
            "field": "parent",
            "description": "the tenant must match [a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?; 4 bytes were sent",
        }]})),
        "429" | "503" => details.push(json!({"@type": kind("RetryInfo"), "retryDelay": "1s"})),
        _ => {}
    }
    let (code, name) = (i32::from(reason.code), code_name(reason.code));
    json!({"code": code, "status": name, "message": message, "details": details})
}

/// Adds the schemas of an error to `schemas`.
pub(super) fn schemas(schemas: &mut Map<String, Value>) {
    schemas.insert(
        NAME.to_owned(),
        json!({
            "type": "object",
            "description": "Every error has this shape, but for those of `oauth2/revoke`.",
            "required": ["code", "status", "message", "details"],
            "properties": {
                "code": {"type": "integer", "format": "int32", "description": "The gRPC status code, e.g. 5 for NOT_FOUND."},
                "status": {"type": "string", "description": "The name of that code, e.g. `NOT_FOUND`."},
                "message": {"type": "string", "description": "For developers. Not stable; programs read `reason`."},
                "details": {
                    "type": "array",
                    "items": {"$ref": "#/components/schemas/ApiErrorDetail"},
                    "description": "What programs can act on, one item of each kind at most.",
                },
            },
        }),
    );
    schemas.insert(
        "ApiErrorDetail".to_owned(),
        json!({
            "type": "object",
            "description": "One detail. `@type` tells which of the other fields are set.",
            "required": ["@type"],
            "properties": {
                "@type": {"type": "string", "description":
                    "`type.googleapis.com/google.rpc.` and ErrorInfo (reason, domain, metadata), BadRequest \
                     (fieldViolations), RetryInfo (retryDelay) or QuotaFailure (violations)."},
                "reason": {"type": "string", "description": "ErrorInfo: the cause, e.g. `SESSION_NOT_FOUND`."},
                "domain": {"type": "string", "description": "ErrorInfo: `keyplane.dev`."},
                "metadata": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "description": "ErrorInfo: the changing parts of the message.",
                },
                "fieldViolations": {
                    "type": "array",
                    "items": {"$ref": "#/components/schemas/ApiErrorViolation"},
                    "description": "BadRequest: every field that breaks a rule.",
                },
                "retryDelay": {"type": "string", "description": "RetryInfo: the least wait, in seconds, e.g. `0.250s`."},
                "violations": {
                    "type": "array",
                    "items": {"$ref": "#/components/schemas/ApiErrorViolation"},
                    "description": "QuotaFailure: every limit that was reached.",
                },
            },
        }),
    );
    schemas.insert(
        "ApiErrorViolation".to_owned(),
        json!({
            "type": "object",
            "description": "A field that breaks a rule, or a limit that was reached.",
            "required": ["description"],
            "properties": {
                "field": {"type": "string", "description": "BadRequest: the path of the field, e.g. `session.lastPath`."},
                "subject": {"type": "string", "description": "QuotaFailure: whose limit it is."},
                "description": {"type": "string", "description": "The rule or the limit."},
            },
        }),
    );
}

/// Schema of an error of OAuth.
pub(super) fn oauth() -> Value {
    json!({
        "type": "object",
        "description": "An error as OAuth has it (RFC 6749, section 5.2).",
        "required": ["error", "error_description"],
        "properties": {
            "error": {"type": "string", "description": "`invalid_request`, `unsupported_token_type`, `temporarily_unavailable`, ..."},
            "error_description": {"type": "string", "description": "For developers. Not stable."},
        },
    })
}

/// Schema of a stream's last event, where it ends for an error.
pub(super) fn event() -> Value {
    json!({
        "type": "object",
        "description": "`data` of the event `error`, the last of a stream that ends for an error. A browser connects again by itself.",
        "required": ["code", "status", "message", "reason"],
        "properties": {
            "code": {"type": "integer", "format": "int32", "description": "The gRPC status code, e.g. 14 for UNAVAILABLE."},
            "status": {"type": "string", "description": "The name of that code."},
            "message": {"type": "string", "description": "For developers. Not stable; programs read `reason`."},
            "reason": {"type": "string", "description": "The cause, e.g. `SHUTTING_DOWN`."},
        },
    })
}

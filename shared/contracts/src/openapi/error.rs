//! Error schemas of the gateway and of OAuth. Details are one flat schema, since importers take only the first of
//! many.

use serde_json::{Map, Value, json};

use crate::reasons::{DOMAIN, Reason, code_name, gateway, kit, session, store};

/// Name of the schema of every error but those of OAuth. JavaScript, Swift and others have an `Error` of their own.
pub(super) const NAME: &str = "ApiError";
/// Name of the schema of an error of OAuth.
pub(super) const OAUTH: &str = "OAuthError";

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

/// Schemas of errors by name: [`NAME`] with its parts, [`OAUTH`], and that of the last event of a stream.
pub(super) fn schemas() -> Map<String, Value> {
    serde_json::from_str(include_str!("error.json")).expect("error.json is an object")
}

//! The one error shape of the gateway. Its details are one flat schema, since importers take only the first of many.

use serde_json::{Map, Value, json};

/// What callers can meet on every route.
pub(super) const STATUSES: &[(&str, &str)] = &[
    ("400", "The request breaks a rule: fix it. `details` names every violated field."),
    ("401", "No token (`UNAUTHENTICATED`), or one that is not good any more (`TOKEN_REVOKED`): log in."),
    ("404", "There is no such resource, or no such route."),
    ("409", "The resource has changed meanwhile (`VERSION_MISMATCH`): read it and try again."),
    ("429", "A limit is reached: wait for `retryDelay`, if given."),
    ("503", "Not now: wait for `retryDelay` and try again."),
    ("504", "The deadline passed. A write may have happened."),
    ("default", "Any other error."),
];

/// Adds the schemas of an error to `schemas`.
pub(super) fn schemas(schemas: &mut Map<String, Value>) {
    schemas.insert(
        "Error".to_owned(),
        json!({
            "type": "object",
            "description": "Every error has this shape.",
            "properties": {
                "code": {"type": "integer", "format": "int32", "description": "The gRPC status code, e.g. 5 for NOT_FOUND."},
                "status": {"type": "string", "description": "The name of that code, e.g. `NOT_FOUND`."},
                "message": {"type": "string", "description": "For developers. Not stable; programs read `reason`."},
                "details": {
                    "type": "array",
                    "items": {"$ref": "#/components/schemas/ErrorDetail"},
                    "description": "What programs can act on, one item of each kind at most.",
                },
            },
        }),
    );
    schemas.insert(
        "ErrorDetail".to_owned(),
        json!({
            "type": "object",
            "description": "One detail. `@type` tells which of the other fields are set.",
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
                    "items": {"$ref": "#/components/schemas/ErrorViolation"},
                    "description": "BadRequest: every field that breaks a rule.",
                },
                "retryDelay": {"type": "string", "description": "RetryInfo: the least wait, in seconds, e.g. `0.250s`."},
                "violations": {
                    "type": "array",
                    "items": {"$ref": "#/components/schemas/ErrorViolation"},
                    "description": "QuotaFailure: every limit that was reached.",
                },
            },
        }),
    );
    schemas.insert(
        "ErrorViolation".to_owned(),
        json!({
            "type": "object",
            "description": "A field that breaks a rule, or a limit that was reached.",
            "properties": {
                "field": {"type": "string", "description": "BadRequest: the path of the field, e.g. `session.lastPath`."},
                "subject": {"type": "string", "description": "QuotaFailure: whose limit it is."},
                "description": {"type": "string", "description": "The rule or the limit."},
            },
        }),
    );
}

//! RFC 7009: the one body whose shape is not a message's, and the tokens themselves.

use serde_json::{Value, json};

use crate::http::Binding;

/// RPC that takes a token in its body.
const REVOKE: &str = "keyplane.revocation.v1.RevocationService.RevokeOAuthToken";

/// Security schemes of the document; [`security`] refers to them.
pub(super) fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "A token of the platform's identity provider, in `Authorization: Bearer ...`.",
        },
        "cookie": {
            "type": "apiKey", "in": "cookie", "name": "keyplane_token",
            "description": "The same token in a cookie, for reading only: a browser's EventSource can send no header.",
        },
    })
}

/// Security schemes of an operation, of which a caller uses one; empty if the operation needs no token.
pub(super) fn security(binding: &Binding) -> Value {
    match (binding.needs_token(), binding.verb) {
        (false, _) => json!([]),
        (true, "GET") => json!([{"bearer": []}, {"cookie": []}]),
        (true, _) => json!([{"bearer": []}]),
    }
}

/// Content of a body that a `google.api.HttpBody` takes as it is: that of RFC 7009, otherwise any.
pub(super) fn raw_body(binding: &Binding, example: &Value) -> Value {
    if binding.method.full_name() != REVOKE {
        return json!({"*/*": {"schema": {"type": "string", "format": "binary"}}});
    }
    let schema = json!({
        "type": "object",
        "required": ["token"],
        "properties": {
            "token": {"type": "string", "minLength": 1, "description": "The token, as it was issued: a JWT."},
            "token_type_hint": {"type": "string", "description":
                "`access_token`, or nothing. `refresh_token` is rejected: revoke it at the identity provider."},
        },
    });
    json!({
        "application/json": {"schema": schema, "example": example},
        "application/x-www-form-urlencoded": {"schema": schema, "example": example},
    })
}

/// Error of RFC 7009's route.
pub(super) fn error_example() -> Value {
    json!({"error": "invalid_request", "error_description": "the request is invalid: body.token: must be set"})
}

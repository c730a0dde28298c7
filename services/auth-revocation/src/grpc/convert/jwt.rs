//! Claims of a JWT to revoke. Its signature is not verified here.

use data_encoding::BASE64URL_NOPAD;
use keyplane_revocation::Millis;
use serde_json::{Map, Value};

/// Longest token, in bytes.
const LONGEST: usize = keyplane_contracts::rules::revocation::TOKEN;

/// Claims by which a token is revoked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Jwt {
    /// Claim `iss`; empty if it is missing.
    pub(super) issuer: String,
    /// Claim `jti`; empty if it is missing.
    pub(super) jti: String,
    /// Claim that names the tenant, if there is one.
    pub(super) tenant: Option<String>,
    /// Claim `exp`.
    pub(super) expires: Option<Millis>,
}

// === impl Jwt ===

impl Jwt {
    /// Reads a token in its compact form: three parts, of which the second is a JSON object. `None` for any other text.
    pub(super) fn read(token: &str, tenant_claim: &str) -> Option<Jwt> {
        let mut parts = token.split('.');
        let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return None;
        };
        let payload = (token.len() <= LONGEST).then(|| BASE64URL_NOPAD.decode(payload.as_bytes()).ok())??;
        let claims: Map<String, Value> = serde_json::from_slice(&payload).ok()?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        let expires = claims.get("exp").and_then(Value::as_f64).and_then(Millis::from_seconds);
        let (issuer, jti) = (text("iss").unwrap_or_default(), text("jti").unwrap_or_default());
        Some(Jwt { issuer, jti, tenant: text(tenant_claim), expires })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(payload: &str) -> Option<Jwt> {
        Jwt::read(&format!("e30.{}.sig", BASE64URL_NOPAD.encode(payload.as_bytes())), "tenant")
    }

    #[test]
    fn claims_are_read() {
        let jwt = read(r#"{"iss":"i","jti":"j","tenant":"acme","exp":1700000000.123,"sub":"u"}"#);
        let expires = Some(Millis(1_700_000_000_123));
        assert_eq!(jwt, Some(Jwt { issuer: "i".into(), jti: "j".into(), tenant: Some("acme".into()), expires }));
        let bare = read(r#"{"iss":7,"exp":"soon"}"#);
        assert_eq!(bare, Some(Jwt { issuer: String::new(), jti: String::new(), tenant: None, expires: None }));
    }

    #[test]
    fn malformed_text_is_no_token() {
        for token in ["", "a", "a.b", "e30.e30", "e30.e30.sig.x", "e30.!.sig", "e30.W10.sig", "e30.eyJ.sig"] {
            assert_eq!(Jwt::read(token, "tenant"), None, "{token}");
        }
        let long = format!("e30.e30.{}", "x".repeat(LONGEST));
        assert_eq!(Jwt::read(&long, "tenant"), None, "its length is bounded");
    }
}

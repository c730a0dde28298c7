//! Keys that verify tokens: the usable ones of a JSON Web Key Set, and the algorithms of each.

use std::collections::HashMap;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, Header, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

use super::names::is_nameable;

/// Shortest RSA modulus that is accepted, in bytes: 2048 bits.
const RSA_MODULUS: usize = 256;

/// Keys of a set that can verify.
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<Key>);

/// Public key, and the algorithms that it may be used for: those of its kind, or the one that it names. A token never
/// chooses; else a public key could be taken for the secret of an HMAC.
#[derive(Debug)]
struct Key {
    id: Option<String>,
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

/// Result of verifying a token.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Signed by a key of the set: the token's claims.
    Signed(HashMap<String, Value>),
    /// Failure: no JWT, or a signature that does not hold.
    Unsigned,
    /// Signed by a key that the set lacks.
    UnknownKey,
}

/// Fault of a key set. Keys are named by their index in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeySetError {
    /// Text that is no key set.
    #[error("it is no JSON Web Key Set: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Key that nobody could revoke.
    #[error(
        "keys[{0}] has no `kid` of 1 to 256 bytes without control characters, by which it could be revoked: give each key \
         one, or name its issuer in KEYPLANE_REVOCATION_ISSUERS_WITHOUT_KID"
    )]
    WithoutKid(usize),
    /// Pair of keys that could not be revoked one by one.
    #[error("keys[{0}] and keys[{1}] have the same `kid`: give each key one of its own")]
    SharedKid(usize, usize),
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

// === impl Keys ===

impl Keys {
    /// Usable keys of the set in `json`, and the number of unusable ones: other kinds, weak, for encryption. Each has a
    /// `kid` of its own; with `without_kid`, keys may lack it.
    ///
    /// # Errors
    ///
    /// Fault of the document.
    pub(crate) fn parse(json: &[u8], without_kid: bool) -> Result<(Keys, usize), KeySetError> {
        let set: Set = serde_json::from_slice(json)?;
        check_kids(&set.keys, without_kid)?;
        let given = set.keys.len();
        let keys: Vec<_> = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
        let keys: Vec<_> = keys.iter().filter_map(Key::from_jwk).collect();
        let useless = given - keys.len();
        Ok((Keys(keys), useless))
    }

    /// Verifies the signature of `token`; none of its claims. Takes some 0.2 ms of a core.
    pub(crate) fn verify(&self, token: &str) -> Verdict {
        let Ok(header) = decode_header(token) else { return Verdict::Unsigned };
        // RFC 7515: a critical extension that is not understood makes the token invalid.
        if header.crit.is_some() {
            return Verdict::Unsigned;
        }
        let mut known = false;
        for key in self.0.iter().filter(|key| key.is_named_by(&header)) {
            known = true;
            if let Some(claims) = key.verify(token, header.alg) {
                return Verdict::Signed(claims);
            }
        }
        if known || header.kid.is_none() { Verdict::Unsigned } else { Verdict::UnknownKey }
    }
}

/// Checks that each key can be revoked by a `kid` of its own, unusable keys too: the gateway may accept them. A key for
/// encryption signs nothing.
fn check_kids(keys: &[Value], without_kid: bool) -> Result<(), KeySetError> {
    let mut places = HashMap::new();
    let signs = |key: &Value| key.get("use").and_then(Value::as_str) != Some("enc");
    for (place, key) in keys.iter().enumerate().filter(|(_, key)| signs(key)) {
        let kid = key.get("kid");
        match kid.and_then(Value::as_str).filter(|kid| !kid.is_empty() && is_nameable(kid)) {
            Some(kid) => {
                if let Some(other) = places.insert(kid, place) {
                    return Err(KeySetError::SharedKid(other, place));
                }
            }
            None if without_kid && kid.is_none() => {}
            None => return Err(KeySetError::WithoutKid(place)),
        }
    }
    Ok(())
}

// === impl Key ===

impl Key {
    fn from_jwk(jwk: &Jwk) -> Option<Key> {
        let verifies = match (&jwk.common.public_key_use, &jwk.common.key_operations) {
            (Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_)), _) => false,
            (_, Some(operations)) => operations.contains(&KeyOperations::Verify),
            (Some(PublicKeyUse::Signature) | None, None) => true,
        };
        let key = DecodingKey::from_jwk(jwk).ok()?;
        let weak = matches!(key.kind(), DecodingKeyKind::RsaModulusExponent { n, .. } if n.len() < RSA_MODULUS);
        let mut algorithms = algorithms(&jwk.algorithm).to_vec();
        if let Some(named) = jwk.common.key_algorithm {
            algorithms.retain(|algorithm| KeyAlgorithm::from(*algorithm) == named);
        }
        let usable = verifies && !weak && !algorithms.is_empty();
        usable.then(|| Key { id: jwk.common.key_id.clone(), key, algorithms })
    }

    /// Returns whether the header names this key. A key without an id matches every header, as in Envoy.
    fn is_named_by(&self, header: &Header) -> bool {
        match (&self.id, &header.kid) {
            (Some(id), Some(named)) => id == named,
            (None, _) | (_, None) => true,
        }
    }

    fn verify(&self, token: &str, algorithm: Algorithm) -> Option<HashMap<String, Value>> {
        if !self.algorithms.contains(&algorithm) {
            return None;
        }
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        decode(token, &self.key, &validation).ok().map(|token| token.claims)
    }
}

fn algorithms(parameters: &AlgorithmParameters) -> &'static [Algorithm] {
    match parameters {
        AlgorithmParameters::RSA(_) => &[Algorithm::RS256, Algorithm::PS256],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            EllipticCurve::P521 | EllipticCurve::Ed25519 | _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(key) => match key.curve {
            EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
            EllipticCurve::P256 | EllipticCurve::P384 | EllipticCurve::P521 | _ => &[],
        },
        // Symmetric keys above all. The enums are non-exhaustive: what is new in them is not trusted either.
        AlgorithmParameters::OctetKey(_) | AlgorithmParameters::Other(_) | _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, encode};
    use serde_json::json;

    use super::*;

    /// Ed25519 key pair from a seed, in PKCS#8: a fixed header, and the seed.
    fn pair(seed: u8) -> EncodingKey {
        let header = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        EncodingKey::from_ed_der(&[header.as_slice(), &[seed; 32]].concat())
    }

    fn jwk(seed: u8, members: &Value) -> Value {
        let mut jwk = json!(Jwk::from_encoding_key(&pair(seed), Algorithm::EdDSA).unwrap());
        jwk.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        jwk
    }

    fn set(keys: &[Value]) -> (Keys, usize) {
        Keys::parse(json!({ "keys": keys }).to_string().as_bytes(), true).unwrap()
    }

    fn token(seed: u8, kid: Option<&str>) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = kid.map(str::to_owned);
        encode(&header, &json!({"jti": "j"}), &pair(seed)).unwrap()
    }

    #[test]
    fn a_token_is_verified_by_the_key_that_it_names() {
        let (keys, useless) = set(&[jwk(1, &json!({"kid": "one"})), jwk(2, &json!({"kid": "two"}))]);
        assert_eq!(useless, 0);
        let signed = Verdict::Signed([("jti".to_owned(), json!("j"))].into());
        assert_eq!(keys.verify(&token(1, Some("one"))), signed);
        assert_eq!(keys.verify(&token(2, None)), signed, "one that names none is held against all");
        assert_eq!(keys.verify(&token(1, Some("two"))), Verdict::Unsigned);
        assert_eq!(keys.verify(&token(3, None)), Verdict::Unsigned);
        assert_eq!(keys.verify(&token(1, Some("three"))), Verdict::UnknownKey);
        assert_eq!(keys.verify("no token"), Verdict::Unsigned);
    }

    #[test]
    fn a_token_never_chooses_how_it_is_verified() {
        let public = jwk(1, &json!({"kid": "one"}));
        let secret = EncodingKey::from_secret(public["x"].as_str().unwrap().as_bytes());
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("one".to_owned());
        let forged = encode(&header, &json!({"jti": "j"}), &secret).unwrap();
        let symmetric = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "two"});
        let (keys, useless) = set(&[public, symmetric]);
        assert_eq!(useless, 1, "a symmetric key is never taken");
        assert_eq!(keys.verify(&forged), Verdict::Unsigned);
        let secret = EncodingKey::from_secret(b"secret");
        header.kid = Some("two".to_owned());
        assert_eq!(keys.verify(&encode(&header, &json!({"jti": "j"}), &secret).unwrap()), Verdict::UnknownKey);
        // {"alg":"none"}.{"jti":"j"}.
        assert_eq!(keys.verify("eyJhbGciOiJub25lIn0.eyJqdGkiOiJqIn0."), Verdict::Unsigned);
    }

    #[test]
    fn an_unknown_critical_extension_is_rejected() {
        let mut header = Header::new(Algorithm::EdDSA);
        header.crit = Some(vec!["b64".to_owned()]);
        let token = encode(&header, &json!({"jti": "j"}), &pair(1)).unwrap();
        assert_eq!(set(&[jwk(1, &json!({}))]).0.verify(&token), Verdict::Unsigned);
    }

    #[test]
    fn keys_for_other_uses_are_unusable() {
        let weak = json!({"kty": "RSA", "n": "AQAB".repeat(40), "e": "AQAB"});
        let strange = json!({"kty": "LMS"});
        let (keys, useless) = set(&[
            jwk(1, &json!({"use": "enc"})),
            jwk(1, &json!({"key_ops": ["sign"]})),
            jwk(1, &json!({"alg": "ES256"})),
            weak,
            strange,
            json!(7),
        ]);
        assert_eq!((keys.0.len(), useless), (0, 6));
        assert_eq!(set(&[jwk(1, &json!({"use": "sig", "key_ops": ["verify"]}))]).1, 0);
        assert!(matches!(Keys::parse(b"{}", true), Err(KeySetError::Malformed(_))));
    }

    #[test]
    fn a_key_that_could_not_be_revoked_alone_is_rejected() {
        let kid = |kid: &str| jwk(1, &json!({ "kid": kid }));
        let bare = jwk(2, &json!({}));
        let rejected = |keys: &[&Value], without_kid| {
            let read = Keys::parse(json!({ "keys": keys }).to_string().as_bytes(), without_kid);
            read.map(drop).map_err(|error| error.to_string().split(':').next().unwrap().to_owned())
        };
        let lacks = |place| {
            format!(
                "keys[{place}] has no `kid` of 1 to 256 bytes without control characters, by which it could be revoked"
            )
        };
        assert_eq!(rejected(&[&kid("a"), &kid("b")], false), Ok(()));
        assert_eq!(rejected(&[&kid("a"), &bare], false), Err(lacks(1)));
        assert_eq!(rejected(&[&kid("a"), &bare, &bare], true), Ok(()), "the operator allows it");
        for named in [json!({"kid": ""}), json!({"kid": 7}), json!({"kid": "a\nb"}), json!({"kid": "x".repeat(257)})] {
            assert_eq!(rejected(&[&jwk(1, &named)], true), Err(lacks(0)), "{named}");
        }
        let shared = Err("keys[0] and keys[2] have the same `kid`".to_owned());
        for without_kid in [false, true] {
            assert_eq!(rejected(&[&kid("a"), &kid("b"), &kid("a")], without_kid), shared);
        }
        // The gateway takes keys that are of no use here.
        assert_eq!(rejected(&[&json!({"kty": "oct", "k": "c2VjcmV0"})], false), Err(lacks(0)));
        assert_eq!(rejected(&[&kid("a"), &jwk(2, &json!({"use": "enc"}))], false), Ok(()), "it signs nothing");
    }
}

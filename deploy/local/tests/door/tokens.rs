//! Signed tokens that break a rule, which auth-revocation reports.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use keyplane_local::Issuer;
use keyplane_testkit::eventually;
use p256::SecretKey;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Endpoint;

use crate::support::{grpc, http, reason};
use crate::{PATIENCE, mesh, url};

/// Signs a token of the mesh's issuer with extra header fields and claims; `null` removes a default one.
fn signed(header: &Value, claims: &Value) -> String {
    let pem = std::fs::read_to_string(mesh().issuer().keys().with_file_name("issuer-key.pem")).unwrap();
    let der = SecretKey::from_pkcs8_pem(&pem).unwrap().to_pkcs8_der().unwrap();
    let key = EncodingKey::from_ec_der(der.as_bytes());
    let mut whole_header = json!({"typ": "JWT", "alg": "ES256", "kid": mesh().issuer().kid()});
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut whole_claims = json!({
        "iss": Issuer::NAME, "aud": Issuer::AUDIENCE, "sub": "ada", "tenant": "demo", "iat": now, "exp": now + 600,
    });
    for (whole, own) in [(&mut whole_header, header), (&mut whole_claims, claims)] {
        let whole = whole.as_object_mut().unwrap();
        whole.extend(own.as_object().unwrap().clone());
        whole.retain(|_, value| !value.is_null());
    }
    let part = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let text = format!("{}.{}", part(&whole_header), part(&whole_claims));
    let signature = jsonwebtoken::crypto::sign(text.as_bytes(), &key, Algorithm::ES256).unwrap();
    format!("{text}.{signature}")
}

#[tokio::test]
async fn invalid_token_is_rejected_with_its_rule() {
    let none = json!({});
    let critical = "the token's header crit lists extensions, and none is understood here";
    let cases = [
        // RFC 7515, section 4.1.11: a token with an unknown critical header is invalid.
        (json!({"crit": ["exp"]}), none.clone(), critical),
        (none.clone(), json!({"tenant": null}), "the token lacks the claim tenant"),
        (none.clone(), json!({"tenant": "ACME"}), "the token's claim tenant must be the id of a tenant"),
        (none.clone(), json!({"sub": "a b"}), "the token's claim sub must be the id of a user"),
    ];
    let read = async |token: &str| {
        let response = http(token).get(format!("{}/v1/policies", url())).send().await.unwrap();
        let challenge = response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), challenge, response.json::<Value>().await.unwrap())
    };
    let good = signed(&none, &none);
    eventually("the gateway answers", PATIENCE, async || {
        let (status, _, answer) = read(&good).await;
        if status == 200 { Ok(()) } else { Err(answer) }
    })
    .await;
    for (header, claims, words) in cases {
        let token = signed(&header, &claims);
        let (status, challenge, error) = read(&token).await;
        assert_eq!((status, reason(&error)), (401, (16, "UNAUTHENTICATED")), "{error}");
        assert_eq!(error["message"], words);
        assert_eq!(challenge.unwrap(), format!("Bearer error=\"invalid_token\", error_description=\"{words}\""));
        let path = "/keyplane.session.v1.SessionService/ListSessions";
        let status = grpc(&Endpoint::from_static(url()).connect_lazy(), path, Some(&token)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, words), "{status:?}");
    }
}

//! Tokens that do not name the key that signed them.

mod support;

use keyplane_contracts::revocation::v1 as pb;
use support::{ISSUER, PARENT, claims, shared};

#[tokio::test(flavor = "multi_thread")]
async fn a_check_without_kid_has_a_verdict_of_its_own_while_a_key_of_the_issuer_is_revoked() {
    let service = shared(&[]).await;
    let mut client = service.client.clone();
    let bare = pb::Claims { kid: String::new(), ..claims("j-1") };
    assert_eq!(service.check(bare.clone()).await.verdict(), pb::Verdict::Active);
    let key = pb::RevokeKeyRequest {
        parent: PARENT.into(),
        issuer: ISSUER.into(),
        kid: "stolen".into(),
        ..pb::RevokeKeyRequest::default()
    };
    client.revoke_key(key).await.expect("a key");
    let found = service.check(bare.clone()).await;
    assert_eq!((found.verdict(), found.rule()), (pb::Verdict::KeyUnknown, pb::Rule::KeyUnknown), "{found:?}");
    assert_eq!(found.revocation, "");
    let all = [bare.clone(), claims("j-1"), pb::Claims { issuer: "https://other.example".into(), ..bare }];
    let batch = pb::BatchCheckRequest { parent: PARENT.into(), claims: all.into(), ..pb::BatchCheckRequest::default() };
    let found = client.batch_check(batch).await.expect("it can be told").into_inner().results;
    let found: Vec<_> = found.iter().map(|result| (result.verdict(), result.rule())).collect();
    let active = (pb::Verdict::Active, pb::Rule::Unspecified);
    assert_eq!(found, [(pb::Verdict::KeyUnknown, pb::Rule::KeyUnknown), active, active]);
}

//! Settings: the documented ones are those that the program reads.

mod support;

use keyplane_auth_revocation::{Config, SERVICE};
use keyplane_contracts::revocation::v1 as pb;
use keyplane_server::config::{self, Env};
use support::{PARENT, claims, shared};

#[test]
fn documented_settings_match_the_program() {
    let (server, _) = config::read(Env::default(), &SERVICE, Config::read).expect("the defaults are right");
    keyplane_testkit::assert_settings_documented(
        "auth-revocation",
        "KEYPLANE_REVOCATION_",
        &server.settings.markdown(),
    );
}

#[test]
fn invalid_settings_are_reported_together() {
    let given = [
        ("KEYPLANE_REVOCATION_PARTITIONS", "65"),
        ("KEYPLANE_REVOCATION_MAX_STALENESS", "5ms"),
        ("KEYPLANE_REVOCATION_FEED_READ", "60ms"),
        ("KEYPLANE_REVOCATION_OUTAGE_POLICY", "last-known 30"),
        ("KEYPLANE_REVOCATION_AFTER_LOSS", "pass"),
        ("KEYPLANE_REVOCATION_MAX_TOKEN_LIFETIME", "32d"),
        ("KEYPLANE_REVOCATION_LEEWAY", "1h"),
        ("KEYPLANE_REVOCATION_FALSE_POSITIVES", "0.6"),
        ("KEYPLANE_REVOCATION_DURABILITY", "maybe"),
        ("KEYPLANE_REVOCATION_REPLICAS", "0"),
        ("KEYPLANE_REVOCATION_AUDIT_AGE", "1000d"),
        ("KEYPLANE_REVOCATION_MAX_WATCHES", "0"),
    ];
    let read = config::read(Env::from_map(given), &SERVICE, Config::read);
    let errors = read.map(drop).expect_err("all of them are wrong").to_string();
    for (name, _) in given {
        assert!(errors.contains(name), "{name} is not in:\n{errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutoff_names_the_first_good_whole_second() {
    let service = shared(&[("KEYPLANE_REVOCATION_ISSUER_SKEW", "2s")]).await;
    let mut client = service.client.clone();
    let request = pb::RevokeSubjectRequest { parent: PARENT.into(), subject: "u-42".into(), ..Default::default() };
    let made = client.revoke_subject(request).await.expect("it is revoked").into_inner();
    let (cutoff, safe) = (made.cutoff_time.expect("a cutoff"), made.reissue_time.expect("when to log in again"));
    assert_eq!((safe.seconds, safe.nanos), (cutoff.seconds + 3, 0), "the first whole second after cutoff and skew");
    let read = client.get_revocation(pb::GetRevocationRequest { name: made.name }).await.expect("it is there");
    assert_eq!(read.into_inner().reissue_time, Some(safe));
    let issued =
        |seconds| pb::Claims { issue_time: Some(prost_types::Timestamp { seconds, nanos: 0 }), ..claims("j-1") };
    assert_eq!(service.rule(issued(safe.seconds - 1)).await, pb::Rule::Subject);
    assert_eq!(service.rule(issued(safe.seconds)).await, pb::Rule::Unspecified);
    assert_eq!(service.revoke_token("j-2").await.reissue_time, None, "a token has no cutoff");
}

//! Making, changing, deleting through the API: every rule, and every error.

use std::time::Duration;

use keyplane_rate_limiting::app::policies::etag;
use keyplane_rate_limiting::domain::{Entry, Limit, LimitOf, LimitPart, Origin, Patch, PolicyPath, PolicyViolation};
use keyplane_rate_limiting::error::Error;

use crate::case::{Case, amount, id, limit, new, seen, with_limit};

#[tokio::test]
async fn policy_is_created_read_changed_and_deleted() {
    let case = Case::new();
    let policies = case.start().await;
    let before = policies.catalog().version();
    let made = policies.create(new("p", 10), false).await.expect("it is made");
    assert_eq!((made.origin, made.version, etag(&made).as_str()), (Origin::Api, 1, "1"));
    let age = made.updated.expect("a time").elapsed().unwrap_or_default();
    assert!(age < Duration::from_mins(1), "by the store's clock");
    assert_eq!(policies.catalog().get("p").expect("an own write is read").policy, made);
    assert!(policies.catalog().version() > before);

    let twice = policies.create(new("p", 20), false).await.expect_err("it is there");
    assert!(matches!(&twice, Error::PolicyExists { id } if id == "p"), "{twice}");

    let changed = policies.update(&id("p"), &amount(20), "1", false).await.expect("it is changed");
    assert_eq!((changed.version, changed.limit.amount, &changed.entries), (2, 20, &made.entries));
    let stale = policies.update(&id("p"), &amount(30), "1", false).await.expect_err("a stale etag");
    assert!(matches!(&stale, Error::StaleWrite { current } if current == "2"), "{stale}");
    let changed = policies.update(&id("p"), &amount(30), "", false).await.expect("without an etag");
    assert_eq!((changed.version, seen(&policies, "p")), (3, Some((30, Origin::Api))));

    for stale in ["2", "x", "03", "-1"] {
        let rejected = policies.delete(&id("p"), stale, true).await.expect_err("a stale etag");
        assert!(matches!(&rejected, Error::StaleWrite { current } if current == "3"), "{stale}: {rejected}");
    }
    policies.delete(&id("p"), "3", false).await.expect("it is deleted");
    assert_eq!(seen(&policies, "p"), None);
    policies.delete(&id("p"), "", true).await.expect("it may be missing");
    for missing in [
        policies.delete(&id("p"), "", false).await.expect_err("it is missing"),
        policies.update(&id("p"), &amount(1), "", false).await.expect_err("it is missing"),
    ] {
        assert!(matches!(&missing, Error::PolicyNotFound { id } if id == "p"), "{missing}");
    }
    let again = policies.create(new("p", 10), false).await.expect("it is made again");
    assert_eq!(again.version, 5, "no etag comes twice");
}

#[tokio::test]
async fn validate_only_changes_nothing() {
    let case = Case::new();
    let policies = case.start().await;
    let would = policies.create(new("p", 10), true).await.expect("it would be made");
    assert_eq!((would.version, seen(&policies, "p")), (1, None));
    assert_eq!(case.fields(), 0, "nothing is written");
    policies.create(new("p", 10), false).await.expect("it is made");
    let exists = policies.create(new("p", 10), true).await.expect_err("it would not be made again");
    assert!(matches!(exists, Error::PolicyExists { .. }), "{exists}");
    let would = policies.update(&id("p"), &amount(20), "", true).await.expect("it would be changed");
    assert_eq!((would.version, would.limit.amount, seen(&policies, "p")), (2, 20, Some((10, Origin::Api))));
    let stale = policies.update(&id("p"), &amount(20), "9", true).await.expect_err("it would not");
    assert!(matches!(stale, Error::StaleWrite { .. }), "{stale}");
}

#[tokio::test]
async fn changed_policy_is_checked_as_a_whole() {
    let policies = Case::new().start().await;
    let invalid = policies.create(with_limit("p", limit(0)), false).await.expect_err("no amount");
    let path = PolicyPath::Limit(LimitOf::Default, LimitPart::Amount);
    let Error::InvalidPolicy(broken) = &invalid else { panic!("{invalid}") };
    assert!(
        broken.len() == 1 && broken[0].path == path && broken[0].rule.starts_with("must be positive"),
        "{broken:?}"
    );
    policies.create(new("p", 10), false).await.expect("it is made");
    let patch = Patch {
        entries: Some(vec![Entry { key: "user".to_owned(), value: None }]),
        lease: Some(11),
        ..Patch::default()
    };
    let invalid = policies.update(&id("p"), &patch, "", false).await.expect_err("it breaks two rules");
    let broken = |path, rule: &str| PolicyViolation { path, rule: rule.to_owned() };
    let expected = [
        broken(PolicyPath::Entries, "can't be changed: make another policy"),
        broken(PolicyPath::Lease, "must be at most the smallest burst; 11 was sent"),
    ];
    assert!(matches!(&invalid, Error::InvalidPolicy(broken) if broken[..] == expected), "{invalid:?}");
    let same = Patch { entries: Some(new("p", 1).entries), lease: Some(10), ..Patch::default() };
    policies.update(&id("p"), &same, "", false).await.expect("the same entries are no change");
}

#[tokio::test]
async fn number_of_policies_is_bounded() {
    let case = Case::new();
    let policies = case.start().await;
    policies.create(new("p0", 1), false).await.expect("the first");
    case.hset("n", "999");
    policies.create(new("p1", 1), false).await.expect("the last");
    for validate_only in [false, true] {
        let full = policies.create(new("p2", 1), validate_only).await.expect_err("one too many");
        assert!(matches!(full, Error::TooManyPolicies { limit: 1000 }), "{full}");
    }
    policies.delete(&id("p0"), "", false).await.expect("room is made");
    policies.create(new("p2", 1), false).await.expect("there is room");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_all_count() {
    let case = Case::new();
    let (first, other) = (case.start().await, case.start().await);
    first.create(new("p", 1), false).await.expect("it is made");
    let lease = Patch { lease: Some(1), ..Patch::default() };
    let charge = Patch { domain: Some("edge".to_owned()), ..Patch::default() };
    let tries = (0..3).map(async |_| {
        let (p, q) = (id("p"), id("p"));
        let (a, b) = tokio::join!(first.update(&p, &lease, "", false), other.update(&q, &charge, "", false));
        a.and(b).map(|_| ())
    });
    for outcome in futures::future::join_all(tries).await {
        outcome.expect("a change without an etag meets no mismatch");
    }
    let policy = first.update(&id("p"), &Patch::default(), "", true).await.expect("it is read");
    assert_eq!(
        (policy.lease, policy.domain.as_str(), policy.version),
        (1, "edge", 8),
        "seven changes, and the dry one"
    );
}

#[tokio::test]
async fn limits_are_stored_as_given() {
    let case = Case::new();
    let policies = case.start().await;
    let mut policy =
        with_limit("p", Limit { burst: Limit::MOST, ..Limit::per(Limit::MOST, Duration::from_micros(1_000_001)) });
    policy.tenants = [("evil".to_owned(), Limit::BLOCK), ("acme".to_owned(), Limit::UNLIMITED)].into();
    policy.entries.push(Entry { key: "route".to_owned(), value: Some("/v1/\"chat\" %s \\1".to_owned()) });
    let made = policies.create(policy, false).await.expect("it is made");
    let late = case.start().await;
    assert_eq!(late.catalog().get("p").expect("it is there").policy, made);
}

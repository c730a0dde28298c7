//! Plans of tenants, and who changed them.

use std::time::Duration;

use keyplane_audit::Reason;
use keyplane_rate_limiting::app::policies::{Action, Cause, Settings};
use keyplane_rate_limiting::domain::Origin;

use crate::case::{Case, FILE, SETTINGS, connect, start, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn tenants_have_plans() {
    let case = Case::new();
    case.write_file(FILE);
    let policies = case.start().await;
    let set = async |name: &str, plan: &str| {
        let set = policies.set_plan(&tenant(name), plan, &Cause::default()).await.expect("it is set");
        assert_eq!(set, policies.plan(name), "what it returns is in force");
        set
    };
    let owned = |plan: &str, origin| Some((plan.to_owned(), origin));
    assert_eq!(policies.plan("acme"), owned("silver", Origin::File));
    assert_eq!(set("acme", "gold").await, owned("gold", Origin::Api));
    assert_eq!(set("acme", "").await, owned("", Origin::Api), "none, in spite of the file");
    assert_eq!(policies.plan("globex"), owned("silver", Origin::File));
    assert_eq!(set("initech", "gold").await, owned("gold", Origin::Api));
    assert_eq!(set("initech", "").await, None);
    assert_eq!(set("initech", "").await, None, "a retry changes nothing");
    let invalid = policies.set_plan(&tenant("acme"), "Gold", &Cause::default()).await.expect_err("no plan");
    assert!(invalid.to_string().contains("tenant_plan.plan: a plan must match"), "{invalid}");
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_names_initiator_action_and_reason() {
    let case = Case::new();
    let policies = case.start().await;
    let (initiator, description) = ("ops@x".to_owned(), "ticket 7; \u{e4}".to_owned());
    let cause = Cause { reason: Reason::Administrative, initiator, description };
    policies.set_plan(&tenant("acme"), "gold", &cause).await.expect("it is set");
    policies.set_plan(&tenant("acme"), "", &Cause::default()).await.expect("it is set");
    policies.set_plan(&tenant("globex"), "gold", &cause).await.expect("another tenant's");
    let targets = ["portal:ratelimit:{acme:u-1}:b", "x"];
    policies.audit().record(&tenant("acme"), Action::Reset, &targets, &cause).await.expect("it is noted");
    let page = policies.audit().list(&tenant("acme"), 10, None).await.expect("a page");
    let entries: Vec<_> =
        page.entries.iter().map(|entry| (entry.action, entry.targets.clone(), &entry.cause)).collect();
    let none = Cause::default();
    let expected = [
        (Action::Reset, targets.map(str::to_owned).to_vec(), &cause),
        (Action::Plan, Vec::new(), &none),
        (Action::Plan, vec!["gold".to_owned()], &cause),
    ];
    assert_eq!(entries, expected);
    assert!(page.next.is_none());
    let ages = page.entries.iter().map(|entry| entry.time.elapsed().unwrap_or_default());
    assert!(ages.max().is_some_and(|age| age < Duration::from_mins(1)));
    let ttl = case.ttl(":{acme:t}:audit");
    assert!((1..=90 * 24 * 3_600_000).contains(&ttl), "{ttl} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_other_releases_are_read() {
    let case = Case::new();
    let policies = case.start().await;
    let key = format!("{}:ratelimit:{{acme:t}}:audit", case.app);
    let entry = ["XADD", &key, "*", "a", "reset", "i", "ops@x", "d", "ticket 7", "k", "b", "later", "x"];
    keyplane_testkit::valkey().command(&entry).expect("an entry without a reason");
    let page = policies.audit().list(&tenant("acme"), 10, None).await.expect("a page");
    let cause = Cause { initiator: "ops@x".into(), description: "ticket 7".into(), ..Cause::default() };
    let [read] = page.entries.as_slice() else { panic!("one: {page:?}") };
    assert_eq!((read.action, &read.targets[..], &read.cause), (Action::Reset, &["b".to_owned()][..], &cause));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_an_audit_join_into_one_list() {
    let case = Case::new();
    let policies = case.start().await;
    for n in 0..25 {
        let target = format!("t{n}");
        let (acme, cause) = (tenant("acme"), Cause::default());
        policies.audit().record(&acme, Action::Reset, &[&target], &cause).await.expect("it is noted");
    }
    for size in [1, 7, 24, 25, 26] {
        let (mut targets, mut after) = (Vec::new(), None);
        loop {
            let page = policies.audit().list(&tenant("acme"), size, after).await.expect("a page");
            targets.extend(page.entries.into_iter().flat_map(|entry| entry.targets));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let expected: Vec<String> = (0..25).rev().map(|n| format!("t{n}")).collect();
        assert_eq!(targets, expected, "in pages of {size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_plan_changes_without_an_audit() {
    let case = Case::new();
    let policies = case.start().await;
    // A stream that can't be written.
    let key = format!("{}:ratelimit:{{acme:t}}:audit", case.app);
    keyplane_testkit::valkey().command(&["SET", &key, "x"]).expect("foreign data");
    policies.set_plan(&tenant("acme"), "gold", &Cause::default()).await.expect_err("it can't be noted");
    assert_eq!((policies.plan("acme"), case.fields()), (None, 0), "and is not done");
}

#[tokio::test]
async fn invalid_audit_age_stops_the_start() {
    let case = Case::new();
    let valkey = connect(&case.app, &keyplane_testkit::valkey().url()).await;
    let settings = Settings { audit_age: Duration::from_hours(24 * 1000), ..SETTINGS };
    let error = start(valkey, settings).await.err().expect("it rejects").to_string();
    assert!(error.contains("a key of the feature ratelimit may live for at most"), "{error}");
}

use std::collections::BTreeMap;
use std::time::Duration;

use keyplane_contracts::audit::v1 as audit;
use keyplane_contracts::names::TenantId;
use keyplane_contracts::ratelimit::v1 as pb;

use super::policy_reply::*;
use super::policy_request::*;
use crate::app::policies::etag;
use crate::domain::{
    Catalog, Entry, Limit, LimitOf, LimitPart, Limits, Mode, Origin, Outage, Patch, Policy, PolicyId, PolicyPath,
    PolicyViolation,
};
use crate::error::Error;

fn sent() -> pb::Policy {
    let second = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let limit = pb::Limit { amount: 10, period: second, ..pb::Limit::default() };
    pb::Policy {
        entries: vec![pb::PolicyEntry { key: "tenant".to_owned(), value: String::new() }],
        limit: Some(limit),
        ..pb::Policy::default()
    }
}

fn creation(policy: pb::Policy) -> pb::CreatePolicyRequest {
    pb::CreatePolicyRequest { policy_id: "p".to_owned(), policy: Some(policy), validate_only: false }
}

fn change(policy: pb::Policy, mask: &[&str]) -> pb::UpdatePolicyRequest {
    let paths = mask.iter().map(|path| (*path).to_owned()).collect();
    let policy = pb::Policy { name: "policies/p".to_owned(), ..policy };
    pb::UpdatePolicyRequest {
        policy: Some(policy),
        update_mask: Some(prost_types::FieldMask { paths }),
        validate_only: false,
    }
}

fn update(request: pb::UpdatePolicyRequest) -> Result<(PolicyId, Patch, String), Error> {
    super::policy_request::update(request, Ok(None))
}

fn violations<T: std::fmt::Debug>(result: Result<T, Error>) -> Vec<String> {
    let error = result.expect_err("it is rejected");
    let Error::Invalid(violations) = error else { panic!("another error: {error}") };
    violations.iter().map(ToString::to_string).collect()
}

#[test]
fn policy_survives_a_round_trip() {
    let mut made = create(creation(sent())).unwrap();
    assert_eq!((made.domain.as_str(), made.origin, made.outage), ("", Origin::Api, None));
    made.entries.push(Entry { key: "route".to_owned(), value: Some("/v1/chat".to_owned()) });
    made.plans.insert("gold".to_owned(), Limit { mode: Mode::Shadow, burst: 7, ..made.limit });
    made.tenants = [("acme".to_owned(), Limit::UNLIMITED), ("evil".to_owned(), Limit::BLOCK)].into();
    made.outage = Some(Outage::Local);
    made.lease = 3;
    let out = policy(&made);
    assert_eq!((out.name.as_str(), out.origin()), ("policies/p", pb::policy::Origin::Api));
    assert_eq!(create(creation(out)).unwrap(), made);
}

#[test]
fn every_violation_of_a_new_policy_is_reported_at_once() {
    let mut bad = sent();
    bad.entries.push(pb::PolicyEntry { key: "tenant".to_owned(), value: "a\nb".to_owned() });
    bad.outage = Some(9);
    bad.lease = Some(-1);
    bad.limit = Some(pb::Limit {
        mode: 9,
        amount: -5,
        period: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
        burst: -2,
    });
    bad.plan_limits.insert("Gold".to_owned(), pb::Limit { amount: -1, ..pb::Limit::default() });
    bad.tenant_limits.insert("acme".to_owned(), pb::Limit { amount: 1, ..pb::Limit::default() });
    let request = pb::CreatePolicyRequest { policy_id: "x".repeat(65), ..creation(bad) };
    assert_eq!(
        violations(create(request)),
        [
            "policy_id: the policy id must match [A-Za-z0-9._~@|:+-]{1,64}; 65 bytes were sent",
            "policy.limit.mode: must be one of Mode; 9 is none",
            "policy.limit.amount: must not be negative; -5 was sent",
            "policy.limit.burst: must not be negative; -2 was sent",
            "policy.limit.period: must not be negative",
            "policy.plan_limits[?].amount: must not be negative; -1 was sent",
            "policy.outage: must be one of Outage; 9 is none",
            "policy.lease: must not be negative; -1 was sent",
            "policy.entries[1].key: must not be given twice",
            "policy.entries[1].value: must be 1 to 256 bytes without control characters; 3 were sent",
            "policy.plan_limits: a plan must match [a-z0-9][a-z0-9_.-]{0,63}; 4 bytes were sent",
            "policy.plan_limits[?].period: must be 1 second to 31 days; 0s was sent",
            "policy.tenant_limits[acme].period: must be 1 second to 31 days; 0s was sent",
        ]
    );
    let nothing = pb::CreatePolicyRequest::default();
    assert_eq!(
        violations(create(nothing)),
        ["policy_id: the policy id must match [A-Za-z0-9._~@|:+-]{1,64}, and is empty", "policy: must be set"]
    );
    let unlimited = pb::Policy { limit: None, ..sent() };
    assert_eq!(violations(create(creation(unlimited))), ["policy.limit: must be set"]);
}

#[test]
fn mask_names_the_changed_fields() {
    let (id, patch, etag) =
        update(change(pb::Policy { etag: "7".to_owned(), ..sent() }, &["lease", "outage"])).unwrap();
    assert_eq!((id.as_str(), etag.as_str()), ("p", "7"));
    assert_eq!(patch, Patch { lease: Some(0), outage: Some(None), ..Patch::default() });
    let domain = update(change(sent(), &["domain"])).unwrap().1.domain;
    assert_eq!(domain.as_deref(), Some(""), "an empty one takes it away");
    let maps = update(change(sent(), &["plan_limits", "tenant_limits"])).unwrap().1;
    let none = || Limits::Replace(BTreeMap::new());
    assert_eq!(maps, Patch { plans: none(), tenants: none(), ..Patch::default() }, "as they are sent");
}

#[test]
fn without_a_mask_present_fields_change() {
    assert_eq!(update(change(pb::Policy::default(), &[])).unwrap().1, Patch::default(), "nothing is");
    let (_, patch, _) = update(change(sent(), &[])).unwrap();
    let entries = Some(vec![Entry { key: "tenant".to_owned(), value: None }]);
    let limit = Limit::per(10, Duration::from_secs(1));
    assert_eq!(patch, Patch { entries, limit: Some(limit), ..Patch::default() });
    let zeros = pb::Policy {
        domain: Some(String::new()),
        outage: Some(0),
        post_charge: Some(false),
        lease: Some(0),
        tenant_limits: [("acme".to_owned(), sent().limit.unwrap())].into(),
        ..pb::Policy::default()
    };
    let patch = Patch {
        domain: Some(String::new()),
        outage: Some(None),
        post_charge: Some(false),
        lease: Some(0),
        tenants: Limits::Merge([("acme".to_owned(), limit)].into()),
        ..Patch::default()
    };
    assert_eq!(update(change(zeros, &[])).unwrap().1, patch, "a zero that is sent is a value");
}

#[test]
fn header_and_field_agree_on_an_etag() {
    let tagged = |field: &str, tag: Option<&str>| {
        let policy = pb::Policy { etag: field.to_owned(), ..sent() };
        super::policy_request::update(change(policy, &[]), Ok(tag.map(str::to_owned))).map(|(_, _, etag)| etag)
    };
    for (field, tag, etag) in [("", None, ""), ("7", None, "7"), ("", Some("7"), "7"), ("7", Some("7"), "7")] {
        assert_eq!(tagged(field, tag).unwrap(), etag);
    }
    assert_eq!(violations(tagged("7", Some("8"))), ["policy.etag: must be empty or equal to the header if-match"]);
    let request = pb::DeletePolicyRequest { name: "policies/p".to_owned(), ..pb::DeletePolicyRequest::default() };
    assert_eq!(delete(&request, Ok(Some("7".to_owned()))).unwrap().1, "7");
    let plan = |update_mask, plan: Option<&str>| {
        let tenant_plan = pb::TenantPlan {
            name: "tenants/acme/plan".into(),
            plan: plan.map(str::to_owned),
            ..pb::TenantPlan::default()
        };
        let request = pb::UpdateTenantPlanRequest { tenant_plan: Some(tenant_plan), update_mask, ..Default::default() };
        set_plan(request).map(|(_, plan, _)| plan)
    };
    let mask = |path: &str| Some(prost_types::FieldMask { paths: vec![path.to_owned()] });
    assert_eq!(plan(None, None).unwrap(), None, "nothing is present");
    assert_eq!(plan(None, Some("")).unwrap().as_deref(), Some(""));
    assert_eq!(plan(mask("plan"), None).unwrap().as_deref(), Some(""));
    assert_eq!(
        violations(plan(mask("origin"), None)),
        ["update_mask: its path number 1 (6 bytes) is unknown; it may name `plan`"]
    );
}

#[test]
fn every_violation_of_a_change_is_reported_at_once() {
    let mut bad = pb::Policy { limit: None, lease: Some(5), post_charge: Some(true), ..sent() };
    bad.plan_limits.insert("gold".to_owned(), pb::Limit { amount: 0, ..sent().limit.unwrap() });
    let mask = ["entries", "limit", "plan_limits", "lease", "post_charge", "limit.amount"];
    let mut request = change(bad, &mask);
    request.policy.as_mut().unwrap().name = "policies/a b".to_owned();
    assert_eq!(
        violations(update(request)),
        [
            "policy.name: the policy id must match [A-Za-z0-9._~@|:+-]{1,64}; 3 bytes were sent",
            "policy.entries: can't be changed: make another policy",
            "policy.limit: must be set",
            "update_mask: its path number 6 (12 bytes) is unknown; it may name `domain`, `limit`, `plan_limits`, \
             `tenant_limits`, `outage`, `post_charge`, `lease`",
            "policy.plan_limits[gold].amount: must be positive; to admit nothing, set the mode MODE_BLOCK (in a file: block)",
            "policy.lease: must be at most the smallest burst; 5 was sent",
            "policy.lease: can't be combined with `post_charge`",
        ]
    );
    assert_eq!(violations(update(pb::UpdatePolicyRequest::default())), ["policy: must be set"]);
}

#[test]
fn names_have_their_forms() {
    let got = |name: &str| get(&pb::GetPolicyRequest { name: name.to_owned() });
    assert_eq!(got("policies/user:api@x").unwrap().as_str(), "user:api@x");
    assert_eq!(violations(got("")), ["name: must have the form policies/{policy}, and is empty"]);
    assert_eq!(violations(got("policies/a/b")), ["name: must have the form policies/{policy}; 12 bytes were sent"]);
    let tenant = |name: &str| plan(&pb::GetTenantPlanRequest { name: name.to_owned() });
    assert_eq!(tenant("tenants/acme/plan").unwrap().as_str(), "acme");
    assert_eq!(
        violations(tenant("tenants/acme")),
        ["name: must have the form tenants/{tenant}/plan; 12 bytes were sent"]
    );
    assert_eq!(tenant("tenants//plan").is_err(), tenant("tenants/a/b/plan").is_err());
    let plan = pb::TenantPlan { plan: Some("Gold".to_owned()), ..pb::TenantPlan::default() };
    let request = pb::UpdateTenantPlanRequest {
        tenant_plan: Some(plan),
        cause: Some(audit::Cause { initiator: "a\tb".to_owned(), ..audit::Cause::default() }),
        ..pb::UpdateTenantPlanRequest::default()
    };
    assert_eq!(
        violations(set_plan(request)),
        [
            "tenant_plan.name: must have the form tenants/{tenant}/plan, and is empty",
            "tenant_plan.plan: a plan must match [a-z0-9][a-z0-9_.-]{0,63}; 4 bytes were sent",
            "cause.initiator: must have at most 128 bytes and no control characters; 3 bytes were sent",
        ]
    );
}

#[test]
fn pages_join_into_one_list_by_name() {
    let made = create(creation(sent())).unwrap();
    let ids: Vec<String> = (0..25).map(|n| format!("p-{n:02}")).collect();
    let named = |id: &String| Policy { id: PolicyId::parse(id, "").unwrap(), ..made.clone() };
    let catalog = Catalog::new([Vec::new(), ids.iter().rev().map(named).collect()], Default::default(), 1, None);
    let catalog = catalog.unwrap();
    for size in [1, 7, 24, 25, 26] {
        let (mut names, mut token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListPoliciesRequest { page_size: size, page_token: token };
            let (size, after) = list(&request).unwrap();
            let page = page(&catalog.after(after.as_ref(), size + 1), size);
            assert!(page.policies.len() <= size);
            names.extend(page.policies.into_iter().map(|policy| policy.name));
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(names, ids.iter().map(|id| format!("policies/{id}")).collect::<Vec<_>>(), "in pages of {size}");
    }
    let broken =
        |page_size, token: &str| violations(list(&pb::ListPoliciesRequest { page_size, page_token: token.into() }));
    assert_eq!(broken(-1, ""), ["page_size: must not be negative; -1 was sent"]);
    assert_eq!(broken(0, "x"), ["page_token: must be the `next_page_token` of a page"]);
}

#[test]
fn page_of_large_policies_is_cut_short() {
    let mut large = create(creation(sent())).unwrap();
    large.tenants = (0..10_000).map(|n| (format!("a-tenant-with-a-rather-long-name-{n}"), large.limit)).collect();
    let named = |n: usize| Policy { id: PolicyId::parse(&format!("p{n}"), "").unwrap(), ..large.clone() };
    let catalog = Catalog::new([Vec::new(), (0..9).map(named).collect()], Default::default(), 1, None).unwrap();
    let page = page(&catalog.after(None, 10), 9);
    assert!((1..9).contains(&page.policies.len()) && !page.next_page_token.is_empty());
    assert!(prost::Message::encoded_len(&page) < 4 * 1024 * 1024);
}

#[test]
fn plans_and_policies_report_their_origin() {
    let acme = TenantId::parse("acme", "").unwrap();
    let gold = tenant_plan(&acme, Some(("gold".to_owned(), Origin::File)));
    assert_eq!((gold.name.as_str(), gold.plan()), ("tenants/acme/plan", "gold"));
    assert_eq!(
        (gold.origin(), tenant_plan(&acme, None).origin()),
        (pb::policy::Origin::File, pb::policy::Origin::Unspecified)
    );
    let file = Policy { origin: Origin::File, ..create(creation(sent())).unwrap() };
    let out = policy(&file);
    assert_eq!((out.origin(), out.update_time, out.etag), (pb::policy::Origin::File, None, etag(&file)));
}

#[test]
fn fields_of_an_invalid_policy_are_named() {
    let rule = "must be smaller".to_owned();
    let path = |owner| PolicyPath::Limit(owner, LimitPart::Period);
    let broken = [path(LimitOf::Default), path(LimitOf::Plan("gold".to_owned())), PolicyPath::Tenants];
    let broken = broken.map(|path| PolicyViolation { path, rule: rule.clone() });
    let named = ["policy.limit.period", "policy.plan_limits[gold].period", "policy.tenant_limits"];
    let error: Result<(), _> = Err(name_fields(Error::InvalidPolicy(broken.into())));
    assert_eq!(violations(error), named.map(|field| format!("{field}: {rule}")));
}

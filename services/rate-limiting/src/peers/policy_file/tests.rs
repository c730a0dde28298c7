use std::time::Duration;

use super::*;

/// Example of the module's own documentation.
fn example() -> String {
    let source = include_str!("mod.rs");
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let yaml = lines.skip_while(|line| line.trim() != "```yaml").skip(1).take_while(|line| line.trim() != "```");
    yaml.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect()
}

fn rejection(yaml: &str) -> String {
    Contents::parse(yaml).expect_err("it is rejected").to_string()
}

/// File of one policy, with `fields` in place of its limit.
fn with(fields: &str) -> String {
    format!("policies:\n  - id: p\n    entries: [tenant]\n    {fields}\n")
}

#[test]
fn documented_example_is_valid() {
    let Contents { policies, plans } = Contents::parse(&example()).expect("the documentation is right");
    let api = &policies[0];
    let second = Duration::from_secs(1);
    assert_eq!((api.id.as_str(), api.domain.as_str(), policies.len()), ("user-api", "keyplane", 2));
    assert_eq!(api.entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["tenant", "user"]);
    assert_eq!(api.limit, Limit { burst: 200, ..Limit::per(100, second) });
    assert_eq!(api.plans["gold"], Limit::per(1000, second));
    assert_eq!((api.tenants["acme"], api.tenants["evil"]), (Limit::per(5000, second), Limit::BLOCK));
    assert_eq!((api.outage, api.post_charge, api.lease), (Some(Outage::Local), false, 0));
    assert_eq!((api.version, api.origin, api.updated), (0, Origin::File, None));
    let chat = &policies[1];
    assert_eq!(chat.entries[1], Entry { key: "route".to_owned(), value: Some("/v1/chat".to_owned()) });
    assert_eq!((chat.domain.as_str(), chat.limit, chat.outage), ("", Limit::UNLIMITED, None));
    let shadow = Limit { mode: Mode::Shadow, ..Limit::per(20, Duration::from_secs(60)) };
    assert_eq!(chat.plans["free"], shadow);
    assert_eq!(plans, [("acme".to_owned(), "gold".to_owned())].into());
}

#[test]
fn every_broken_rule_is_reported_at_once() {
    let file = r#"
policies:
  - id: user-api
    entries: [tenant, tenant, {key: Route, value: ""}]
    limit: {amount: 0, per: soon, mode: strict}
    plans: {Gold: {amount: 1}}
    tenants: {acme: {amount: 1, per: 1ms}, evil: {amount: 1, mode: block}}
    outage: shut
    lease: 7
    post_charge: true
  - id: user-api
    domain: "a\tb"
    entries: [user]
    limit: {amount: 1000000000001, per: 32d, burst: 0}
    plans: {gold: unlimited}
  - id: "a b"
    entries: []
    limit: {amount: 1, per: 31d, burst: 12}
tenants: {acme: Gold, Globex: gold}
"#;
    let expected = [
        "policies[0].plans[?].per: must be a time with its unit, such as 1s, 5m or 1h 30m, and is missing at line 6, column 5",
        "policies[0].outage: must be closed, open or local at line 8, column 5",
        "policies[0].limit.mode: must be enforce, shadow, unlimited or block at line 5, column 35",
        "policies[0].limit.per: must be a time with its unit, such as 1s, 5m or 1h 30m at line 5, column 24",
        "policies[0].entries[1].key: must not be given twice at line 4, column 23",
        "policies[0].entries[2].key: must match [a-z0-9][a-z0-9_.-]{0,63}; 5 bytes were sent at line 4, column 32",
        "policies[0].entries[2].value: must be 1 to 256 bytes without control characters; 0 were sent at line 4, column 44",
        "policies[0].limit.amount: must be positive; to admit nothing, set the mode MODE_BLOCK (in a file: block) at line 5, column 13",
        "policies[0].plans: a plan must match [a-z0-9][a-z0-9_.-]{0,63}; 4 bytes were sent at line 6, column 5",
        "policies[0].tenants[acme].per: must be 1 second to 31 days; 1ms was sent at line 7, column 33",
        "policies[0].tenants[evil]: takes no amount, period or burst in the mode block at line 7, column 44",
        "policies[0].lease: must be at most the smallest burst; 7 was sent at line 9, column 5",
        "policies[0].lease: can't be combined with `post_charge` at line 9, column 5",
        "policies[1].id: must not be the id of policies[0] too at line 11, column 5",
        "policies[1].domain: must have at most 128 bytes and no control characters; 3 were sent at line 12, column 5",
        "policies[1].limit.amount: must be at most 1000000000000; 1000000000001 was sent at line 14, column 13",
        "policies[1].limit.per: must be 1 second to 31 days; 32d was sent at line 14, column 36",
        "policies[1].plans: need an entry with the key tenant at line 15, column 5",
        "policies[2].id: the policy id must match [A-Za-z0-9._~@|:+-]{1,64}; 3 bytes were sent at line 16, column 5",
        "policies[2].entries: must be 1 to 8; 0 were sent at line 17, column 5",
        "policies[2].limit.burst: must leak away within 366 days: make it smaller, or the amount larger at line 18, column 34",
        "tenants: the tenant must match [a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?; 6 bytes were sent at line 19, column 1",
        "tenants[acme]: a plan must match [a-z0-9][a-z0-9_.-]{0,63}; 4 bytes were sent at line 19, column 11",
    ];
    let FileError::Invalid(violations) = Contents::parse(file).expect_err("it is rejected") else {
        panic!("another error")
    };
    assert_eq!(violations.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
}

#[test]
fn syntax_error_is_reported_with_its_line() {
    for (file, expected) in [
        ("policies: [", "unclosed bracket '[' at line 1, column 11"),
        ("", "unexpected end of file at line 1, column 1"),
        ("tenants: {}", "missing field `policies` at line 1, column 1"),
        ("policies: []\nplans: {}", "unknown field `plans`, expected one of policies, tenants at line 2, column 1"),
        (
            &with("limit: {amount: 1, per: 1s, bursts: 2}"),
            "unknown field `bursts`, expected one of amount, per, burst, mode at line 4, column 33",
        ),
        (
            &with("limit: {amount: -1, per: 1s}"),
            "invalid value: integer `-1`, expected a whole number, 0 or more at line 4, column 13",
        ),
        (
            &with("limit: {amount: 1.5, per: 1s}"),
            "invalid type: floating point `1.5`, expected a whole number, 0 or more at line 4, column 13",
        ),
        (&with("limit: none"), "a limit in a word is unlimited or block, not none at line 4, column 12"),
        (
            &with("limit: 100"),
            "invalid type: integer `100`, expected unlimited, block, or a limit such as {amount: 100, per: 1s} at line 4, \
             column 5",
        ),
        (
            &with("limit: block\n    limit: unlimited"),
            "duplicate mapping key `limit` is not allowed here at line 5, column 5",
        ),
        (
            "policies:\n  - id: p\n    entries: [{value: x}]\n    limit: block",
            "missing field `key` at line 3, column 16",
        ),
        (
            "policies: []\ntenants: {acme: gold, acme: silver}",
            "duplicate mapping key `acme` is not allowed here at line 2, column 23",
        ),
    ] {
        assert_eq!(rejection(file), expected, "{file}");
    }
}

#[test]
fn size_of_a_file_is_bounded() {
    let large = format!("policies: []\n#{}", "x".repeat(Contents::BYTES));
    assert_eq!(rejection(&large), "it has more than 1048576 bytes");
    let row = |n| format!("- {{id: p{n}, entries: [tenant], limit: block}}\n");
    let many = |most: usize| format!("policies:\n{}", (0..most).map(row).collect::<String>());
    assert_eq!(Contents::parse(&many(Contents::MOST)).expect("as many as there may be").policies.len(), 9_000);
    assert_eq!(
        rejection(&many(Contents::MOST + 1)),
        "policies: must be at most 9000; there are 9001 at line 1, column 1"
    );
}

#[test]
fn names_that_look_like_numbers_are_names() {
    let file =
        "policies:\n  - id: 7\n    entries: [tenant]\n    limit: block\n    tenants: {42: unlimited}\ntenants: {42: 1}";
    let Contents { policies, plans } = Contents::parse(file).expect("digits are allowed");
    assert_eq!((policies[0].id.as_str(), policies[0].tenants["42"]), ("7", Limit::UNLIMITED));
    assert_eq!(plans, [("42".to_owned(), "1".to_owned())].into());
}

#[test]
fn aliases_do_not_make_a_small_file_large() {
    let mut bomb = "policies: []\ntenants:\n  a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, alias) in [("b", "a"), ("c", "b"), ("d", "c"), ("e", "d"), ("f", "e"), ("g", "f"), ("h", "g")] {
        bomb += &format!(
            "  {name}: &{name} [*{alias}, *{alias}, *{alias}, *{alias}, *{alias}, *{alias}, *{alias}, *{alias}, *{alias}]\n"
        );
    }
    rejection(&bomb);
}

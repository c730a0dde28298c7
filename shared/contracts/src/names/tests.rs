use proptest::prelude::*;

use super::{Id, SessionId, SessionName, TenantId, UserName};

const SESSION: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn names_are_parsed_and_printed() {
    let text = format!("tenants/acme/users/bob@x.com/sessions/{SESSION}");
    let name = SessionName::parse(&text, "name").unwrap();
    assert_eq!(name.user.tenant.as_str(), "acme");
    assert_eq!(name.user.user.as_str(), "bob@x.com");
    assert_eq!(name.session.as_str(), SESSION);
    assert_eq!(name.to_string(), text);
    assert_eq!(name.user.session(name.session.clone()), name);
}

#[test]
fn tenants_are_dns_labels() {
    for good in ["a", "0", "acme", "a-b", "a--b", &"a".repeat(63)] {
        assert!(TenantId::parse(good, "tenant").is_ok(), "{good}");
    }
    for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ä", "a:b", "a}b", &"a".repeat(64)] {
        assert!(TenantId::parse(bad, "tenant").is_err(), "{bad}");
    }
}

#[test]
fn ids_are_of_one_alphabet() {
    for good in ["u-42", "bob@x.com", "auth0|abc", "urn:x:y", "~", "+1", &"x".repeat(128)] {
        assert!(Id::parse(good, "user").is_ok(), "{good}");
    }
    for bad in ["", "a/b", "a b", "a%40b", "{a}", "a\n", "é", "a*", &"x".repeat(129)] {
        assert!(Id::parse(bad, "user").is_err(), "{bad}");
    }
}

#[test]
fn sessions_are_hexadecimal() {
    assert!(SessionId::parse(SESSION, "session").is_ok());
    for bad in ["", "7f3c", &SESSION.to_uppercase(), &format!("{SESSION}0"), &"g".repeat(32)] {
        assert!(SessionId::parse(bad, "session").is_err(), "{bad}");
    }
    assert_eq!(SessionId::from_bits([0x0f; 16]).as_str(), "0f".repeat(16));
}

#[test]
fn violations_name_the_rule_and_the_length() {
    let violation = UserName::parse("tenants/acme/users/secret value", "parent").unwrap_err();
    assert_eq!(violation.field, "parent");
    assert_eq!(violation.description, "the user must match [A-Za-z0-9._~@|:+-]{1,128}; 12 bytes were sent");

    let violation = UserName::parse("", "parent").unwrap_err();
    assert_eq!(violation.description, "the name must have the form tenants/{tenant}/users/{user}, and is empty");
}

#[test]
fn other_shapes_are_rejected() {
    for bad in
        ["tenants/acme", "tenants/acme/users", "tenant/acme/users/u", "tenants/acme/users/u/", "/tenants/acme/users/u"]
    {
        assert!(UserName::parse(bad, "name").is_err(), "{bad}");
    }
    assert!(SessionName::parse("tenants/acme/users/u/sessions", "name").is_err());
    assert!(SessionName::parse(&format!("tenants/acme/users/u/sessions/{SESSION}/x"), "name").is_err());
}

proptest! {
    #[test]
    fn what_parses_prints_the_same(
        tenant in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
        user in "[A-Za-z0-9._~@|:+-]{1,128}",
        bits in any::<[u8; 16]>(),
    ) {
        let text = format!("tenants/{tenant}/users/{user}/sessions/{}", SessionId::from_bits(bits));
        prop_assert_eq!(SessionName::parse(&text, "name").unwrap().to_string(), text);
    }

    #[test]
    fn any_text_parses_or_is_named_by_rule_only(text in any::<String>()) {
        if let Err(violation) = SessionName::parse(&text, "name") {
            prop_assert_eq!(&violation.field, "name");
            prop_assert!(violation.description.contains("must"));
            prop_assert!(text.len() < 12 || !violation.description.contains(&text));
        }
        match Id::parse(&text, "id") {
            Ok(id) => prop_assert_eq!(id.as_str(), text),
            Err(violation) => prop_assert!(violation.description.starts_with("the id must match")),
        }
    }

    #[test]
    fn no_name_holds_what_a_key_is_built_of(text in "[a-z{}/:%*\\\\ ]{0,40}") {
        if let Ok(tenant) = TenantId::parse(&text, "tenant") {
            prop_assert!(tenant.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        }
    }
}

#[test]
fn a_tenants_name_is_parsed_whole() {
    assert_eq!(TenantId::parse_name("tenants/acme", "parent").map(|tenant| tenant.to_string()), Ok("acme".to_owned()));
    for (text, violation) in [
        ("", "parent: the name must have the form tenants/{tenant}, and is empty"),
        ("acme", "parent: the name must have the form tenants/{tenant}; 4 bytes were sent"),
        ("tenants/acme/users/u", "parent: the name must have the form tenants/{tenant}; 20 bytes were sent"),
        ("tenants/ACME", "parent: the tenant must match [a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?; 4 bytes were sent"),
    ] {
        assert_eq!(
            TenantId::parse_name(text, "parent").map_err(|violation| violation.to_string()),
            Err(violation.to_owned())
        );
    }
}

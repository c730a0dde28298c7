use super::{CutoffBy, RevocationId, Scope, Target, TokenHash};
use proptest::prelude::*;

/// Arbitrary targets, with names that could break the text.
pub(crate) fn targets() -> impl Strategy<Value = Target> {
    let name = || "[a-z0-9 ;,=%:/|ä-]{1,12}".prop_map(String::into_boxed_str);
    let by = prop_oneof![Just(CutoffBy::IssuedAt), Just(CutoffBy::AuthTime)];
    let scope = prop_oneof![
        any::<[u8; 16]>().prop_map(|bytes| Scope::Token(bytes.into())),
        name().prop_map(Scope::Session),
        (name(), by).prop_map(|(user, by)| Scope::Subject { user, by }),
        name().prop_map(Scope::Client),
        (name(), name()).prop_map(|(issuer, kid)| Scope::Key { issuer, kid }),
        Just(Scope::Tenant),
    ];
    (name(), scope).prop_map(|(tenant, scope)| Target { tenant, scope })
}

fn target(scope: Scope) -> Target {
    Target { tenant: "acme".into(), scope }
}

#[test]
fn the_hash_of_a_token_follows_the_contract() {
    // printf '\0\0\0\4acme\0\0\0\1i\0\0\0\3j-1' | sha256sum
    assert_eq!(TokenHash::digest("acme", "i", "j-1").to_string(), "134ce11187b89c722851ca9fa1c557e8");
    let target = target(Scope::Token(TokenHash::digest("acme", "i", "j-1")));
    assert_eq!(target.id().as_str(), "t134ce11187b89c722851ca9fa1c557e8");
}

#[test]
fn the_id_of_a_session_follows_the_contract() {
    // printf '\0\0\0\1s\0\0\0\4acme\0\0\0\3s-1' | sha256sum
    assert_eq!(target(Scope::Session("s-1".into())).id().as_str(), "s17a9eb11b74f4c8503e302db584ad5ae");
}

#[test]
fn moving_a_boundary_makes_another_token() {
    let token = TokenHash::digest("acme", "https://idp", "j-1");
    for other in [("acmeh", "ttps://idp", "j-1"), ("acme", "https://idpj", "-1"), ("acm", "ehttps://idp", "j-1")] {
        assert_ne!(token, TokenHash::digest(other.0, other.1, other.2), "{other:?} has the hash of another token");
    }
}

#[test]
fn targets_with_one_name_have_different_ids() {
    let name = || "x".into();
    let scopes = [
        Scope::Token(TokenHash::digest("acme", "x", "x")),
        Scope::Session(name()),
        Scope::Subject { user: name(), by: CutoffBy::IssuedAt },
        Scope::Subject { user: name(), by: CutoffBy::AuthTime },
        Scope::Client(name()),
        Scope::Key { issuer: name(), kid: name() },
        Scope::Tenant,
    ];
    let hashes: std::collections::BTreeSet<_> =
        scopes.map(|scope| target(scope).id().as_str()[1..].to_owned()).into_iter().collect();
    assert_eq!(hashes.len(), 7);
}

#[test]
fn the_text_in_the_feed() {
    for (scope, text) in [
        (Scope::Session("s 1".into()), "s acme s%201"),
        (Scope::Subject { user: "u-42".into(), by: CutoffBy::IssuedAt }, "i acme u-42"),
        (Scope::Subject { user: "u-42".into(), by: CutoffBy::AuthTime }, "a acme u-42"),
        (Scope::Client("web".into()), "c acme web"),
        (Scope::Key { issuer: "https://idp".into(), kid: "k=1".into() }, "k acme https%3A%2F%2Fidp k%3D1"),
        (Scope::Tenant, "n acme"),
        (Scope::Token([0xab; 16].into()), "t acme abababababababababababababababab"),
    ] {
        assert_eq!(target(scope).encode(), text);
    }
}

#[test]
fn forged_texts_are_malformed() {
    for text in [
        "",
        "s",
        "s acme",
        "s acme ",
        "s  x",
        "s acme x y",
        "n acme x",
        "n acme ",
        "x acme y",
        "S acme x",
        " s acme x",
        "k acme i",
        "k acme i k n",
        "t acme x",
        "t acme ABABABABABABABABABABABABABABABAB",
        "s acme a%2fb",
        "s acme %73",
        "s\tacme\tx",
    ] {
        assert!(Target::decode(text).is_err(), "{text:?} is no target, and must not be read");
    }
}

#[test]
fn an_id_has_one_text() {
    let id = target(Scope::Tenant).id();
    assert_eq!(RevocationId::parse(id.as_str()), Some(id));
    let hex = &id.as_str()[1..];
    for text in [
        String::new(),
        hex.to_owned(),
        format!("x{hex}"),
        format!("n{hex}0"),
        format!("N{hex}"),
        format!("ä{hex}"),
        format!("n{}", hex.to_uppercase()),
    ] {
        assert_eq!(RevocationId::parse(&text), None, "{text:?} is no id");
    }
}

#[test]
fn the_partition_comes_from_the_first_four_bytes() {
    let id = RevocationId::parse("t0102030405060708090a0b0c0d0e0f10").unwrap();
    assert_eq!(id.partition(u32::MAX), 0x0102_0304);
    assert_eq!((id.partition(4), id.partition(1), id.partition(0)), (0, 0, 0));
    let hash = TokenHash::from_hex("0102030405060708090a0b0c0d0e0f10").unwrap();
    assert!([u32::MAX, 7, 4, 1, 0].iter().all(|count| hash.partition(*count) == id.partition(*count)));
}

proptest! {
    #[test]
    fn a_target_comes_back_from_its_text(target in targets()) {
        prop_assert_eq!(Target::decode(&target.encode()), Ok(target));
    }

    #[test]
    fn garbage_is_malformed_or_canonical(text in "[tsiackn] [a-f0-9% ]{0,40}") {
        if let Ok(target) = Target::decode(&text) {
            prop_assert_eq!(target.encode(), text);
        }
    }

    #[test]
    fn no_text_breaks_the_parsers(text in ".{0,40}") {
        let _ = (Target::decode(&text), RevocationId::parse(&text), TokenHash::from_hex(&text));
    }
}

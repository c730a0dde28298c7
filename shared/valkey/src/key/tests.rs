use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn app() -> App {
    App::new("portal").expect("a valid name")
}

fn segment(raw: &str) -> String {
    let mut text = String::new();
    push_segment(&mut text, raw);
    text
}

/// Hostile texts: separators, braces, percent signs, hashes of other texts, very long ones.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}",
        "[:{}%h~p0-9]{0,8}",
        "[:%h~]{0,3}",
        any::<String>(),
        "[a:]{120,140}",
        any::<String>().prop_map(|raw| segment(&raw)),
        Just(String::new()),
        "h~[0-9a-f]{32}",
    ]
}

#[test]
fn keys_follow_the_grammar() {
    let tagged = Key::tagged(&app(), Feature::SESSION, "acme", "u-42", &["s", "7f3c"]);
    assert_eq!(tagged.as_str(), "portal:session:{acme:u-42}:s:7f3c");
    let partitioned = Key::partitioned(&app(), Feature::SEARCH, "acme", &["jti", "9f2c"], 3);
    assert_eq!(partitioned.as_str(), "portal:search:acme:jti:9f2c:{p3}");
    assert_eq!(Key::layout(&app(), Feature::SESSION).as_str(), "portal:session:layout");
    let encoded = Key::tagged(&app(), Feature::SESSION, "a", "auth0|1+2:{x}é", &[]);
    assert_eq!(encoded.as_str(), "portal:session:{a:auth0%7C1%2B2%3A%7Bx%7D%C3%A9}");
}

#[test]
fn long_and_reserved_segments_become_hashes() {
    assert_eq!(segment(&"a".repeat(128)), "a".repeat(128));
    assert_eq!(segment(&"a".repeat(129)), format!("h~{}", sha(&"a".repeat(129))));
    assert_eq!(segment(&"a".repeat(129)).len(), 34);
    assert_eq!(segment(&":".repeat(43)).len(), 34, "encoded it would be 129 bytes");
    assert_eq!(segment("h~x"), format!("h~{}", sha("h~x")));
    let of_long = segment(&"a".repeat(129));
    assert_ne!(segment(&of_long), of_long, "the text of a hash must not stand for what was hashed");
}

fn sha(raw: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(raw.as_bytes())[..16])
}

#[test]
fn app_name_is_checked() {
    for good in ["portal", "a", "0", "a-b", &"a".repeat(32)] {
        assert_eq!(App::new(good).map(|app| app.as_str().to_owned()), Ok(good.to_owned()));
    }
    for bad in ["", "Portal", "-a", "a:b", "a_b", "{a}", "é", &"a".repeat(33)] {
        assert_eq!(App::new(bad), Err(AppError), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn segments_are_injective(a in hostile(), b in hostile()) {
        prop_assert_eq!(a == b, segment(&a) == segment(&b));
    }

    #[test]
    fn tagged_keys_are_injective(a in vec(hostile(), 2..5), b in vec(hostile(), 2..5)) {
        let key = |list: &[String]| {
            let parts: Vec<&str> = list[2..].iter().map(String::as_str).collect();
            Key::tagged(&app(), Feature::SESSION, &list[0], &list[1], &parts)
        };
        prop_assert_eq!(a == b, key(&a) == key(&b));
    }

    #[test]
    fn partitioned_keys_are_injective(a in vec(hostile(), 1..4), b in vec(hostile(), 1..4), p in 0..3u32, q in 0..3u32) {
        let key = |list: &[String], partition| {
            let parts: Vec<&str> = list[1..].iter().map(String::as_str).collect();
            Key::partitioned(&app(), Feature::SESSION, &list[0], &parts, partition)
        };
        prop_assert_eq!(a == b && p == q, key(&a, p) == key(&b, q));
    }

    #[test]
    fn families_never_meet(a in vec(hostile(), 1..4), p in any::<u32>()) {
        let parts: Vec<&str> = a[1..].iter().map(String::as_str).collect();
        let tagged = Key::tagged(&app(), Feature::SESSION, &a[0], &a[a.len() - 1], &parts);
        let partitioned = Key::partitioned(&app(), Feature::SESSION, &a[0], &parts, p);
        let layout = Key::layout(&app(), Feature::SESSION);
        prop_assert!(tagged != partitioned && tagged != layout && partitioned != layout);
    }

    #[test]
    fn keys_hold_only_allowed_bytes_and_one_hash_tag(tenant in hostile(), subject in hostile(), part in hostile()) {
        let key = Key::tagged(&app(), Feature::SESSION, &tenant, &subject, &[&part]);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~@-%:{}".contains(&byte);
        prop_assert!(key.as_str().bytes().all(allowed));
        let open = key.as_str().find('{').expect("a tag");
        let close = key.as_str().find('}').expect("a tag");
        prop_assert_eq!(&key.as_str()[open + 1..close], format!("{}:{}", segment(&tenant), segment(&subject)));
        prop_assert_eq!(key.as_str().matches(['{', '}']).count(), 2);
        let hash_tag = fred::util::redis_keyslot(&key.as_str().as_bytes()[open + 1..close]);
        prop_assert_eq!(fred::util::redis_keyslot(key.as_str().as_bytes()), hash_tag);
    }
}

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
    fn partitioned_keys_are_injective(
        a in vec(hostile(), 1..4), b in vec(hostile(), 1..4), p in 0..3u32, q in 0..3u32,
    ) {
        let key = |list: &[String], partition| {
            let parts: Vec<&str> = list[1..].iter().map(String::as_str).collect();
            Key::partitioned(&app(), Feature::SESSION, &list[0], &parts, partition)
        };
        prop_assert_eq!(a == b && p == q, key(&a, p) == key(&b, q));
    }

    #[test]
    fn indexed_keys_are_injective(a in vec(hostile(), 2..5), b in vec(hostile(), 2..5), g in 0..3u32, h in 0..3u32, p in 0..3u32, q in 0..3u32) {
        let key = |list: &[String], generation, partition| {
            let parts: Vec<&str> = list[2..].iter().map(String::as_str).collect();
            let index = Index::new(&app(), Feature::SEARCH, &list[0], generation);
            (Key::indexed(&index, &list[1], partition, &parts), index)
        };
        let ((key_a, index_a), (key_b, index_b)) = (key(&a, g, p), key(&b, h, q));
        prop_assert_eq!(a == b && g == h && p == q, key_a == key_b);
        let same = a[0] == b[0] && g == h;
        prop_assert_eq!(same, index_a.name() == index_b.name());
        prop_assert_eq!(same, key_a.as_str().starts_with(index_b.prefix()), "an index covers its own documents alone");
    }

    #[test]
    fn indexed_keys_share_the_hash_tag_of_their_partition(index in hostile(), tenant in hostile(), part in hostile(), p in 0..16u32) {
        let index = Index::new(&app(), Feature::SEARCH, &index, 3);
        let document = Key::indexed(&index, &tenant, p, &[&part]);
        let state = Key::tagged(&app(), Feature::SEARCH, &tenant, &format!("p{p}"), &["state"]);
        let slot = |key: &Key| fred::util::redis_keyslot(key.as_str().as_bytes());
        prop_assert_eq!(slot(&document), slot(&state));
        prop_assert_eq!(document.as_str().matches(['{', '}']).count(), 2);
    }

    #[test]
    fn names_and_ids_are_read_back_unless_hashed(index in hostile(), id in hostile(), g in any::<u32>()) {
        let known = |raw: &str| (!segment(raw).starts_with(HASHED)).then(|| raw.to_owned());
        let index_name = Index::new(&app(), Feature::SEARCH, &index, g);
        let parsed = Key::parse_index(&app(), Feature::SEARCH, index_name.name());
        prop_assert_eq!(parsed, known(&index).map(|index| (index, g)));
        let key = Key::indexed(&index_name, "acme", 1, &["docs", &id]);
        prop_assert_eq!(Key::last_part(key.as_str()), known(&id));
        prop_assert_eq!(Key::hides(&id), known(&id).is_none());
    }

    #[test]
    fn families_never_meet(a in vec(hostile(), 1..4), p in any::<u32>()) {
        let parts: Vec<&str> = a[1..].iter().map(String::as_str).collect();
        let tagged = Key::tagged(&app(), Feature::SESSION, &a[0], &a[a.len() - 1], &parts);
        let partitioned = Key::partitioned(&app(), Feature::SESSION, &a[0], &parts, p);
        let layout = Key::layout(&app(), Feature::SESSION);
        prop_assert!(tagged != partitioned && tagged != layout && partitioned != layout);
        let index = Index::new(&app(), Feature::SESSION, &a[0], p);
        let indexed = Key::indexed(&index, &a[0], p, &parts);
        for other in [&tagged, &partitioned, &layout] {
            prop_assert!(*other != indexed && other.as_str() != index.name() && !other.as_str().starts_with(index.prefix()));
        }
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

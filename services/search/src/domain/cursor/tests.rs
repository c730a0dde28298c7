use proptest::prelude::*;

use super::super::request::OrderBy;
use super::super::schema::FieldName;
use super::*;

fn key() -> CursorKey {
    CursorKey::new(b"secret")
}

fn collection(name: &str) -> CollectionName {
    CollectionName::parse(&format!("tenants/acme/collections/{name}"), "name").expect("a name")
}

fn request(query: &str) -> SearchRequest {
    SearchRequest { query: query.to_owned(), ..SearchRequest::default() }
}

fn cursor() -> Cursor {
    let position = Position::Fields { values: vec![Some(-0.5), None], spread: 7, id: "a:1".to_owned() };
    Cursor { generation: 3, revision: 99, position }
}

fn positions() -> impl Strategy<Value = Position> {
    let value = prop::option::of(prop::num::f64::NORMAL);
    let fields = (prop::collection::vec(value, 0..4), any::<u32>(), "[a-z0-9:]{1,128}")
        .prop_map(|(values, spread, id)| Position::Fields { values, spread, id });
    let cut =
        prop_oneof![Just(Cut::None), any::<u32>().prop_map(Cut::Spread), prop::num::f64::NORMAL.prop_map(Cut::Number)];
    let cuts = prop::collection::vec((any::<u8>(), cut).prop_map(|(tier, cut)| TierCut { tier, cut }), 0..6);
    let score = (prop::num::f64::NORMAL, any::<i64>(), cuts, any::<u32>(), "[a-z0-9:]{1,128}")
        .prop_map(|(score, now, cuts, spread, id)| Position::Score { score, now, cuts, spread, id });
    prop_oneof![fields, score]
}

proptest! {
    #[test]
    fn cursor_survives_its_token(position in positions(), generation in any::<u32>(), revision in any::<u64>()) {
        let cursor = Cursor { generation, revision, position };
        let search = Fingerprint::new(&collection("c"), &request("q"));
        let token = cursor.encode(&key(), search);
        prop_assert!(token.len() <= MAX_CURSOR);
        prop_assert_eq!(Cursor::decode(&token, &key(), search), Ok(cursor));
    }

    #[test]
    fn changed_byte_is_a_forgery(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let search = Fingerprint::new(&collection("c"), &request("q"));
        let mut bytes = BASE64URL_NOPAD.decode(cursor().encode(&key(), search).as_bytes()).expect("a token");
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let token = BASE64URL_NOPAD.encode(&bytes);
        prop_assert_eq!(Cursor::decode(&token, &key(), search), Err(CursorError::Forged));
    }

    #[test]
    fn any_text_is_read_or_rejected(text in any::<String>()) {
        let search = Fingerprint::new(&collection("c"), &request("q"));
        prop_assert_eq!(Cursor::decode(&text, &key(), search), Err(CursorError::Forged));
    }
}

#[test]
fn cursor_of_another_key_is_a_forgery() {
    let search = Fingerprint::new(&collection("c"), &request("q"));
    let token = cursor().encode(&CursorKey::new(b"other"), search);
    assert_eq!(Cursor::decode(&token, &key(), search), Err(CursorError::Forged));
    assert_eq!(Cursor::decode(&"A".repeat(5000), &key(), search), Err(CursorError::Forged));
    assert_eq!(format!("{:?}", key()), "CursorKey(..)");
}

#[test]
fn cursor_belongs_to_its_search_alone() {
    let order = |name: &str, descending| OrderBy { field: FieldName::new(name).expect("a name"), descending };
    let names = |names: &[&str]| names.iter().filter_map(|name| FieldName::new(name)).collect();
    let mut searches = vec![
        (collection("c"), request("q")),
        (collection("d"), request("q")),
        (collection("c"), request("q ")),
        (collection("c"), SearchRequest { filter: "q".to_owned(), ..request("") }),
        (collection("c"), SearchRequest { exact_words: true, ..request("q") }),
        (collection("c"), SearchRequest { query_fields: names(&["a", "b"]), ..request("q") }),
        (collection("c"), SearchRequest { query_fields: names(&["ab"]), ..request("q") }),
    ];
    for descending in [false, true] {
        searches.push((collection("c"), SearchRequest { order_by: vec![order("a", descending)], ..request("q") }));
    }
    for (at, (name, search)) in searches.iter().enumerate() {
        let token = cursor().encode(&key(), Fingerprint::new(name, search));
        for (other, (name, search)) in searches.iter().enumerate() {
            let read = Cursor::decode(&token, &key(), Fingerprint::new(name, search));
            assert_eq!(read, if at == other { Ok(cursor()) } else { Err(CursorError::Foreign) }, "{at} {other}");
        }
    }
    let page = SearchRequest { page_size: 7, explain: true, ..request("q") };
    let same = Fingerprint::new(&collection("c"), &page);
    assert_eq!(same, Fingerprint::new(&collection("c"), &request("q")), "the page's size takes no part");
}

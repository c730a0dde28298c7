//! Filters: parsed, printed, evaluated, and sent to the engine.

use std::sync::LazyLock;

use keyplane_contracts::names::Id;
use keyplane_search::domain::filter::Filter;
use keyplane_search::domain::indexed::Indexed;
use keyplane_search::domain::{Field, FieldKind, FieldName, Language, Layout, Packed, RawDocument, Schema, validate};
use serde_json::json;

use crate::sent;

/// Room for a filter in a query, in bytes.
const ROOM: usize = 8_000;

/// Schema with a field of each type, and a packed document of it.
static FIXTURE: LazyLock<(Schema, Layout, Vec<u8>)> = LazyLock::new(|| {
    let schema = schema();
    let layout = Layout::new(&schema);
    let fields = json!({
        "title": "a task", "status": "open", "tags": ["red", "blue"], "count": 7, "amount": 12.5, "listed": true,
        "due": "2026-11-28T09:00:00Z",
    });
    let serde_json::Value::Object(fields) = fields else { unreachable!("an object") };
    let id = Id::parse("t-1", "id").expect("an id");
    let raw = RawDocument { id, fields, version: None, expires: None, at: "document".to_owned() };
    let document = validate::document(&schema, &raw).expect("a document of the schema");
    let collection = keyplane_contracts::names::CollectionName::parse("tenants/acme/collections/tasks", "name");
    let packed = Indexed::new(&schema, &layout, &collection.expect("a name").collection, &document).packed;
    (schema, layout, packed)
});

/// Runs any text as a filter.
pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (schema, layout, packed) = &*FIXTURE;
    let filter = match Filter::parse(&text, schema) {
        Ok(filter) => filter,
        Err(faults) => {
            let characters = text.chars().count();
            let inside = faults.iter().all(|fault| (1..=characters + 1).contains(&fault.position));
            assert!(!faults.is_empty() && inside, "{faults:?}");
            return;
        }
    };
    let printed = filter.to_string();
    if printed.len() <= Filter::MAX_BYTES {
        assert_eq!(Filter::parse(&printed, schema), Ok(filter.clone()), "{printed}");
    }
    let packed = Packed::read(packed).expect("packed values");
    let _ = filter.matches(&packed);
    let scope = sent::scope("acme");
    let clauses = filter.clauses(layout);
    let split = clauses.split(1, ROOM);
    assert!(
        sent::checked(&scope, &split.engine, &[], &[]).is_some(),
        "a filter within its room is too long: {printed}"
    );
    sent::checked(&scope, &clauses.all(), &[], &[]);
}

fn schema() -> Schema {
    let field = |name: &str, kind| {
        let name = FieldName::new(name).expect("a name");
        Field { name, kind, sortable: false, facet: false }
    };
    let fields = vec![
        field("title", FieldKind::Text { weight: 1.0, language: Language::English }),
        field("status", FieldKind::Tag),
        field("tags", FieldKind::Tags),
        field("count", FieldKind::Integer),
        field("amount", FieldKind::Decimal),
        field("listed", FieldKind::Boolean),
        field("due", FieldKind::Timestamp),
    ];
    Schema { fields, ..Schema::default() }
}

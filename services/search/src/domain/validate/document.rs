//! Documents by their schema.

use std::collections::BTreeMap;

use keyplane_contracts::rules::search as stated;
use keyplane_contracts::{Violation, Violations};
use serde_json::{Map, Value as Json};

use super::super::document::{Document, Value};
use super::super::raw::{RawDocument, RawPatch};
use super::super::schema::{FieldKind, FieldName, Schema};
use super::super::writes::Patch;
use super::value::value;

/// Document that keeps the schema.
///
/// # Errors
///
/// All rules that its values break; paths start at [`RawDocument::at`].
pub fn document(schema: &Schema, raw: &RawDocument) -> Result<Document, Vec<Violation>> {
    let mut violations = Violations::new();
    let (fields, _) = values(schema, &raw.fields, &raw.at, &mut violations);
    let document = Document { id: raw.id.clone(), fields, version: raw.version, expires: raw.expires };
    violations.into_result(document)
}

/// Change that keeps the schema. The text of the changed document may still be too long: see [`check_text`].
///
/// # Errors
///
/// All rules that its values break; paths start at `document`.
pub fn patch(schema: &Schema, raw: &RawPatch) -> Result<Patch, Vec<Violation>> {
    let mut violations = Violations::new();
    let (set, removed) = values(schema, &raw.fields, "document", &mut violations);
    let patch = Patch { set, removed, version: raw.version, revision: raw.revision, expires: raw.expires };
    violations.into_result(patch)
}

/// Checks the length of a document's text, for a document that a [`Patch`] made.
///
/// # Errors
///
/// Violation of `document.fields`.
pub fn check_text(schema: &Schema, document: &Document) -> Result<(), Vec<Violation>> {
    let mut violations = Violations::new();
    text_length(schema, &document.fields, "document", &mut violations);
    violations.into_result(())
}

/// Values by field, and the fields whose value is null.
fn values(
    schema: &Schema,
    fields: &Map<String, Json>,
    at: &str,
    violations: &mut Violations,
) -> (BTreeMap<FieldName, Value>, Vec<FieldName>) {
    let (mut values, mut removed) = (BTreeMap::new(), Vec::new());
    let mut unknown = 0;
    for (name, json) in fields {
        let Some((_, field)) = schema.field(name) else {
            unknown += 1;
            // A name by the rule of names is no personal data, and helps to find it.
            if let Some(name) = FieldName::new(name).filter(|_| unknown <= 5) {
                violations.add(format!("{at}.fields.{}", name.as_str()), "the collection's schema has no such field");
            } else if unknown <= 5 {
                let (pattern, sent) = (FieldName::PATTERN, name.len());
                let rule = format!("names must match {pattern}, and be in the schema; one of {sent} bytes was sent");
                violations.add(format!("{at}.fields"), rule);
            }
            continue;
        };
        if json.is_null() {
            removed.push(field.name.clone());
        } else if let Some(value) = value(field.kind, json, &format!("{at}.fields.{name}"), violations) {
            values.insert(field.name.clone(), value);
        }
    }
    if unknown > 5 {
        violations.add(format!("{at}.fields"), format!("{} more names are not in the schema", unknown - 5));
    }
    text_length(schema, &values, at, violations);
    (values, removed)
}

fn text_length(schema: &Schema, values: &BTreeMap<FieldName, Value>, at: &str, violations: &mut Violations) {
    let texts = schema.fields.iter().filter(|field| matches!(field.kind, FieldKind::Text { .. }));
    let lengths = texts.filter_map(|field| match values.get(&field.name) {
        Some(Value::Text(text)) => Some(text.len()),
        Some(_) | None => None,
    });
    let sent: usize = lengths.sum();
    if sent > stated::TEXT {
        let most = stated::TEXT;
        violations.add(format!("{at}.fields"), format!("must have at most {most} bytes of text; {sent} were sent"));
    }
}

#[cfg(test)]
mod tests {
    use keyplane_contracts::names::Id;
    use serde_json::json;

    use super::super::super::schema::{Field, Language};
    use super::*;

    fn schema() -> Schema {
        let text = FieldKind::Text { weight: 1.0, language: Language::None };
        let kinds = [
            ("title", text),
            ("body", text),
            ("status", FieldKind::Tag),
            ("labels", FieldKind::Tags),
            ("amount", FieldKind::Integer),
            ("price", FieldKind::Decimal),
            ("due", FieldKind::Timestamp),
            ("open", FieldKind::Boolean),
            ("extra", FieldKind::Stored),
        ];
        let field =
            |(name, kind)| Field { name: FieldName::new(name).expect("a name"), kind, sortable: false, facet: false };
        Schema { fields: kinds.map(field).into(), ..Schema::default() }
    }

    fn raw(fields: Json) -> RawDocument {
        let Json::Object(fields) = fields else { panic!("an object") };
        let id = Id::parse("d-1", "id").expect("an id");
        RawDocument { id, fields, version: Some(3), expires: None, at: "documents[2]".into() }
    }

    fn broken(fields: Json) -> Vec<String> {
        let violations = document(&schema(), &raw(fields)).expect_err("a broken rule");
        violations.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn values_take_the_type_of_their_field() {
        let fields = json!({
            "title": "Tasks", "status": "", "labels": ["b", "a", "b"], "amount": -9_007_199_254_740_991_i64,
            "price": -0.0, "due": "2026-11-28T10:00:00.1239+01:00", "open": false, "extra": {"a": [1.5, null]}, "body": null,
        });
        let document = document(&schema(), &raw(fields)).expect("a valid document");
        let value = |name: &str| document.fields.get(&FieldName::new(name).expect("a name")).cloned();
        assert_eq!(value("title"), Some(Value::Text("Tasks".into())));
        assert_eq!(value("status"), Some(Value::Text(String::new())));
        assert_eq!(value("labels"), Some(Value::Tags(vec!["b".into(), "a".into()])));
        assert_eq!(value("amount"), Some(Value::Integer(-9_007_199_254_740_991)));
        assert!(matches!(value("price"), Some(Value::Decimal(zero)) if zero.is_sign_positive()));
        assert_eq!(value("due"), Some(Value::Timestamp(1_795_856_400_123)));
        assert_eq!(value("open"), Some(Value::Boolean(false)));
        assert_eq!(value("extra"), Some(Value::Json(r#"{"a":[1.5,null]}"#.into())));
        assert_eq!(value("body"), None);
        assert_eq!((document.id.as_str(), document.version), ("d-1", Some(3)));
    }

    #[test]
    fn whole_number_may_have_the_form_of_a_float() {
        let document = document(&schema(), &raw(json!({"amount": 12.0}))).expect("a valid document");
        assert_eq!(document.fields.into_values().collect::<Vec<_>>(), [Value::Integer(12)]);
    }

    #[test]
    fn every_broken_rule_is_named_and_no_value_is_repeated() {
        let fields = json!({
            "title": 7, "status": "s".repeat(1025), "labels": ["a", 1, "t".repeat(1025)], "amount": 9_007_199_254_740_992_i64,
            "price": "12", "due": "secret", "open": "true", "extra": {"id": 1e17}, "owner": "secret", "bad name": 1,
        });
        let broken = broken(fields);
        let expected = [
            "documents[2].fields.amount: must be a whole number between -2^53 and 2^53, both excluded",
            "documents[2].fields: names must match [a-z][a-z0-9_]{0,62}, and be in the schema; one of 8 bytes was sent",
            "documents[2].fields.due: must be a time by RFC 3339 with an offset, in the years 1 to 9999, e.g. \
             \"2026-11-28T09:00:00Z\"; 6 bytes were sent",
            "documents[2].fields.extra: a whole number beyond 2^53 loses digits in JSON; send it as a string",
            "documents[2].fields.labels[1]: must be a string; a number was sent",
            "documents[2].fields.labels[2]: must be at most 1024 bytes; 1025 were sent",
            "documents[2].fields.open: must be true or false; a string was sent",
            "documents[2].fields.owner: the collection's schema has no such field",
            "documents[2].fields.price: must be a number; a string was sent",
            "documents[2].fields.status: must be at most 1024 bytes; 1025 were sent",
            "documents[2].fields.title: must be a string; a number was sent",
        ];
        for line in expected {
            assert!(broken.iter().any(|one| one == line), "{line} is not among {broken:#?}");
        }
        assert_eq!(broken.len(), expected.len(), "{broken:#?}");
        assert!(!broken.join("").contains("secret"));
    }

    #[test]
    fn text_of_all_fields_together_has_a_bound() {
        let half = "x".repeat(32 * 1024);
        document(&schema(), &raw(json!({"title": half, "body": half}))).expect("64 KiB of text");
        let broken = broken(json!({"title": half, "body": format!("{half}y")}));
        assert_eq!(broken, ["documents[2].fields: must have at most 65536 bytes of text; 65537 were sent"]);
        assert!(document(&schema(), &raw(json!({"extra": "x".repeat(100_000)}))).is_ok(), "stored values are no text");
    }

    #[test]
    fn stored_value_has_16_levels_at_most() {
        let nested = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert!(document(&schema(), &raw(json!({"extra": nested(16)}))).is_ok());
        let at = format!("documents[2].fields.extra{}", "[0]".repeat(16));
        assert_eq!(broken(json!({"extra": nested(17)})), [format!("{at}: must have at most 16 levels")]);
    }

    #[test]
    fn null_in_a_patch_removes_the_value() {
        let Json::Object(fields) = json!({"title": "new", "body": null}) else { panic!("an object") };
        let patch = patch(&schema(), &RawPatch { fields, ..RawPatch::default() }).expect("a valid patch");
        let name = |text: &str| FieldName::new(text).expect("a name");
        assert_eq!(patch.set, [(name("title"), Value::Text("new".into()))].into());
        assert_eq!(patch.removed, [name("body")]);
    }

    #[test]
    fn many_unknown_names_are_counted() {
        let fields = (0..100).map(|index| (format!("x{index}"), json!(1))).collect();
        let broken = broken(Json::Object(fields));
        assert_eq!(broken.len(), 6);
        assert_eq!(broken[5], "documents[2].fields: 95 more names are not in the schema");
    }
}

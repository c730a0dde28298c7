//! Body of a stored document: its values as canonical JSON, in the field `_b` of its hash.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::document::{Document, Value};
use super::schema::{FieldKind, FieldName, Schema};

/// Body that breaks its layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a body of {bytes} bytes breaks its layout")]
pub struct Malformed {
    /// Length of the body, in bytes.
    pub bytes: usize,
}

/// Body of a document: an object with the fields in the order of their names.
///
/// Times are numbers of milliseconds. Decimals are strings, so that no JSON reader rounds them; values of stored fields are
/// strings that hold JSON.
#[must_use]
pub fn write(document: &Document) -> String {
    let fields = document.fields.iter().map(|(name, value)| (name.as_str().to_owned(), json(value)));
    Json::Object(fields.collect::<Map<String, Json>>()).to_string()
}

/// Values of a body that was written by the same schema. Fields that the schema lacks are left out.
///
/// # Errors
///
/// [`Malformed`] if the body is no object, or a value is not of its field's type.
pub fn read(schema: &Schema, body: &str) -> Result<BTreeMap<FieldName, Value>, Malformed> {
    let malformed = Malformed { bytes: body.len() };
    let values: Map<String, Json> = serde_json::from_str(body).map_err(|_| malformed)?;
    let mut fields = BTreeMap::new();
    for (name, json) in values {
        if let Some((_, field)) = schema.field(&name) {
            fields.insert(field.name.clone(), value(field.kind, json).ok_or(malformed)?);
        }
    }
    Ok(fields)
}

fn json(value: &Value) -> Json {
    match value {
        Value::Text(text) | Value::Json(text) => Json::from(text.as_str()),
        Value::Tags(tags) => Json::from(tags.as_slice()),
        Value::Integer(number) | Value::Timestamp(number) => Json::from(*number),
        Value::Decimal(number) => Json::from(number.to_string()),
        Value::Boolean(value) => Json::from(*value),
    }
}

fn value(kind: FieldKind, json: Json) -> Option<Value> {
    match (kind, json) {
        (FieldKind::Text { .. } | FieldKind::Tag, Json::String(text)) => Some(Value::Text(text)),
        (FieldKind::Stored, Json::String(text)) => Some(Value::Json(text)),
        (FieldKind::Tags, Json::Array(tags)) => tags.into_iter().map(string).collect::<Option<_>>().map(Value::Tags),
        (FieldKind::Integer, Json::Number(number)) => number.as_i64().map(Value::Integer),
        (FieldKind::Timestamp, Json::Number(number)) => number.as_i64().map(Value::Timestamp),
        (FieldKind::Decimal, Json::String(text)) => text.parse().ok().map(Value::Decimal),
        (FieldKind::Boolean, Json::Bool(value)) => Some(Value::Boolean(value)),
        (_, _) => None,
    }
}

fn string(json: Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use keyplane_contracts::names::Id;
    use proptest::prelude::*;

    use super::super::schema::{Field, Language};
    use super::*;

    fn schema() -> Schema {
        let text = FieldKind::Text { weight: 1.0, language: Language::None };
        let kinds = [
            ("name", text),
            ("status", FieldKind::Tag),
            ("tags", FieldKind::Tags),
            ("count", FieldKind::Integer),
            ("price", FieldKind::Decimal),
            ("at", FieldKind::Timestamp),
            ("open", FieldKind::Boolean),
            ("note", FieldKind::Stored),
        ];
        let field = |(name, kind)| Field { name: name_of(name), kind, sortable: false, facet: false };
        Schema { fields: kinds.into_iter().map(field).collect(), ..Schema::default() }
    }

    fn name_of(name: &str) -> FieldName {
        FieldName::new(name).expect("a name")
    }

    fn document(fields: Vec<(&str, Value)>) -> Document {
        let fields = fields.into_iter().map(|(name, value)| (name_of(name), value)).collect();
        Document { id: Id::parse("d", "id").expect("an id"), fields, version: None, expires: None }
    }

    #[test]
    fn body_is_canonical_json() {
        let fields = vec![("tags", Value::Tags(vec!["b".into(), "a".into()])), ("price", Value::Decimal(0.1 + 0.2))];
        let other = vec![fields[1].clone(), fields[0].clone()];
        assert_eq!(write(&document(fields)), r#"{"price":"0.30000000000000004","tags":["b","a"]}"#);
        assert_eq!(write(&document(other)), r#"{"price":"0.30000000000000004","tags":["b","a"]}"#);
    }

    #[test]
    fn fields_that_the_schema_lacks_are_left_out() {
        let fields = read(&schema(), r#"{"gone":[1],"status":"open"}"#).expect("a body");
        assert_eq!(fields, BTreeMap::from([(name_of("status"), Value::Text("open".into()))]));
    }

    #[test]
    fn other_bodies_are_malformed() {
        for body in ["", "[]", "{", r#"{"count":1.5}"#, r#"{"tags":[1]}"#, r#"{"open":"yes"}"#, r#"{"price":"x"}"#] {
            assert_eq!(read(&schema(), body), Err(Malformed { bytes: body.len() }), "{body}");
        }
    }

    proptest! {
        #[test]
        fn body_reads_back_as_the_document(
            text in any::<String>(), tags in prop::collection::vec(any::<String>(), 0..4), count in any::<i64>(),
            price in prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL, open in any::<bool>(),
        ) {
            let values = vec![
                ("name", Value::Text(text.clone())),
                ("status", Value::Text(text)),
                ("tags", Value::Tags(tags)),
                ("count", Value::Integer(count)),
                ("price", Value::Decimal(price)),
                ("at", Value::Timestamp(count)),
                ("open", Value::Boolean(open)),
                ("note", Value::Json(r#"{"a": 0.30000000000000004}"#.to_owned())),
            ];
            let document = document(values);
            prop_assert_eq!(read(&schema(), &write(&document)), Ok(document.fields));
        }
    }
}

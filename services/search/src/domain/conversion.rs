//! Conversion of a document to another schema, for a generation that is not the one in force.

use keyplane_contracts::names::Id;

use super::document::{Document, Value};
use super::schema::{FieldKind, FieldName, Schema};

/// Largest whole number of a numeric column: 2^53.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// Value that another schema has no place for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("document {}: field `{}` has {kind}, and the schema wants {wanted}", document.as_str(), field.as_str())]
pub struct Misfit {
    /// Id of the document.
    pub document: Id,
    /// Field of the value.
    pub field: FieldName,
    /// Kind of the value.
    pub kind: &'static str,
    /// Kind in the schema.
    pub wanted: &'static str,
}

/// Converts a document to `schema`: drops fields that the schema lacks, and keeps the others' values in the new kinds.
///
/// # Errors
///
/// First value that the kind of its field can't hold without loss.
pub fn convert(document: &Document, schema: &Schema) -> Result<Document, Misfit> {
    let mut fields = std::collections::BTreeMap::new();
    for field in &schema.fields {
        let Some(value) = document.fields.get(&field.name) else { continue };
        let converted = convert_value(value, field.kind).ok_or_else(|| Misfit {
            document: document.id.clone(),
            field: field.name.clone(),
            kind: value_kind(value),
            wanted: wanted_kind(field.kind),
        })?;
        fields.insert(field.name.clone(), converted);
    }
    Ok(Document { fields, ..document.clone() })
}

#[expect(clippy::cast_precision_loss, reason = "integers are within 2^53")]
#[expect(clippy::cast_possible_truncation, reason = "whole numbers within 2^53")]
fn convert_value(value: &Value, kind: FieldKind) -> Option<Value> {
    match (kind, value) {
        (FieldKind::Text { .. } | FieldKind::Tag, Value::Text(_))
        | (FieldKind::Tags, Value::Tags(_))
        | (FieldKind::Integer, Value::Integer(_))
        | (FieldKind::Decimal, Value::Decimal(_))
        | (FieldKind::Timestamp, Value::Timestamp(_))
        | (FieldKind::Boolean, Value::Boolean(_))
        | (FieldKind::Stored, Value::Json(_)) => Some(value.clone()),
        (FieldKind::Tags, Value::Text(text)) => Some(Value::Tags(vec![text.clone()])),
        (FieldKind::Text { .. } | FieldKind::Tag, Value::Tags(tags)) => match tags.as_slice() {
            [only] => Some(Value::Text(only.clone())),
            _ => None,
        },
        (FieldKind::Integer, Value::Timestamp(number)) => Some(Value::Integer(*number)),
        (FieldKind::Timestamp, Value::Integer(number)) => Some(Value::Timestamp(*number)),
        (FieldKind::Decimal, Value::Integer(number) | Value::Timestamp(number)) => Some(Value::Decimal(*number as f64)),
        (FieldKind::Integer, Value::Decimal(number)) if number.fract() == 0.0 && number.abs() <= MAX_WHOLE => {
            Some(Value::Integer(*number as i64))
        }
        (FieldKind::Stored, value) => json(value).map(Value::Json),
        _ => None,
    }
}

fn json(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => serde_json::to_string(text).ok(),
        Value::Tags(tags) => serde_json::to_string(tags).ok(),
        Value::Integer(number) | Value::Timestamp(number) => Some(number.to_string()),
        Value::Decimal(number) => serde_json::to_string(number).ok(),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Json(json) => Some(json.clone()),
    }
}

fn value_kind(value: &Value) -> &'static str {
    match value {
        Value::Text(_) => "a text",
        Value::Tags(_) => "several tags",
        Value::Integer(_) => "an integer",
        Value::Decimal(_) => "a decimal",
        Value::Timestamp(_) => "a timestamp",
        Value::Boolean(_) => "a boolean",
        Value::Json(_) => "a stored value",
    }
}

fn wanted_kind(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text { .. } => "a text",
        FieldKind::Tag => "one tag",
        FieldKind::Tags => "tags",
        FieldKind::Integer => "an integer",
        FieldKind::Decimal => "a decimal",
        FieldKind::Timestamp => "a timestamp",
        FieldKind::Boolean => "a boolean",
        FieldKind::Stored => "a stored value",
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::{Field, Language};
    use super::*;

    fn schema(kind: FieldKind) -> Schema {
        let name = FieldName::new("a").expect("a name");
        Schema { fields: vec![Field { name, kind, sortable: false, facet: false }], ..Schema::default() }
    }

    fn document(value: Value) -> Document {
        let name = |name| FieldName::new(name).expect("a name");
        let fields = [(name("a"), value), (name("b"), Value::Boolean(true))].into();
        Document { id: Id::parse("d", "id").expect("an id"), fields, version: Some(7), expires: None }
    }

    fn converted(value: Value, kind: FieldKind) -> Result<Value, String> {
        let document = convert(&document(value), &schema(kind)).map_err(|misfit| misfit.to_string())?;
        assert_eq!((document.version, document.fields.len()), (Some(7), 1), "the schema has one field");
        Ok(document.fields.into_values().next().expect("one field"))
    }

    #[test]
    fn values_take_kinds_that_hold_them_without_loss() {
        let text = FieldKind::Text { weight: 1.0, language: Language::None };
        let tag = |text: &str| Value::Text(text.to_owned());
        assert_eq!(converted(tag("x"), text), Ok(tag("x")));
        assert_eq!(converted(tag("x"), FieldKind::Tags), Ok(Value::Tags(vec!["x".to_owned()])));
        assert_eq!(converted(Value::Tags(vec!["x".to_owned()]), FieldKind::Tag), Ok(tag("x")));
        assert_eq!(converted(Value::Integer(7), FieldKind::Decimal), Ok(Value::Decimal(7.0)));
        assert_eq!(converted(Value::Decimal(7.0), FieldKind::Integer), Ok(Value::Integer(7)));
        assert_eq!(converted(tag("\"x\""), FieldKind::Stored), Ok(Value::Json(r#""\"x\"""#.to_owned())));
    }

    #[test]
    fn misfit_names_document_field_and_kinds() {
        let misfit = converted(Value::Decimal(7.5), FieldKind::Integer);
        assert_eq!(misfit, Err("document d: field `a` has a decimal, and the schema wants an integer".to_owned()));
        assert!(converted(Value::Text("7".to_owned()), FieldKind::Integer).is_err());
        assert!(converted(Value::Tags(vec![]), FieldKind::Tag).is_err());
    }
}

//! Conversion of a document to another schema, for a generation that is not the one in force.

use keyplane_contracts::names::Id;
use keyplane_contracts::rules::search as stated;
use keyplane_contracts::timestamp;

use super::document::{Document, Value};
use super::schema::{FieldKind, FieldName, Schema};

/// Value that another schema has no place for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("document {}: field \"{}\" has {kind}, and the schema wants {wanted}", document.as_str(), field.as_str())]
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

/// Converts a document to `schema`: drops fields that the schema lacks, and keeps the others' values in the new kinds. The result
/// keeps the rules of documents that callers write.
///
/// # Errors
///
/// First value that the kind of its field can't hold without loss.
pub fn convert(document: &Document, schema: &Schema) -> Result<Document, Misfit> {
    let (mut fields, mut text_bytes) = (std::collections::BTreeMap::new(), 0);
    for field in &schema.fields {
        let Some(value) = document.fields.get(&field.name) else { continue };
        let misfit = |wanted| Misfit {
            document: document.id.clone(),
            field: field.name.clone(),
            kind: value_kind(value),
            wanted,
        };
        let converted = convert_value(value, field.kind).ok_or_else(|| misfit(wanted_kind(field.kind)))?;
        if let (FieldKind::Text { .. }, Value::Text(text)) = (field.kind, &converted) {
            text_bytes += text.len();
            if text_bytes > stated::TEXT {
                return Err(misfit("at most 64 KiB of text in all of a document's fields"));
            }
        }
        fields.insert(field.name.clone(), converted);
    }
    Ok(Document { fields, ..document.clone() })
}

#[expect(clippy::cast_precision_loss, reason = "integers and times are within 2^53")]
#[expect(clippy::cast_possible_truncation, reason = "whole numbers within 2^53")]
fn convert_value(value: &Value, kind: FieldKind) -> Option<Value> {
    match (kind, value) {
        (FieldKind::Text { .. }, Value::Text(_))
        | (FieldKind::Tags, Value::Tags(_))
        | (FieldKind::Integer, Value::Integer(_))
        | (FieldKind::Decimal, Value::Decimal(_))
        | (FieldKind::Timestamp, Value::Timestamp(_))
        | (FieldKind::Boolean, Value::Boolean(_))
        | (FieldKind::Stored, Value::Json(_)) => Some(value.clone()),
        (FieldKind::Tag, Value::Text(text)) => is_tag(text).then(|| value.clone()),
        (FieldKind::Tags, Value::Text(text)) => is_tag(text).then(|| Value::Tags(vec![text.clone()])),
        (FieldKind::Text { .. } | FieldKind::Tag, Value::Tags(tags)) => match tags.as_slice() {
            [only] => Some(Value::Text(only.clone())),
            _ => None,
        },
        (FieldKind::Integer, Value::Timestamp(number)) => Some(Value::Integer(*number)),
        (FieldKind::Timestamp, Value::Integer(number)) => is_time(*number).then_some(Value::Timestamp(*number)),
        (FieldKind::Decimal, Value::Integer(number) | Value::Timestamp(number)) => Some(Value::Decimal(*number as f64)),
        (FieldKind::Integer, Value::Decimal(number)) => {
            let fits = number.fract() == 0.0 && number.abs() <= stated::WHOLE as f64;
            fits.then_some(Value::Integer(*number as i64))
        }
        (FieldKind::Stored, value) => json(value).map(Value::Json),
        _ => None,
    }
}

/// Returns whether a text is short enough for a tag.
fn is_tag(text: &str) -> bool {
    text.len() <= stated::TAG
}

/// Returns whether milliseconds since 1970 are in the years 1 to 9999.
fn is_time(millis: i64) -> bool {
    timestamp::millis(&timestamp::from_millis(millis)) == Some(millis)
}

fn json(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => serde_json::to_string(text).ok(),
        Value::Tags(tags) => serde_json::to_string(tags).ok(),
        Value::Integer(number) => Some(number.to_string()),
        Value::Timestamp(millis) => serde_json::to_string(&timestamp::format_millis(*millis)).ok(),
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
        FieldKind::Tag => "one tag of at most 1,024 bytes",
        FieldKind::Tags => "tags of at most 1,024 bytes",
        FieldKind::Integer => "an integer",
        FieldKind::Decimal => "a decimal",
        FieldKind::Timestamp => "a time in the years 1 to 9999",
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
        let time = Ok(Value::Json(r#""2026-11-28T09:00:00.123Z""#.to_owned()));
        assert_eq!(converted(Value::Timestamp(1_795_856_400_123), FieldKind::Stored), time, "as callers see it");
    }

    #[test]
    fn misfit_names_document_field_and_kinds() {
        let misfit = converted(Value::Decimal(7.5), FieldKind::Integer);
        assert_eq!(misfit, Err("document d: field \"a\" has a decimal, and the schema wants an integer".to_owned()));
        assert!(converted(Value::Text("7".to_owned()), FieldKind::Integer).is_err());
        assert!(converted(Value::Tags(vec![]), FieldKind::Tag).is_err());
    }

    #[test]
    fn converted_values_keep_the_bounds_of_written_ones() {
        let tag = |length| Value::Text("x".repeat(length));
        for kind in [FieldKind::Tag, FieldKind::Tags] {
            assert!(converted(tag(1_024), kind).is_ok());
            let misfit = converted(tag(1_025), kind).expect_err("a text that is too long");
            assert!(misfit.ends_with("of at most 1,024 bytes"), "{misfit}");
        }
        let last = 253_402_300_799_999;
        assert_eq!(converted(Value::Integer(last), FieldKind::Timestamp), Ok(Value::Timestamp(last)));
        assert!(converted(Value::Integer(last + 1), FieldKind::Timestamp).is_err(), "year 10,000");
        assert!(converted(Value::Integer(-62_135_596_800_001), FieldKind::Timestamp).is_err(), "year 0");
        let whole = 9_007_199_254_740_991.0;
        assert_eq!(converted(Value::Decimal(-whole), FieldKind::Integer), Ok(Value::Integer(-9_007_199_254_740_991)));
        assert!(converted(Value::Decimal(whole + 1.0), FieldKind::Integer).is_err(), "2^53 has an equal neighbour");
    }

    #[test]
    fn texts_of_all_fields_together_have_a_bound() {
        let kind = FieldKind::Text { weight: 1.0, language: Language::None };
        let name = |number: usize| FieldName::new(&format!("a{number}")).expect("a name");
        let field = |number| Field { name: name(number), kind, sortable: false, facet: false };
        let schema = Schema { fields: (0..65).map(field).collect(), ..Schema::default() };
        let tags = |count| (0..count).map(|number| (name(number), Value::Text("x".repeat(1_024)))).collect();
        let of = |count| Document { fields: tags(count), ..document(Value::Boolean(true)) };
        assert!(convert(&of(64), &schema).is_ok(), "64 tags of 1 KiB");
        let misfit = convert(&of(65), &schema).expect_err("65 KiB of text").to_string();
        assert_eq!(
            misfit,
            "document d: field \"a64\" has a text, and the schema wants at most 64 KiB of text in all of a document's fields"
        );
    }
}

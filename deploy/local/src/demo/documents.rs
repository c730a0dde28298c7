//! Documents of a data set: one JSON object a line.

use std::collections::BTreeMap;
use std::path::Path;

use keyplane_contracts::search::v1 as pb;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::Error;

#[derive(Deserialize)]
struct Line {
    id: String,
    fields: BTreeMap<String, Json>,
}

/// Reads all documents of a file.
pub(super) fn read(path: &Path) -> Result<Vec<pb::Document>, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::io("reading the demo's documents"))?;
    text.lines().map(document).collect()
}

fn document(line: &str) -> Result<pb::Document, Error> {
    let Line { id, fields } = serde_json::from_str(line)
        .map_err(|error| super::failed(format!("a line of a data set is invalid: {error}")))?;
    let fields = fields.into_iter().map(|(name, value)| (name, converted(value))).collect();
    Ok(pb::Document { document_id: id, fields: Some(Struct { fields }), ..pb::Document::default() })
}

fn converted(value: Json) -> Value {
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(flag) => Kind::BoolValue(flag),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(values) => Kind::ListValue(ListValue { values: values.into_iter().map(converted).collect() }),
        Json::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, converted(value))).collect();
            Kind::StructValue(Struct { fields })
        }
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_document() {
        let document =
            document(r#"{"id":"abb","fields":{"name":"ABB","employees":110,"indices":["SMI"]}}"#).expect("a line");
        assert_eq!(document.document_id, "abb");
        let fields = document.fields.expect("fields").fields;
        assert_eq!(fields["employees"].kind, Some(Kind::NumberValue(110.0)));
        assert!(matches!(&fields["indices"].kind, Some(Kind::ListValue(list)) if list.values.len() == 1));
    }
}

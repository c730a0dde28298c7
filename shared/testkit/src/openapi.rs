//! Validation of JSON against an OpenAPI document.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use regex::Regex;
use serde_json::{Map, Value};

/// Pattern of RFC 3339 times.
const TIME: &str =
    r"^[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]+)?(Z|[+-][0-2][0-9]:[0-5][0-9])$";

/// Validator of values against an OpenAPI 3.0 document: the keywords that Keyplane's document uses, and formats of numbers
/// and times.
#[derive(Debug)]
pub struct OpenApi<'a> {
    document: &'a Value,
    /// Compiled patterns: compiling one takes longer than all the rest.
    patterns: Mutex<HashMap<String, Arc<Regex>>>,
}

// === impl OpenApi ===

impl<'a> OpenApi<'a> {
    /// Validator for the schemas of `document`.
    #[must_use]
    pub fn new(document: &'a Value) -> OpenApi<'a> {
        OpenApi { document, patterns: Mutex::default() }
    }

    /// Lists the keywords that `value` breaks, after their place, e.g. `/limits/0: pattern`.
    ///
    /// # Panics
    ///
    /// The document refers to a schema that it lacks, or has an invalid pattern.
    #[must_use]
    pub fn broken(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut broken = Vec::new();
        self.check(schema, value, "", &mut broken);
        broken
    }

    /// Returns the schema that `schema` refers to, or itself.
    ///
    /// # Panics
    ///
    /// The document lacks it.
    #[must_use]
    pub fn resolve<'b>(&self, schema: &'b Value) -> &'b Value
    where
        'a: 'b,
    {
        let Some(path) = schema.get("$ref").and_then(Value::as_str) else { return schema };
        self.document.pointer(&path[1..]).unwrap_or_else(|| panic!("the document holds no {path}"))
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, broken: &mut Vec<String>) {
        let schema = self.resolve(schema);
        let mut note = |holds: bool, word: &str| {
            if !holds {
                broken.push(format!("{at}: {word}"));
            }
        };
        let number = |word: &str| schema.get(word).and_then(Value::as_f64);
        let kind = schema["type"].as_str().unwrap_or_default();
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            note(values.contains(value), "enum");
        }
        match value {
            Value::String(text) if kind == "string" => {
                let length = text.chars().count() as f64;
                note(number("minLength").is_none_or(|least| length >= least), "minLength");
                note(number("maxLength").is_none_or(|most| length <= most), "maxLength");
                if let Some(pattern) = schema.get("pattern").and_then(Value::as_str) {
                    note(self.pattern(pattern).is_match(text), "pattern");
                }
                note(schema["format"] != "date-time" || self.pattern(TIME).is_match(text), "format");
            }
            Value::Number(sent) if matches!(kind, "integer" | "number") => {
                let sent = sent.as_f64().unwrap_or(f64::NAN);
                note(kind == "number" || sent.fract() == 0.0, "type");
                note(number("minimum").is_none_or(|least| sent >= least), "minimum");
                note(number("maximum").is_none_or(|most| sent <= most), "maximum");
                note(schema["format"] != "int32" || (sent - 0.5).abs() < 2_147_483_648.0, "format");
            }
            Value::Bool(_) if kind == "boolean" => {}
            Value::Null if schema["nullable"] == true => {}
            Value::Array(items) if kind == "array" => {
                note(number("minItems").is_none_or(|least| items.len() as f64 >= least), "minItems");
                note(number("maxItems").is_none_or(|most| items.len() as f64 <= most), "maxItems");
                let is_again = |(index, item): (usize, &Value)| items[..index].contains(item);
                note(schema["uniqueItems"] != true || !items.iter().enumerate().any(is_again), "uniqueItems");
                for (index, item) in items.iter().enumerate() {
                    self.check(&schema["items"], item, &format!("{at}/{index}"), broken);
                }
            }
            Value::Object(fields) if kind == "object" => self.check_object(schema, fields, at, broken),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                note(false, "type")
            }
        }
    }

    fn pattern(&self, text: &str) -> Arc<Regex> {
        let mut patterns = self.patterns.lock();
        let compile = || Arc::new(Regex::new(text).unwrap_or_else(|error| panic!("{text}: {error}")));
        patterns.entry(text.to_owned()).or_insert_with(compile).clone()
    }

    fn check_object(&self, schema: &Value, fields: &Map<String, Value>, at: &str, broken: &mut Vec<String>) {
        let number = |word: &str| schema.get(word).and_then(Value::as_f64);
        if number("minProperties").is_some_and(|least| (fields.len() as f64) < least) {
            broken.push(format!("{at}: minProperties"));
        }
        if number("maxProperties").is_some_and(|most| (fields.len() as f64) > most) {
            broken.push(format!("{at}: maxProperties"));
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                broken.push(format!("{at}/{name}: required"));
            }
        }
        for (name, value) in fields {
            let at = format!("{at}/{name}");
            match (schema["properties"].get(name), schema.get("additionalProperties")) {
                (Some(property), _) => self.check(property, value, &at, broken),
                (None, Some(Value::Bool(false))) => broken.push(format!("{at}: additionalProperties")),
                (None, Some(other @ Value::Object(_))) => self.check(other, value, &at, broken),
                (None, _) => {}
            }
        }
    }
}

//! Rules of a field's value.

use keyplane_contracts::rules::search as stated;
use keyplane_contracts::{Violations, timestamp};
use serde_json::{Number, Value as Json};

use super::super::document::Value;
use super::super::schema::FieldKind;

/// Value of a field of type `kind`. `None` after a violation.
pub(super) fn value(kind: FieldKind, json: &Json, at: &str, violations: &mut Violations) -> Option<Value> {
    let value = match (kind, json) {
        (FieldKind::Text { .. }, Json::String(text)) => Value::Text(text.clone()),
        (FieldKind::Tag, Json::String(tag)) => {
            check_tag(tag, at, violations)?;
            Value::Text(tag.clone())
        }
        (FieldKind::Tags, Json::Array(items)) => Value::Tags(tags(items, at, violations)?),
        (FieldKind::Integer, Json::Number(number)) => Value::Integer(whole(number, at, violations)?),
        (FieldKind::Decimal, Json::Number(number)) => Value::Decimal(decimal(number, at, violations)?),
        (FieldKind::Timestamp, Json::String(text)) => Value::Timestamp(time(text, at, violations)?),
        (FieldKind::Boolean, Json::Bool(boolean)) => Value::Boolean(*boolean),
        (FieldKind::Stored, json) => Value::Json(stored(json, at, violations)?),
        (_, json) => {
            violations.add(at, format!("must be {}; {} was sent", wanted(kind), sort(json)));
            return None;
        }
    };
    Some(value)
}

fn wanted(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text { .. } | FieldKind::Tag => "a string",
        FieldKind::Tags => "a list of strings",
        FieldKind::Integer => "a whole number",
        FieldKind::Decimal => "a number",
        FieldKind::Timestamp => "a string by RFC 3339, e.g. \"2026-11-28T09:00:00Z\"",
        FieldKind::Boolean => "true or false",
        FieldKind::Stored => "a value",
    }
}

/// Kind of a JSON value, for messages, which never repeat the value.
fn sort(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

fn check_tag(tag: &str, at: &str, violations: &mut Violations) -> Option<()> {
    if tag.len() <= stated::TAG {
        return Some(());
    }
    violations.add(at, format!("must be at most {} bytes; {} were sent", stated::TAG, tag.len()));
    None
}

/// Tags in the order of the caller, each once.
fn tags(items: &[Json], at: &str, violations: &mut Violations) -> Option<Vec<String>> {
    if items.len() > stated::TAGS {
        violations.add(at, format!("must be at most {} values; {} were sent", stated::TAGS, items.len()));
        return None;
    }
    let mut tags: Vec<String> = Vec::with_capacity(items.len());
    let mut valid = Some(());
    for (index, item) in items.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let Json::String(tag) = item else {
            violations.add(at, format!("must be a string; {} was sent", sort(item)));
            valid = None;
            continue;
        };
        if check_tag(tag, &at, violations).is_none() {
            valid = None;
        } else if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    valid.map(|()| tags)
}

/// Whole number that JSON's 64-bit floating point keeps exactly.
fn whole(number: &Number, at: &str, violations: &mut Violations) -> Option<i64> {
    let float = number.as_f64().filter(|float| float.is_finite());
    #[expect(clippy::cast_precision_loss, reason = "the bound is below 2^53")]
    let most = stated::WHOLE as f64;
    match float {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within the bound")]
        Some(float) if float.fract() == 0.0 && float.abs() <= most => Some(float as i64),
        Some(float) if float.fract() != 0.0 => {
            violations.add(at, "must be a whole number; a number with a fraction was sent");
            None
        }
        Some(_) | None => {
            violations.add(at, "must be a whole number between -2^53 and 2^53, both excluded");
            None
        }
    }
}

fn decimal(number: &Number, at: &str, violations: &mut Violations) -> Option<f64> {
    let float = number.as_f64().filter(|float| float.is_finite());
    if float.is_none() {
        violations.add(at, "must be a finite number");
    }
    // A zero has no sign, so that equal values have one form.
    float.map(|float| float + 0.0)
}

fn time(text: &str, at: &str, violations: &mut Violations) -> Option<i64> {
    let millis = timestamp::parse_millis(text);
    if millis.is_none() {
        let rule = "must be a time by RFC 3339 with an offset, in the years 1 to 9999, e.g. \"2026-11-28T09:00:00Z\"";
        violations.add(at, format!("{rule}; {} bytes were sent", text.len()));
    }
    millis
}

/// JSON text of any value, if none of its whole numbers lost digits on the way.
fn stored(json: &Json, at: &str, violations: &mut Violations) -> Option<String> {
    let before = violations.as_slice().len();
    check_stored(json, at, stated::DEPTH, violations);
    (violations.as_slice().len() == before).then(|| json.to_string())
}

fn check_stored(json: &Json, at: &str, levels: usize, violations: &mut Violations) {
    match json {
        Json::Number(number) => {
            #[expect(clippy::cast_precision_loss, reason = "the bound is below 2^53")]
            let exact = |float: f64| float.fract() != 0.0 || float.abs() <= stated::WHOLE as f64;
            if !number.as_f64().is_some_and(exact) {
                violations.add(at, "a whole number beyond 2^53 loses digits in JSON; send it as a string");
            }
        }
        Json::Array(_) | Json::Object(_) if levels == 0 => {
            violations.add(at, format!("must have at most {} levels", stated::DEPTH));
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_stored(item, &format!("{at}[{index}]"), levels - 1, violations);
            }
        }
        Json::Object(fields) => {
            // Names within a stored value are the caller's data, and stay out of messages.
            fields.values().for_each(|value| check_stored(value, at, levels - 1, violations));
        }
        Json::Null | Json::Bool(_) | Json::String(_) => {}
    }
}

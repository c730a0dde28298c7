//! Wording of the violations.

use serde_json::error::Category;
use strsim::damerau_levenshtein;

use super::super::schema::{Field, Kind, Message};
use super::Expects;
use super::scalar::Scalar;

/// Longest list of known fields, in fields.
const LISTED: usize = 16;

/// Phrase for the expected value.
pub(super) fn expected(expects: Expects<'_>) -> String {
    match expects {
        Expects::One(kind) => self::kind(kind),
        Expects::Message(_) | Expects::Struct => "an object".to_owned(),
        Expects::List(_) => "a list".to_owned(),
        Expects::Map(kind) => format!("an object, each value {}", self::kind(kind)),
    }
}

/// Phrase for a value of `kind`.
pub(super) fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Integer(range) => format!("a whole number from {} to {}", range.min, range.max),
        Kind::Float(_) => "a number".to_owned(),
        Kind::Text => "a string".to_owned(),
        Kind::Bytes => "a string of base64".to_owned(),
        Kind::Enum(values) => {
            let names: Vec<_> = values.iter().map(|(name, _)| name.as_str()).collect();
            format!("one of {}", names.join(", "))
        }
        Kind::Message(_) | Kind::Struct => "an object".to_owned(),
        Kind::Duration => "a duration in seconds, such as \"90s\" or \"0.5s\"".to_owned(),
        Kind::Timestamp => "a time in RFC 3339, such as \"2026-01-31T12:00:00Z\"".to_owned(),
        Kind::FieldMask => "comma-separated fields, such as \"lastPath,attributes\"".to_owned(),
    }
}

/// Hint at the enum's name that was probably meant; empty without a candidate.
pub(super) fn enum_hint(kind: &Kind, got: Scalar<'_>) -> String {
    let (Kind::Enum(values), Scalar::Text(name)) = (kind, got) else { return String::new() };
    let names = || values.iter().map(|(known, _)| known.as_str());
    // Callers omit the prefix that all names share.
    let suffixed = names().find(|known| known.strip_suffix(name).is_some_and(|prefix| prefix.ends_with('_')));
    suffixed.or_else(|| near(names(), name)).map(|known| format!("; did you mean {known}?")).unwrap_or_default()
}

/// Rule that a field which `message` lacks breaks.
pub(super) fn unknown(message: &Message, name: &str) -> String {
    let known = || message.fields.iter().filter(|field| !field.bound).map(|field| field.json.as_str());
    if let Some(near) = near(known(), name) {
        return format!("unknown field; did you mean {near}?");
    }
    match known().count() {
        0 => "unknown field; the object has no fields".to_owned(),
        count if count <= LISTED => format!("unknown field; known are {}", known().collect::<Vec<_>>().join(", ")),
        _ => "unknown field".to_owned(),
    }
}

/// Rule that a duplicate field breaks.
pub(super) fn duplicate(field: &Field) -> String {
    if field.json == field.proto {
        return "appears twice; a field may appear once".to_owned();
    }
    format!("appears twice; a field may appear once, as {} or as {}", field.json, field.proto)
}

/// Rule that malformed JSON breaks, with its position.
pub(super) fn malformed(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let at = format!(" at line {line} column {column}");
    let cause = text.strip_suffix(&at).unwrap_or(&text);
    let rule = match cause {
        _ if error.classify() == Category::Eof => "unexpected end",
        "key must be a string" => "a name must be in double quotes",
        "expected value" => "expected a value (strings need double quotes)",
        "trailing comma" => "a comma must not follow the last member",
        "trailing characters" => "unexpected text after the value",
        "recursion limit exceeded" => "nested too deeply",
        other => other,
    };
    format!("must be JSON; at line {line}, column {column}: {rule}")
}

/// Nearest name, if it is near enough to be a typing error.
fn near<'n>(names: impl Iterator<Item = &'n str>, name: &str) -> Option<&'n str> {
    if name.len() > 64 {
        return None;
    }
    let folded = fold(name);
    let distance = |known: &'n str| (damerau_levenshtein(&fold(known), &folded), known);
    let (distance, known) = names.map(distance).min_by_key(|(distance, _)| *distance)?;
    (distance <= 2 && distance * 3 <= known.len()).then_some(known)
}

/// Name without case and underscores, the usual typing errors.
fn fold(name: &str) -> String {
    name.chars().filter(|letter| *letter != '_').map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Returns whether a name can appear in a path without quotes.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Key for a path, escaped and in double quotes.
pub(super) fn quoted(key: &str) -> String {
    serde_json::to_string(key).unwrap_or_default()
}

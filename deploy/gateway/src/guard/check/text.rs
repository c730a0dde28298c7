//! Words of the violations.

use serde_json::error::Category;
use strsim::damerau_levenshtein;

use super::super::schema::{Field, Kind, Message};
use super::scalar::Scalar;
use super::value::Expects;

/// Most fields that are listed where no name is near.
const LISTED: usize = 16;

/// Phrase for the value that must stand at a place.
pub(super) fn expected(expects: Expects<'_>) -> String {
    match expects {
        Expects::One(kind) => self::kind(kind),
        Expects::Message(_) => "an object".to_owned(),
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
        Kind::Message(_) => "an object".to_owned(),
        Kind::Duration => "a duration in seconds, such as \"90s\" or \"0.5s\"".to_owned(),
        Kind::Timestamp => "a time in RFC 3339, such as \"2026-01-31T12:00:00Z\"".to_owned(),
        Kind::FieldMask => "a list of fields with commas between them, such as \"lastPath,attributes\"".to_owned(),
    }
}

/// Hint at the enum's name that was probably meant, or nothing.
pub(super) fn enum_hint(kind: &Kind, got: Scalar<'_>) -> String {
    let (Kind::Enum(values), Scalar::Text(name)) = (kind, got) else { return String::new() };
    let names = || values.iter().map(|(known, _)| known.as_str());
    // Callers leave the prefix out that all names share.
    let suffixed = names().find(|known| known.strip_suffix(name).is_some_and(|prefix| prefix.ends_with('_')));
    suffixed.or_else(|| near(names(), name)).map(|known| format!("; did you mean {known}?")).unwrap_or_default()
}

/// Rule that a field which `message` does not have breaks.
pub(super) fn unknown(message: &Message, name: &str) -> String {
    let known = || message.fields.iter().filter(|field| !field.bound).map(|field| field.json.as_str());
    if let Some(near) = near(known(), name) {
        return format!("unknown field; did you mean {near}?");
    }
    match known().count() {
        0 => "unknown field; the object has none".to_owned(),
        count if count <= LISTED => format!("unknown field; known are {}", known().collect::<Vec<_>>().join(", ")),
        _ => "unknown field".to_owned(),
    }
}

/// Rule that a field which stands twice breaks.
pub(super) fn twice(field: &Field) -> String {
    if field.json == field.proto {
        return "stands twice; a field may stand once".to_owned();
    }
    format!("stands twice; a field may stand once, as {} or as {}", field.json, field.proto)
}

/// Rule that a text which is no JSON breaks, and where.
pub(super) fn malformed(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let at = format!(" at line {line} column {column}");
    let cause = text.strip_suffix(&at).unwrap_or(&text);
    let rule = match cause {
        _ if error.classify() == Category::Eof => "it ends too early",
        "key must be a string" => "a name must stand in double quotes",
        "expected value" => "a value was expected (strings stand in double quotes)",
        "trailing comma" => "no comma may follow the last member",
        "trailing characters" => "nothing may follow the end of the value",
        "recursion limit exceeded" => "it is nested too deeply",
        other => other,
    };
    format!("must be JSON; at line {line}, column {column}: {rule}")
}

/// Nearest name, if it is near enough to be meant.
fn near<'n>(names: impl Iterator<Item = &'n str>, name: &str) -> Option<&'n str> {
    if name.len() > 64 {
        return None;
    }
    let folded = fold(name);
    let distance = |known: &'n str| (damerau_levenshtein(&fold(known), &folded), known);
    let (distance, known) = names.map(distance).min_by_key(|(distance, _)| *distance)?;
    (distance <= 2 && distance * 3 <= known.len()).then_some(known)
}

/// Name without case and underscores, which people get wrong.
fn fold(name: &str) -> String {
    name.chars().filter(|letter| *letter != '_').map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Whether a name needs no quotes in a path.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Key in a path: in double quotes, escaped.
pub(super) fn quoted(key: &str) -> String {
    serde_json::to_string(key).unwrap_or_default()
}

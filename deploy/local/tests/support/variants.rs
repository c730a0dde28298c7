//! Variants of a call, each of which differs from an example in one value.

use std::collections::BTreeSet;

use keyplane_testkit::OpenApi;
use serde_json::{Map, Value, json};

use super::calls::Call;

/// Call with another value in one place.
#[derive(Clone, Debug)]
pub struct Variant {
    pub call: Call,
    /// Place of the value: `query pageSize`, `body /limits/0`.
    pub field: String,
    pub value: String,
    /// Keywords of the schema that the value breaks.
    pub broken: Vec<String>,
}

/// Variants of `call`. Messages that are `varied` already are skipped, since one check serves all calls.
pub fn variants(api: &OpenApi<'_>, call: &Call, varied: &mut BTreeSet<String>) -> Vec<Variant> {
    let mut variants = Vec::new();
    for parameter in call.operation["parameters"].as_array().unwrap() {
        let (place, name) = (parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap());
        if place == "header" {
            continue;
        }
        for value in values(api, &parameter["schema"], parameter.get("example")) {
            let mut call = call.clone();
            let known = if place == "path" { &mut call.variables } else { &mut call.query };
            known.insert(name.to_owned(), value.clone());
            // An empty segment or a slash makes another path.
            let text = value.as_str().unwrap_or("x");
            if place == "path" && (text.is_empty() || text.contains('/')) {
                continue;
            }
            let broken = api.broken(&parameter["schema"], &value);
            variants.push(Variant { call, field: format!("{place} {name}"), value: shown(&value), broken });
        }
    }
    let schema = &call.operation["requestBody"]["content"]["application/json"]["schema"];
    if !schema.is_null() {
        for (field, body) in bodies(api, schema, &call.body, varied) {
            let broken = api.broken(schema, &body);
            let value = shown(body.pointer(&field).unwrap_or(&Value::Null));
            let field = format!("body {}", field.split('/').filter(|part| *part != "0").collect::<Vec<_>>().join("/"));
            let mut call = Call { body, ..call.clone() };
            // Fields outside a mask are ignored.
            call.query.remove("updateMask");
            variants.push(Variant { call, field, value, broken });
        }
    }
    variants
}

/// Bodies that differ from `body` in one place, with that place.
fn bodies(api: &OpenApi<'_>, schema: &Value, body: &Value, varied: &mut BTreeSet<String>) -> Vec<(String, Value)> {
    let schema = api.resolve(schema);
    let mut found = Vec::new();
    match schema["type"].as_str() {
        Some("object") if schema["properties"].is_object() => {
            let own = body.as_object().cloned().unwrap_or_default();
            for (name, property) in schema["properties"].as_object().unwrap() {
                let mut put = |at: &str, value: Option<Value>| {
                    let mut changed = own.clone();
                    match value {
                        Some(value) => changed.insert(name.clone(), value),
                        None => changed.remove(name),
                    };
                    found.push((format!("/{name}{at}"), Value::Object(changed)));
                };
                put("", None);
                let known = own.get(name);
                for (at, value) in inner_bodies(api, property, known.unwrap_or(&Value::Null), varied) {
                    put(&at, Some(value));
                }
            }
        }
        _ => {
            found.extend(values(api, schema, Some(body)).into_iter().map(|value| (String::new(), value)));
            if let Some(first) = body.as_array().and_then(|items| items.first()) {
                let items = inner_bodies(api, &schema["items"], first, varied);
                let rest = &body.as_array().unwrap()[1..];
                let with = |item| json!(std::iter::once(item).chain(rest.iter().cloned()).collect::<Vec<_>>());
                found.extend(items.into_iter().map(|(at, item)| (format!("/0{at}"), with(item))));
            }
        }
    }
    found
}

/// Variants of a part of a body.
fn inner_bodies(
    api: &OpenApi<'_>,
    schema: &Value,
    body: &Value,
    varied: &mut BTreeSet<String>,
) -> Vec<(String, Value)> {
    if let Some(message) = schema["$ref"].as_str() {
        // A message without an example is varied in part only.
        let is_new = if body.is_null() { !varied.contains(message) } else { varied.insert(message.to_owned()) };
        if !is_new {
            return Vec::new();
        }
    }
    bodies(api, schema, body, varied)
}

/// Values on either side of each bound of a schema.
fn values(api: &OpenApi<'_>, schema: &Value, known: Option<&Value>) -> Vec<Value> {
    let schema = api.resolve(schema);
    let bound = |word: &str| schema[word].as_i64();
    match schema["type"].as_str() {
        Some("string") if schema.get("enum").is_some() => schema["enum"].as_array().unwrap().clone(),
        Some("string") if schema["format"] == "date-time" => Vec::new(),
        Some("string") if schema["pattern"].as_str().is_some_and(|pattern| pattern.ends_with("s$")) => durations(),
        Some("string") => texts(schema, known),
        Some("integer") => {
            let ends = [bound("minimum"), bound("maximum")].into_iter().flatten();
            let is_int32 = schema["format"] == "int32";
            let mut numbers: Vec<_> = ends.flat_map(|end| [end - 1, end, end + 1]).chain([-1, 0, 1, 1 << 40]).collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
                .into_iter()
                .filter(|number| !is_int32 || i32::try_from(*number).is_ok())
                .map(|number| json!(number))
                .collect()
        }
        Some("array") => {
            let first = known.and_then(|known| known.get(0)).cloned();
            let first = first.or_else(|| schema["items"]["type"].eq("string").then(|| json!("a")));
            let Some(first) = first else { return vec![json!([])] };
            let lengths = [bound("minItems"), bound("maxItems")].into_iter().flatten();
            let lengths = lengths.flat_map(|end| [end - 1, end, end + 1]).chain([0, 1, 2, 20]).filter(|end| *end >= 0);
            let lengths: std::collections::BTreeSet<_> = lengths.collect();
            lengths.into_iter().map(|length| json!(vec![first.clone(); length as usize])).collect()
        }
        Some("object") if schema["additionalProperties"].is_object() => maps(api, schema, known),
        _ => Vec::new(),
    }
}

fn texts(schema: &Value, known: Option<&Value>) -> Vec<Value> {
    let known = known.and_then(Value::as_str).unwrap_or("a");
    let mut texts: Vec<String> = ["", "a", "A", "ab/", "a b", "\u{7f}", "\u{e4}"].map(str::to_owned).into();
    texts.push(known.to_owned());
    let is_path = known.starts_with('/');
    let start = if is_path { "/" } else { "x" };
    // A schema without `maxLength` has a bound in its pattern, of at most this length.
    let usual = if is_path { [128, 2048] } else { [64, 128] };
    let ends = schema["maxLength"].as_u64().map_or_else(|| usual.to_vec(), |end| vec![end]);
    let lengths = ends.into_iter().flat_map(|end| [end, end + 1]).map(|length| usize::try_from(length).unwrap());
    texts.extend(lengths.map(|length| format!("{start}{}", "x".repeat(length - 1))));
    texts.sort();
    texts.dedup();
    texts.into_iter().map(|text| json!(text)).collect()
}

fn durations() -> Vec<Value> {
    let ends = [0u64, 1, 10, 300, 3600, 31 * 24 * 3600, 400 * 24 * 3600];
    let around = ends.iter().flat_map(|end| [format!("{end}s"), format!("{end}.5s"), format!("{}s", end + 1)]);
    around
        .chain(["-0.5s".to_owned(), "5.000001s".to_owned(), "5.000000001s".to_owned()])
        .map(|text| json!(text))
        .collect()
}

fn maps(api: &OpenApi<'_>, schema: &Value, known: Option<&Value>) -> Vec<Value> {
    let value = known.and_then(|known| known.as_object()?.values().next().cloned());
    let Some(value) = value.or_else(|| schema["additionalProperties"]["type"].eq("string").then(|| json!("a"))) else {
        return vec![json!({})];
    };
    let pairs = |count: u64| (0..count).map(|n| (format!("k{n}"), value.clone())).collect::<Map<_, _>>();
    let ends = schema["maxProperties"].as_u64().into_iter().filter(|end| *end < 1000);
    let counts = ends.flat_map(|end| [end, end + 1]).chain([0, 1, 20]);
    let mut maps: Vec<_> = counts.map(|count| Value::Object(pairs(count))).collect();
    let inner = values(api, &schema["additionalProperties"], Some(&value));
    maps.extend(inner.into_iter().map(|value| json!({"k": value})));
    maps
}

/// Value for messages; long values are cut.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    let length = text.len();
    if length < 60 { text } else { format!("{}... ({length} bytes)", text.chars().take(40).collect::<String>()) }
}

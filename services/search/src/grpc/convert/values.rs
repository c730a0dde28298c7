//! Values of documents: `google.protobuf.Struct` to JSON, and stored values to `Struct`.
//!
//! Every `Value` that goes out has a kind: Envoy's transcoder ends with a null pointer on one without.

use std::collections::BTreeMap;

use keyplane_contracts::{Violations, timestamp};
use prost_types::value::Kind;
use prost_types::{ListValue, NullValue, Struct, Value as Sent};
use serde_json::{Map, Number, Value as Json};

use keyplane_contracts::rules::search as stated;

use crate::domain::{FieldName, Value};

/// Broken rule within a value, and the path to it.
struct Broken {
    path: String,
    rule: &'static str,
}

/// Values of `{at}.fields` as JSON. Those that JSON has no form for become violations.
pub(super) fn fields(sent: Struct, at: &str, violations: &mut Violations) -> Map<String, Json> {
    let mut fields = Map::new();
    for (name, value) in sent.fields {
        match json(value) {
            Ok(value) => {
                fields.insert(name, value);
            }
            // A name by the rule of names is no personal data.
            Err(Broken { path, rule }) if FieldName::new(&name).is_some() => {
                violations.add(format!("{at}.fields.{name}{path}"), rule);
            }
            Err(Broken { rule, .. }) => violations.add(format!("{at}.fields"), rule),
        }
    }
    fields
}

/// Stored values as a `Struct`.
pub(super) fn to_struct(fields: BTreeMap<FieldName, Value>) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, value)| (name.as_str().to_owned(), sent(value))).collect() }
}

fn json(sent: Sent) -> Result<Json, Broken> {
    Ok(match sent.kind {
        Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(boolean)) => Json::Bool(boolean),
        Some(Kind::StringValue(text)) => Json::String(text),
        Some(Kind::NumberValue(number)) => Json::Number(self::number(number)?),
        Some(Kind::ListValue(list)) => {
            let item = |(index, value)| {
                json(value).map_err(|Broken { path, rule }| Broken { path: format!("[{index}]{path}"), rule })
            };
            Json::Array(list.values.into_iter().enumerate().map(item).collect::<Result<_, _>>()?)
        }
        Some(Kind::StructValue(object)) => {
            // Names within a stored value are the caller's data, and stay out of messages.
            let pair = |(name, value)| match json(value) {
                Ok(value) => Ok((name, value)),
                Err(Broken { rule, .. }) => Err(Broken { path: String::new(), rule }),
            };
            Json::Object(object.fields.into_iter().map(pair).collect::<Result<_, _>>()?)
        }
        None => return Err(Broken { path: String::new(), rule: "must have a value; null stands for none" }),
    })
}

/// Number in the shortest form: whole numbers without a point.
fn number(number: f64) -> Result<Number, Broken> {
    #[expect(clippy::cast_precision_loss, reason = "the bound is below 2^53")]
    let is_whole = number.fract() == 0.0 && number.abs() <= stated::WHOLE as f64;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within the bound")]
    let form = if is_whole { Some(Number::from(number as i64)) } else { Number::from_f64(number) };
    form.ok_or(Broken { path: String::new(), rule: "must be a finite number" })
}

fn sent(value: Value) -> Sent {
    let kind = match value {
        Value::Text(text) => Kind::StringValue(text),
        Value::Tags(tags) => list(tags.into_iter().map(|tag| kind(Kind::StringValue(tag))).collect()),
        #[expect(clippy::cast_precision_loss, reason = "integers are below 2^53")]
        Value::Integer(number) => Kind::NumberValue(number as f64),
        Value::Decimal(number) => Kind::NumberValue(number),
        Value::Timestamp(millis) => Kind::StringValue(timestamp::format_millis(millis)),
        Value::Boolean(boolean) => Kind::BoolValue(boolean),
        // The text is our own: a stored value that was printed.
        Value::Json(text) => return from_json(serde_json::from_str(&text).unwrap_or(Json::Null)),
    };
    self::kind(kind)
}

fn from_json(json: Json) -> Sent {
    kind(match json {
        Json::Null => Kind::NullValue(NullValue::NullValue.into()),
        Json::Bool(boolean) => Kind::BoolValue(boolean),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(items) => list(items.into_iter().map(from_json).collect()),
        Json::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, from_json(value))).collect();
            Kind::StructValue(Struct { fields })
        }
    })
}

fn kind(kind: Kind) -> Sent {
    Sent { kind: Some(kind) }
}

fn list(values: Vec<Sent>) -> Kind {
    Kind::ListValue(ListValue { values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: impl IntoIterator<Item = (&'static str, Sent)>) -> Result<Json, String> {
        let mut violations = Violations::new();
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let fields = super::fields(Struct { fields }, "documents[3]", &mut violations);
        if violations.is_empty() { Ok(Json::Object(fields)) } else { Err(violations.to_string()) }
    }

    #[test]
    fn json_and_struct_are_two_forms_of_one_value() {
        let text = r#"{"a":[1,-2.5,{"":""},null,true,"x"],"b":{"c":[]}}"#;
        let json: Json = serde_json::from_str(text).expect("JSON");
        let read = read([("f", from_json(json.clone()))]);
        assert_eq!(read, Ok(serde_json::json!({"f": json})));
        assert_eq!(read.expect("values").to_string(), format!("{{\"f\":{text}}}"));
    }

    #[test]
    fn number_without_a_form_in_json_names_its_path() {
        let broken = list(vec![kind(Kind::NumberValue(1.0)), kind(Kind::NumberValue(f64::NAN))]);
        let message = "documents[3].fields.f[1]: must be a finite number";
        assert_eq!(read([("f", kind(broken))]), Err(message.to_owned()));
        let nested = Struct { fields: [("secret".to_owned(), kind(Kind::NumberValue(f64::INFINITY)))].into() };
        let message = "documents[3].fields.f: must be a finite number";
        assert_eq!(read([("f", kind(Kind::StructValue(nested)))]), Err(message.to_owned()));
    }

    #[test]
    fn value_without_a_kind_is_rejected() {
        let message = "documents[3].fields.f: must have a value; null stands for none";
        assert_eq!(read([("f", Sent { kind: None })]), Err(message.to_owned()));
        assert!(
            read([("Not a name", Sent { kind: None })]).expect_err("a violation").starts_with("documents[3].fields: ")
        );
    }

    #[test]
    fn stored_values_take_their_form_of_the_contract() {
        let name = |text: &str| FieldName::new(text).expect("a name");
        let fields = [
            (name("count"), Value::Integer(-7)),
            (name("due"), Value::Timestamp(1_795_856_400_120)),
            (name("extra"), Value::Json(r#"{"a":null}"#.into())),
            (name("labels"), Value::Tags(vec!["a".into()])),
            (name("open"), Value::Boolean(false)),
            (name("price"), Value::Decimal(0.5)),
            (name("title"), Value::Text(String::new())),
        ];
        let sent = to_struct(fields.into());
        let mut violations = Violations::new();
        let json = Json::Object(super::fields(sent, "document", &mut violations));
        let expected = r#"{"count":-7,"due":"2026-11-28T09:00:00.120Z","extra":{"a":null},"labels":["a"],"open":false,"price":0.5,"title":""}"#;
        assert_eq!(json.to_string(), expected);
    }
}

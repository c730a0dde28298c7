//! Table of rules and examples, compared with the descriptors and the document.

use std::collections::BTreeSet;

use keyplane_testkit::OpenApi;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};

use super::super::{behavior, document, examples};
use crate::http::{Binding, bindings, pool};
use crate::rules;

/// Fields that JSON callers can send, other than those that the path binds; and full names of all messages.
fn sendable() -> (Vec<FieldDescriptor>, BTreeSet<String>) {
    let (mut fields, mut messages) = (Vec::new(), BTreeSet::new());
    for binding in bindings() {
        let mut seen = BTreeSet::new();
        gather(&binding.method.input(), &binding, "", &mut fields, &mut seen);
        messages.extend(seen);
    }
    (fields, messages)
}

fn gather(
    message: &MessageDescriptor,
    binding: &Binding,
    at: &str,
    fields: &mut Vec<FieldDescriptor>,
    seen: &mut BTreeSet<String>,
) {
    seen.insert(message.full_name().to_owned());
    for field in message.fields() {
        let path = format!("{at}{}", field.name());
        let is_resource_name = path == format!("{}.name", binding.body);
        if binding.bound.contains(&path) || is_resource_name || behavior::is_output_only(&field) {
            continue;
        }
        fields.push(field.clone());
        let Kind::Message(mut inner) = field.kind() else { continue };
        if field.is_map() {
            let Kind::Message(value) = inner.map_entry_value_field().kind() else { continue };
            inner = value;
        }
        if !inner.full_name().starts_with("google.") && !seen.contains(inner.full_name()) {
            gather(&inner, binding, &format!("{path}."), fields, seen);
        }
    }
}

/// Returns whether any value of the type might break a rule.
fn can_break_a_rule(field: &FieldDescriptor) -> bool {
    if field.is_list() || field.is_map() {
        return true;
    }
    if let Kind::Message(message) = field.kind() {
        return ["google.protobuf.Duration", "google.protobuf.FieldMask"].contains(&message.full_name());
    }
    !matches!(field.kind(), Kind::Bool | Kind::Enum(_))
}

#[test]
fn every_field_that_callers_send_has_a_rule() {
    let (fields, _) = sendable();
    let without: BTreeSet<_> = fields
        .iter()
        .filter(|field| can_break_a_rule(field) && rules::rule(field.full_name()).is_none())
        .map(FieldDescriptor::full_name)
        .collect();
    assert!(
        without.is_empty(),
        "add the rule that the service checks, or Rule::Free, to shared/contracts/src/rules: {without:#?}"
    );
}

#[test]
fn every_rule_is_that_of_a_field_or_a_message() {
    let (fields, messages) = sendable();
    let fields: BTreeSet<_> = fields.iter().map(|field| field.full_name().to_owned()).collect();
    let known = |name: &str| fields.contains(name) || messages.contains(name);
    for (package, table, _) in rules::TABLES {
        for (name, _) in table {
            assert!(known(&format!("{package}{name}")), "{package}: no caller sends {name}");
        }
    }
}

#[test]
fn always_sent_names_message_fields() {
    for (package, _, names) in rules::TABLES {
        for name in names {
            let (message, field) = name.split_once('.').unwrap();
            let message = pool().get_message_by_name(&format!("{package}{message}")).unwrap();
            let field = message.get_field_by_name(field).unwrap_or_else(|| panic!("there is no {name}"));
            assert!(field.supports_presence(), "{name} is always printed");
        }
    }
}

/// Parses `json` as protobuf's own mapping has it: no unknown field, no wrong type.
fn parse(message: MessageDescriptor, json: &Value) -> Result<DynamicMessage, serde_json::Error> {
    let text = json.to_string();
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    DynamicMessage::deserialize(message, &mut deserializer)
}

#[test]
fn every_example_keeps_its_schema_and_its_message() {
    let document = document(&[]);
    let api = OpenApi::new(&document);
    for binding in bindings() {
        let at = format!("{} {}", binding.verb, binding.path);
        let example = examples::example(&binding);
        let described = &document["paths"][&binding.path][binding.verb.to_lowercase()];
        for parameter in described["parameters"].as_array().unwrap() {
            if let Some(value) = parameter.get("example") {
                assert_eq!(api.broken(&parameter["schema"], value), [""; 0], "{at} {}", parameter["name"]);
            }
        }
        let known = |name: &String| described["parameters"].as_array().unwrap().iter().any(|one| one["name"] == **name);
        assert!(example.query.keys().all(known), "{at}: a parameter of the example is none");
        assert!(binding.variables.iter().all(|name| example.path.contains_key(name)), "{at}: no example of the path");

        let content = described["requestBody"]["content"].as_object().into_iter().flatten();
        for (kind, content) in content {
            assert_eq!(api.broken(&content["schema"], &content["example"]), [""; 0], "{at} {kind}");
        }
        assert_eq!(described.get("requestBody").is_some(), !example.body.is_null(), "{at}: a body too few or too many");
        for (status, response) in described["responses"].as_object().unwrap() {
            for content in response["content"].as_object().unwrap().values() {
                if let Some(example) = content.get("example") {
                    assert_eq!(api.broken(&content["schema"], example), [""; 0], "{at} {status}");
                }
            }
        }
        if !binding.streams_events() {
            parse(binding.method.output(), &example.response).unwrap_or_else(|error| panic!("{at}: {error}"));
        }
    }
}

#[test]
fn the_example_of_a_stream_holds_an_event() {
    let document = document(&[]);
    let streams = bindings().into_iter().filter(Binding::streams_events);
    for binding in streams {
        let text = examples::example(&binding).response;
        let data = text.as_str().unwrap().lines().find_map(|line| line.strip_prefix("data: ")).expect("a line of data");
        let event: Value = serde_json::from_str(data).unwrap();
        assert_eq!(
            OpenApi::new(&document).broken(&json!({"$ref": "#/components/schemas/SessionEvent"}), &event),
            [""; 0]
        );
        parse(pool().get_message_by_name(super::super::EVENT).unwrap(), &event).unwrap();
    }
}

//! Parameters in path, query and header.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};

use super::behavior::is_required;
use super::examples::Example;
use super::schema::{Schemas, Usage};
use crate::http::Binding;
use crate::rules;

pub(super) fn parameters(binding: &Binding, example: &Example, schemas: &mut Schemas) -> Vec<Value> {
    let mut parameters: Vec<_> = binding.variables.iter().map(|name| path_variable(name, example)).collect();
    if binding.body != "*" {
        let request = binding.method.input();
        query(binding, &request, "", "", schemas, &mut parameters);
    }
    if binding.streams_events() {
        let after = parameters.iter().find(|parameter| parameter["name"] == "after");
        let schema = after.map_or_else(|| json!({"type": "string"}), |after| after["schema"].clone());
        parameters.push(json!({
            "name": "Last-Event-ID", "in": "header", "schema": schema,
            "description": "The id of the last event that was seen; a browser's EventSource sends it when it reconnects.",
        }));
    }
    if let Some(field) = binding.if_match() {
        let tag = if field == "version" { "[0-9]{1,9}" } else { "[!#-+.0-~-]{1,128}" };
        parameters.push(json!({
            "name": "If-Match", "in": "header", "schema": {"type": "string", "pattern": format!("^(\"{tag}\"|\\*)$")},
            "description": format!("The `{field}` that the resource must have, in quotes; `*` stands for any."),
        }));
    }
    for parameter in &mut parameters {
        let name = parameter["name"].as_str().unwrap_or_default();
        if let Some(value) = example.query.get(name) {
            parameter["example"] = value.clone();
        }
    }
    parameters
}

/// Last variable of the path, spelled like a type: `User`.
pub(super) fn singular_owner(binding: &Binding) -> String {
    let name = binding.variables.last().map(String::as_str).unwrap_or_default();
    let (initial, rest) = name.split_at(name.len().min(1));
    initial.to_uppercase() + rest
}

fn path_variable(name: &str, example: &Example) -> Value {
    let mut schema = json!({"type": "string"});
    if let Some(pattern) = rules::path_variable(name) {
        schema["pattern"] = json!(format!("^{pattern}$"));
    }
    let mut parameter = json!({"name": name, "in": "path", "required": true, "schema": schema});
    if let Some(value) = example.path.get(name) {
        parameter["example"] = value.clone();
    }
    parameter
}

/// Adds the fields that neither path nor body binds. `proto` and `name` are the prefix in either spelling.
fn query(
    binding: &Binding,
    message: &MessageDescriptor,
    proto: &str,
    name: &str,
    schemas: &mut Schemas,
    parameters: &mut Vec<Value>,
) {
    for field in message.fields() {
        let proto = format!("{proto}{}", field.name());
        let name = format!("{name}{}", field.json_name());
        if binding.bound.contains(&proto) || binding.body == proto || field.is_map() {
            continue;
        }
        if let Some(nested) = nested(&field) {
            if !field.is_list() {
                query(binding, &nested, &format!("{proto}."), &format!("{name}."), schemas, parameters);
            }
            continue;
        }
        let mut parameter = json!({"name": name, "in": "query", "schema": schemas.field(&field, Usage::Request)});
        if let Some(schema) = parameter["schema"].as_object_mut()
            && let Some(text) = schema.remove("description")
        {
            parameter["description"] = text;
        }
        if is_required(&field) {
            parameter["required"] = json!(true);
        }
        parameters.push(parameter);
    }
}

/// Message of a field whose own fields are bound one by one.
fn nested(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let Kind::Message(message) = field.kind() else { return None };
    (message.package_name() != "google.protobuf").then_some(message)
}

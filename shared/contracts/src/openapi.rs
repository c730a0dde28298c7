//! The OpenAPI 3.0.3 document of the JSON routes, made from the descriptor set.
//!
//! Flat enough for low-code importers (OutSystems): every field is typed, nothing is composed (`oneOf`, `allOf`),
//! enums and errors are named schemas, 64-bit integers are strings as the gateway prints them.

mod error;
mod oauth;
mod schema;

use std::collections::BTreeSet;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use crate::http::{Binding, bindings};
use schema::{Schemas, comment};

/// The document: the same protos and `servers` always give the same one.
///
/// `servers` are base URLs such as `http://localhost:8080`, the preferred one first; none means the address that
/// the document was read from.
#[must_use]
pub fn document(servers: &[String]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    let mut tags = Map::new();
    let mut operations = BTreeSet::new();
    for binding in bindings() {
        let service = binding.method.parent_service();
        let tag = json!({"name": service.name(), "description": comment(service)});
        tags.insert(service.name().to_owned(), tag);
        let id = operation_id(&binding, &mut operations);
        let path = paths.entry(binding.path.clone()).or_insert_with(|| json!({}));
        path[binding.verb.to_lowercase()] = operation(&binding, id, &mut schemas);
    }
    let servers: Vec<_> = servers.iter().map(|url| json!({"url": url})).collect();
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Keyplane",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The JSON routes of a platform's in-memory data plane. Each is one RPC, served by the gateway.",
        },
        "servers": if servers.is_empty() { vec![json!({"url": "/"})] } else { servers },
        "tags": tags.into_iter().map(|(_, tag)| tag).collect::<Vec<_>>(),
        "paths": paths,
        "components": {"schemas": schemas.into_map(), "securitySchemes": oauth::security_schemes()},
    })
}

/// The RPC's name, numbered for additional bindings, with the service before it where another service has it too.
fn operation_id(binding: &Binding, taken: &mut BTreeSet<String>) -> String {
    let mut id = binding.method.name().to_owned();
    if binding.index > 0 {
        id.push_str(&(binding.index + 1).to_string());
    }
    if taken.contains(&id) {
        id = format!("{}{id}", binding.method.parent_service().name().trim_end_matches("Service"));
    }
    taken.insert(id.clone());
    id
}

fn operation(binding: &Binding, id: String, schemas: &mut Schemas) -> Value {
    let text = comment(&binding.method);
    let line = text.replace('\n', " ");
    let summary = line.split_once(". ").map_or(line.as_str(), |(sentence, _)| sentence);
    let mut operation = json!({
        "operationId": id,
        "summary": summary,
        "description": text,
        "tags": [binding.method.parent_service().name()],
        "parameters": parameters(binding, schemas),
        "responses": responses(binding, schemas),
        "security": oauth::security(binding),
    });
    if let Some(content) = body(binding, schemas) {
        operation["requestBody"] = json!({"content": content});
    }
    operation
}

fn parameters(binding: &Binding, schemas: &mut Schemas) -> Vec<Value> {
    let mut parameters: Vec<_> = binding
        .variables
        .iter()
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    if binding.body != "*" {
        let request = binding.method.input();
        query(binding, &request, "", "", schemas, &mut parameters);
    }
    if streams_events(binding) {
        parameters.push(json!({
            "name": "Last-Event-ID", "in": "header", "schema": {"type": "string"},
            "description": "The id of the last event that was seen; a browser's EventSource sends it when it reconnects.",
        }));
    }
    parameters
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
        let mut parameter = json!({"name": name, "in": "query", "schema": schemas.field(&field)});
        if let Some(schema) = parameter["schema"].as_object_mut()
            && let Some(text) = schema.remove("description")
        {
            parameter["description"] = text;
        }
        if schema::is_required(&field) {
            parameter["required"] = json!(true);
        }
        parameters.push(parameter);
    }
}

/// The message of a field whose own fields are bound one by one.
fn nested(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let Kind::Message(message) = field.kind() else { return None };
    (message.package_name() != "google.protobuf").then_some(message)
}

/// The body, by content type.
fn body(binding: &Binding, schemas: &mut Schemas) -> Option<Value> {
    let request = binding.method.input();
    let schema = match binding.body.as_str() {
        "" => None,
        "*" => {
            let left = |field: &FieldDescriptor| !binding.bound.iter().any(|bound| bound == field.name());
            schemas.body(&format!("{}Body", binding.method.name()), &request, left)
        }
        name => {
            let field = request.get_field_by_name(name)?;
            if is_raw(&field) {
                let any = || json!({"*/*": {"schema": {"type": "string", "format": "binary"}}});
                return Some(oauth::raw_body(binding).unwrap_or_else(any));
            }
            Some(schemas.field(&field))
        }
    };
    schema.map(|schema| json!({"application/json": {"schema": schema}}))
}

/// Whether the field takes a body's bytes as they are.
fn is_raw(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(message) if message.full_name() == "google.api.HttpBody")
}

fn streams_events(binding: &Binding) -> bool {
    binding.method.is_server_streaming() && binding.method.output().full_name() == "google.api.HttpBody"
}

fn responses(binding: &Binding, schemas: &mut Schemas) -> Value {
    let output = binding.method.output();
    let content = if streams_events(binding) {
        json!({"text/event-stream": {"schema": {"type": "string", "description": "Server-Sent Events."}}})
    } else if output.full_name() == "google.api.HttpBody" {
        json!({"*/*": {"schema": {"type": "string", "format": "binary"}}})
    } else {
        json!({"application/json": {"schema": schemas.message(&output)}})
    };
    let mut responses = json!({"200": {"description": "OK", "content": content}});
    for (status, description) in error::STATUSES {
        let schema = schemas.error();
        responses[status] = json!({"description": description, "content": {"application/json": {"schema": schema}}});
    }
    responses
}

#[cfg(test)]
mod tests;

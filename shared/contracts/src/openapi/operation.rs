//! One operation: a route to an RPC.

use prost_reflect::{FieldDescriptor, Kind};
use serde_json::{Value, json};

use super::comments::comment;
use super::examples::{Example, example, title};
use super::parameters::{parameters, singular_owner};
use super::schema::{Schemas, Usage, reference};
use super::{error, oauth};
use crate::http::{Binding, bindings};

pub(super) fn operation(binding: &Binding, schemas: &mut Schemas) -> Value {
    let text = comment(&binding.method.parent_service().parent_file(), binding.method.path());
    let line = text.replace('\n', " ");
    let summary = line.split_once(". ").map_or(line.as_str(), |(sentence, _)| sentence);
    let example = example(binding);
    let mut operation = json!({
        "operationId": id(binding),
        "summary": summary,
        "description": text,
        "tags": [binding.method.parent_service().name()],
        "parameters": parameters(binding, &example, schemas),
        "responses": responses(binding, &example, schemas),
        "security": oauth::security(binding),
    });
    if let Some(body) = body(binding, &example, schemas) {
        operation["requestBody"] = body;
    }
    operation
}

/// Operation id: the RPC's name. A second route adds its verb (`UpdateSessionByPost`), or the end of its path
/// (`StreamSessionEventsOfUser`); RPCs of one name by their services (`ListRateLimitAuditEntries`).
fn id(binding: &Binding) -> String {
    let bindings = bindings();
    let service = binding.method.parent_service();
    let mut id = binding.method.name().to_owned();
    let is_taken = |other: &Binding| other.method.name() == id && other.method.parent_service() != service;
    if bindings.iter().any(is_taken) {
        let second_word = id.char_indices().skip(1).find(|(_, letter)| letter.is_uppercase());
        let at = second_word.map_or(id.len(), |(at, _)| at);
        id.insert_str(at, service.name().trim_end_matches("Service"));
    }
    if binding.index > 0 {
        let first = bindings.iter().find(|other| other.method == binding.method);
        let same_verb = first.is_some_and(|first| first.verb == binding.verb);
        id += &if same_verb { format!("Of{}", singular_owner(binding)) } else { format!("By{}", title(binding.verb)) };
    }
    id
}

/// Returns whether the field takes the bytes of a body as they are.
fn is_raw(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(message) if message.full_name() == "google.api.HttpBody")
}

/// The body, with its example.
fn body(binding: &Binding, example: &Example, schemas: &mut Schemas) -> Option<Value> {
    let request = binding.method.input();
    let schema = match binding.body.as_str() {
        "" => None,
        "*" => {
            let left = |field: &FieldDescriptor| !binding.bound.iter().any(|bound| bound == field.name());
            schemas.body(&format!("{}Body", binding.method.name()), &request, Usage::Request, left)
        }
        name => {
            let field = request.get_field_by_name(name)?;
            if is_raw(&field) {
                return Some(json!({"required": true, "content": oauth::raw_body(binding, &example.body)}));
            }
            let Kind::Message(resource) = field.kind() else { return None };
            let changes = binding.method.name().starts_with("Update");
            let (usage, suffix) = if changes { (Usage::Patch, "Patch") } else { (Usage::Request, "Input") };
            // The path names the resource, or the service does.
            schemas.body(&format!("{}{suffix}", resource.name()), &resource, usage, |field| field.name() != "name")
        }
    }?;
    let required = schemas.requires(&schema);
    Some(json!({
        "required": required,
        "content": {"application/json": {"schema": schema, "example": example.body}},
    }))
}

fn responses(binding: &Binding, example: &Example, schemas: &mut Schemas) -> Value {
    let output = binding.method.output();
    let content = if binding.streams_events() {
        schemas.events();
        let description = "Server-Sent Events. `data` of each is a SessionEvent in one line of JSON; of the event `error`, \
            a StreamError.";
        let schema = json!({"type": "string", "description": description});
        json!({"text/event-stream": {"schema": schema, "example": example.response}})
    } else {
        let schema = schemas.message(&output, Usage::Response);
        json!({"application/json": {"schema": schema, "example": example.response}})
    };
    let mut responses = json!({"200": {"description": "OK", "content": content}});
    if !binding.needs_token() {
        let content =
            json!({"application/json": {"schema": reference(error::OAUTH), "example": oauth::error_example()}});
        responses["400"] = json!({"description": "The request breaks a rule: fix it.", "content": content});
        responses["default"] = json!({"description": "Any other error.", "content": content});
        return responses;
    }
    for (status, description, reason, message) in error::STATUSES {
        let example = error::example(status, reason, message);
        let content = json!({"application/json": {"schema": reference(error::NAME), "example": example}});
        responses[status] = json!({"description": description, "content": content});
    }
    let content = json!({"application/json": {"schema": reference(error::NAME)}});
    responses["default"] = json!({"description": "Any other error.", "content": content});
    responses
}

//! Schemas of messages and enums.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::behavior::{is_immutable, is_output_only, is_required};
use super::comments::comment;
use super::well_known::well_known;
use super::{EVENT, error};
use crate::http::{bindings, pool};
use crate::rules::{self, Rule};

/// Direction in which a message goes, which decides what its schema requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// Response: every field that is always sent is required.
    Response,
    /// Event: empty fields are left out.
    Event,
    /// Request: the rules of the service hold, and fields that the service sets are left out.
    Request,
    /// Request that changes a resource: nothing is required, and immutable fields are left out.
    Patch,
}

/// Named schemas of the document; each is added at the first reference to it.
pub(super) struct Schemas {
    found: Map<String, Value>,
    /// Number of messages and enums by short name, as a name that two packages use needs a prefix.
    short_names: BTreeMap<String, usize>,
    /// Full names of messages that responses hold.
    answered: BTreeSet<String>,
}

// === impl Schemas ===

impl Schemas {
    pub(super) fn new() -> Schemas {
        let mut short_names = BTreeMap::new();
        let messages = pool().all_messages().map(|message| short_name(message.full_name(), message.package_name()));
        let enums = pool().all_enums().map(|item| short_name(item.full_name(), item.package_name()));
        for name in messages.chain(enums) {
            *short_names.entry(name).or_default() += 1;
        }
        let mut answered = BTreeSet::new();
        bindings().iter().for_each(|binding| reach(&binding.method.output(), &mut answered));
        Schemas { found: error::schemas(), short_names, answered }
    }

    pub(super) fn into_map(self) -> Map<String, Value> {
        self.found
    }

    /// Adds the schemas of what a stream of events holds.
    pub(super) fn events(&mut self) {
        if let Some(event) = pool().get_message_by_name(EVENT) {
            self.message(&event, Usage::Event);
        }
    }

    /// Schema of a field, with its comment unless it is a `$ref`, beside which OpenAPI 3.0 allows none.
    pub(super) fn field(&mut self, field: &FieldDescriptor, usage: Usage) -> Value {
        // A nested message is sent whole, even when the resource is changed in part.
        let inner = if usage == Usage::Patch { Usage::Request } else { usage };
        let mut schema = if field.is_map() {
            let Kind::Message(entry) = field.kind() else { unreachable!("a map's kind is its entry") };
            let value = self.kind(&entry.map_entry_value_field().kind(), inner);
            json!({"type": "object", "additionalProperties": value})
        } else if field.cardinality() == Cardinality::Repeated {
            let items = self.kind(&field.kind(), inner);
            json!({"type": "array", "items": items})
        } else {
            self.kind(&field.kind(), inner)
        };
        if schema.get("$ref").is_some() {
            return schema;
        }
        schema["description"] = json!(comment(&field.parent_file(), field.path()));
        if matches!(usage, Usage::Request | Usage::Patch)
            && let Some(rule) = rules::rule(field.full_name())
        {
            state(&rule, &mut schema);
        }
        schema
    }

    /// Reference to the schema of `message`, or the schema itself if JSON prints the message as a plain value.
    pub(super) fn message(&mut self, message: &MessageDescriptor, usage: Usage) -> Value {
        if let Some(schema) = well_known(message.full_name()) {
            return schema;
        }
        let plain = self.name(message.full_name(), message.package_name());
        let name = match usage {
            Usage::Request if self.answered.contains(message.full_name()) => format!("{plain}Input"),
            Usage::Event if message.full_name() != EVENT => format!("Partial{plain}"),
            Usage::Response | Usage::Event | Usage::Request | Usage::Patch => plain,
        };
        if !self.found.contains_key(&name) {
            // Taken before it is filled, since a message may hold itself.
            self.found.insert(name.clone(), Value::Null);
            let schema = self.object(message, usage, |_| true);
            self.found.insert(name.clone(), schema);
        }
        reference(&name)
    }

    /// Adds the schema `name` of the fields of `message` for which `keep` holds, and returns a reference; `None` if it has no field.
    pub(super) fn body(
        &mut self,
        name: &str,
        message: &MessageDescriptor,
        usage: Usage,
        keep: impl Fn(&FieldDescriptor) -> bool,
    ) -> Option<Value> {
        let schema = self.object(message, usage, keep);
        schema["properties"].as_object().filter(|properties| !properties.is_empty())?;
        self.found.insert(name.to_owned(), schema);
        Some(reference(name))
    }

    /// Returns whether the schema behind `reference` requires a property.
    pub(super) fn requires(&self, reference: &Value) -> bool {
        let name = reference["$ref"].as_str().and_then(|path| path.rsplit('/').next());
        name.and_then(|name| self.found.get(name)).is_some_and(|schema| schema.get("required").is_some())
    }

    fn object(&mut self, message: &MessageDescriptor, usage: Usage, keep: impl Fn(&FieldDescriptor) -> bool) -> Value {
        let sent = |field: &FieldDescriptor| match usage {
            Usage::Response | Usage::Event => true,
            Usage::Request => !is_output_only(field),
            Usage::Patch => !is_output_only(field) && !is_immutable(field),
        };
        let fields: Vec<_> = message.fields().filter(|field| keep(field) && sent(field)).collect();
        let properties: Map<_, _> =
            fields.iter().map(|field| (field.json_name().to_owned(), self.field(field, usage))).collect();
        let mut schema = json!({"type": "object", "description": comment(&message.parent_file(), message.path()), "properties": properties});
        let required: Vec<_> =
            fields.iter().filter(|field| requires(field, usage)).map(FieldDescriptor::json_name).collect();
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        if matches!(usage, Usage::Request | Usage::Patch) {
            schema["additionalProperties"] = json!(false);
        }
        if rules::rule(message.full_name()) == Some(Rule::OneOf) {
            schema["minProperties"] = json!(1);
            schema["maxProperties"] = json!(1);
        }
        schema
    }

    fn enumeration(&mut self, item: &EnumDescriptor) -> Value {
        let name = self.name(item.full_name(), item.package_name());
        let file = item.parent_file();
        let values: Vec<_> = item.values().map(|value| value.name().to_owned()).collect();
        let line = |path: &[i32]| comment(&file, path).replace('\n', " ");
        let lines: Vec<_> =
            item.values().map(|value| format!("- `{}`: {}", value.name(), line(value.path()))).collect();
        let description = format!("{}\n\n{}", comment(&file, item.path()), lines.join("\n"));
        self.found.insert(name.clone(), json!({"type": "string", "enum": values, "description": description}));
        reference(&name)
    }

    fn kind(&mut self, kind: &Kind, usage: Usage) -> Value {
        match kind {
            Kind::Double => json!({"type": "number", "format": "double"}),
            Kind::Float => json!({"type": "number", "format": "float"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({"type": "integer", "format": "int32"}),
            // OpenAPI has no unsigned numbers; 32 unsigned bits fit into 64 signed ones.
            Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "format": "int64", "minimum": 0}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => long(usage),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "format": "byte"}),
            Kind::Message(message) => self.message(message, usage),
            Kind::Enum(item) => self.enumeration(item),
        }
    }

    /// Short name of a schema; with the package's name before it if another package has the same short name.
    fn name(&self, full_name: &str, package: &str) -> String {
        let short = short_name(full_name, package);
        if self.short_names.get(&short).is_none_or(|count| *count < 2) {
            return short;
        }
        let domain = package.split('.').nth(1).unwrap_or(package);
        format!("{}{}{short}", domain[..1].to_uppercase(), &domain[1..])
    }
}

// === helpers ===

/// Schema of a number of 64 bits. JSON prints it as a string, since JavaScript's numbers hold 53 bits, and accepts either.
/// Numbers in requests are all below 2^53, so the document asks for a number there.
fn long(usage: Usage) -> Value {
    match usage {
        Usage::Response | Usage::Event => json!({"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"}),
        Usage::Request | Usage::Patch => json!({"type": "integer", "format": "int64"}),
    }
}

/// Returns whether every message of this usage has the field.
fn requires(field: &FieldDescriptor, usage: Usage) -> bool {
    let printed = field.is_list() || field.is_map() || !field.supports_presence();
    match usage {
        Usage::Response => printed || rules::is_always_sent(field.full_name()),
        Usage::Event => field.parent_message().full_name() == EVENT && ["id", "type", "time"].contains(&field.name()),
        // An item of a batch takes the batch's; elsewhere it is in the path.
        Usage::Request => is_required(field) && field.name() != "parent",
        Usage::Patch => false,
    }
}

/// Adds the keywords of `rule`, and of its items or values, to `schema`.
fn state(rule: &Rule, schema: &mut Value) {
    for (word, value) in rule.keywords() {
        schema[word] = value;
    }
    if let Rule::Items { each: Some(each), .. } = rule {
        state(each, &mut schema["items"]);
    }
    if let Rule::Pairs { value: Some(value), .. } = rule {
        state(value, &mut schema["additionalProperties"]);
    }
}

/// Notes `message` and all that it holds.
fn reach(message: &MessageDescriptor, found: &mut BTreeSet<String>) {
    if !found.insert(message.full_name().to_owned()) {
        return;
    }
    for field in message.fields() {
        if let Kind::Message(inner) = field.kind() {
            reach(&inner, found);
        }
    }
}

pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// `SessionEventType` of `keyplane.session.v1.SessionEvent.Type`.
fn short_name(full_name: &str, package: &str) -> String {
    full_name.strip_prefix(package).unwrap_or(full_name).replace('.', "")
}

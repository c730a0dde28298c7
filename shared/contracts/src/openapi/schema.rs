//! Schemas of messages and enums.

use std::collections::BTreeMap;

use prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use prost_reflect::{MethodDescriptor, ServiceDescriptor, Value as ProtoValue};
use serde_json::{Map, Value, json};

use super::error;
use crate::http::pool;

/// The named schemas that the document refers to; each is added when it is first referred to.
pub(super) struct Schemas {
    found: Map<String, Value>,
    /// How many messages and enums there are by short name, as a name that two packages use needs a prefix.
    short_names: BTreeMap<String, usize>,
}

/// What can carry a comment in a proto file.
pub(super) trait Commented {
    /// The leading comment, without the indent of its lines.
    fn text(&self) -> Option<String>;
}

/// The leading comment of `item`; empty if there is none.
pub(super) fn comment(item: &impl Commented) -> String {
    item.text().unwrap_or_default()
}

/// Whether the field is marked REQUIRED.
pub(super) fn is_required(field: &FieldDescriptor) -> bool {
    has_behavior(field, "REQUIRED")
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
        Schemas { found: Map::new(), short_names }
    }

    pub(super) fn into_map(self) -> Map<String, Value> {
        self.found
    }

    /// A reference to the one error schema.
    pub(super) fn error(&mut self) -> Value {
        if !self.found.contains_key("Error") {
            error::schemas(&mut self.found);
        }
        reference("Error")
    }

    /// The schema of a field, with its comment wherever OpenAPI 3.0 allows one (beside `$ref` it does not).
    pub(super) fn field(&mut self, field: &FieldDescriptor) -> Value {
        let mut schema = if field.is_map() {
            let Kind::Message(entry) = field.kind() else { unreachable!("a map's kind is its entry") };
            let value = self.kind(&entry.map_entry_value_field().kind());
            json!({"type": "object", "additionalProperties": value})
        } else if field.cardinality() == Cardinality::Repeated {
            let items = self.kind(&field.kind());
            json!({"type": "array", "items": items})
        } else {
            self.kind(&field.kind())
        };
        if schema.get("$ref").is_none() {
            schema["description"] = json!(comment(field));
            if has_behavior(field, "OUTPUT_ONLY") {
                schema["readOnly"] = json!(true);
            }
            if has_behavior(field, "INPUT_ONLY") {
                schema["writeOnly"] = json!(true);
            }
        }
        schema
    }

    /// A reference to the schema of `message`, or the schema itself where the message is printed as a plain value.
    pub(super) fn message(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(schema) = well_known(message.full_name()) {
            return schema;
        }
        let name = self.name(message.full_name(), message.package_name());
        if !self.found.contains_key(&name) {
            // Taken before it is filled, since a message may hold itself.
            self.found.insert(name.clone(), Value::Null);
            let schema = self.object(message, |_| true);
            self.found.insert(name.clone(), schema);
        }
        reference(&name)
    }

    /// A reference to the schema, named `name`, of those fields of `message` that `keep` holds; none if it keeps none.
    pub(super) fn body(
        &mut self,
        name: &str,
        message: &MessageDescriptor,
        keep: impl Fn(&FieldDescriptor) -> bool,
    ) -> Option<Value> {
        if !message.fields().any(|field| keep(&field)) {
            return None;
        }
        let schema = self.object(message, keep);
        self.found.insert(name.to_owned(), schema);
        Some(reference(name))
    }

    fn object(&mut self, message: &MessageDescriptor, keep: impl Fn(&FieldDescriptor) -> bool) -> Value {
        let fields: Vec<_> = message.fields().filter(|field| keep(field)).collect();
        let properties: Map<_, _> =
            fields.iter().map(|field| (field.json_name().to_owned(), self.field(field))).collect();
        let mut schema = json!({"type": "object", "description": comment(message), "properties": properties});
        let required: Vec<_> =
            fields.iter().filter(|field| is_required(field)).map(FieldDescriptor::json_name).collect();
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    }

    fn enumeration(&mut self, item: &EnumDescriptor) -> Value {
        let name = self.name(item.full_name(), item.package_name());
        let values: Vec<_> = item.values().map(|value| value.name().to_owned()).collect();
        let lines: Vec<_> = item
            .values()
            .map(|value| format!("- `{}`: {}", value.name(), comment_at(value.parent_enum(), value.path())))
            .collect();
        let description = format!("{}\n\n{}", comment(item), lines.join("\n"));
        self.found.insert(name.clone(), json!({"type": "string", "enum": values, "description": description}));
        reference(&name)
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Double => json!({"type": "number", "format": "double"}),
            Kind::Float => json!({"type": "number", "format": "float"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({"type": "integer", "format": "int32"}),
            // OpenAPI has no unsigned numbers; 32 unsigned bits fit into 64 signed ones.
            Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "format": "int64", "minimum": 0}),
            // Printed as strings, as JavaScript's numbers hold 53 bits.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({"type": "string", "format": "int64"}),
            Kind::Uint64 | Kind::Fixed64 => json!({"type": "string", "format": "uint64"}),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "format": "byte"}),
            Kind::Message(message) => self.message(message),
            Kind::Enum(item) => self.enumeration(item),
        }
    }

    /// The short name if only one package uses it, else with the package's name before it.
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

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// `SessionEventType` of `keyplane.session.v1.SessionEvent.Type`.
fn short_name(full_name: &str, package: &str) -> String {
    full_name.strip_prefix(package).unwrap_or(full_name).replace('.', "")
}

/// Messages that JSON prints as something else than an object of their fields.
fn well_known(full_name: &str) -> Option<Value> {
    let scalar = |kind: &str, format: &str| json!({"type": kind, "format": format, "nullable": true});
    Some(match full_name {
        "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
        // Not the format `duration`, which is ISO 8601's.
        "google.protobuf.Duration" => {
            json!({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$", "example": "1800s"})
        }
        "google.protobuf.FieldMask" => json!({"type": "string", "example": "lastPath,attributes"}),
        "google.protobuf.Empty" | "google.protobuf.Any" | "google.protobuf.Struct" => json!({"type": "object"}),
        "google.protobuf.StringValue" => json!({"type": "string", "nullable": true}),
        "google.protobuf.BoolValue" => json!({"type": "boolean", "nullable": true}),
        "google.protobuf.BytesValue" => scalar("string", "byte"),
        "google.protobuf.Int32Value" => scalar("integer", "int32"),
        "google.protobuf.UInt32Value" => scalar("integer", "int64"),
        "google.protobuf.Int64Value" => scalar("string", "int64"),
        "google.protobuf.UInt64Value" => scalar("string", "uint64"),
        "google.protobuf.FloatValue" => scalar("number", "float"),
        "google.protobuf.DoubleValue" => scalar("number", "double"),
        _ => return None,
    })
}

fn has_behavior(field: &FieldDescriptor, name: &str) -> bool {
    let Some(extension) = pool().get_extension_by_name("google.api.field_behavior") else { return false };
    let options = field.options();
    let ProtoValue::List(values) = options.get_extension(&extension).into_owned() else { return false };
    let Kind::Enum(behaviors) = extension.kind() else { return false };
    values
        .iter()
        .filter_map(ProtoValue::as_enum_number)
        .filter_map(|number| behaviors.get_value(number))
        .any(|value| value.name() == name)
}

// === Commented ===

fn comment_at(parent: &EnumDescriptor, path: &[i32]) -> String {
    text_at(&parent.parent_file(), path).unwrap_or_default().replace('\n', " ")
}

fn text_at(file: &prost_reflect::FileDescriptor, path: &[i32]) -> Option<String> {
    let info = file.file_descriptor_proto().source_code_info.as_ref()?;
    let location = info.location.iter().find(|location| location.path == path)?;
    let lines: Vec<_> =
        location.leading_comments().lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    Some(lines.join("\n").trim().to_owned())
}

impl Commented for MessageDescriptor {
    fn text(&self) -> Option<String> {
        text_at(&self.parent_file(), self.path())
    }
}

impl Commented for FieldDescriptor {
    fn text(&self) -> Option<String> {
        text_at(&self.parent_file(), self.path())
    }
}

impl Commented for EnumDescriptor {
    fn text(&self) -> Option<String> {
        text_at(&self.parent_file(), self.path())
    }
}

impl Commented for ServiceDescriptor {
    fn text(&self) -> Option<String> {
        text_at(&self.parent_file(), self.path())
    }
}

impl Commented for MethodDescriptor {
    fn text(&self) -> Option<String> {
        text_at(&self.parent_service().parent_file(), self.path())
    }
}

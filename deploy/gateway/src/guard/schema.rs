//! Schema of the JSON bodies: read once from the descriptors, so that a request looks nothing up in the descriptor pool.

use std::collections::HashMap;

use keyplane_contracts::http::{Binding, bindings};
use prost_reflect::{Cardinality, FieldDescriptor, Kind as ProtoKind, MessageDescriptor};

/// Bodies of all RPCs, by the RPC's path, e.g. `/keyplane.session.v1.SessionService/CreateSession`.
#[derive(Debug)]
pub(crate) struct Schemas {
    by_path: HashMap<String, Body>,
    messages: Vec<Message>,
}

/// Body of one RPC.
#[derive(Debug)]
pub(crate) struct Body {
    /// Request field that the body fills, in JSON spelling; empty: the request itself.
    pub(crate) field: String,
    /// Message in the body; none: the RPC takes no body.
    pub(crate) message: Option<MessageId>,
}

/// Index into [`Schemas::message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageId(usize);

/// Message type, as JSON has it.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) fields: Vec<Field>,
    /// Names of the fields of each oneof.
    pub(crate) oneofs: Vec<Vec<String>>,
}

/// Field of a message.
#[derive(Debug)]
pub(crate) struct Field {
    /// Name in JSON, e.g. `lastPath`.
    pub(crate) json: String,
    /// Name in the proto, e.g. `last_path`, which JSON may have too.
    pub(crate) proto: String,
    pub(crate) shape: Shape,
    /// Index into [`Message::oneofs`].
    pub(crate) oneof: Option<usize>,
    /// Whether the path of the route binds it.
    pub(crate) bound: bool,
}

/// Number of values that a field holds.
#[derive(Debug)]
pub(crate) enum Shape {
    One(Kind),
    List(Kind),
    /// Keys are strings.
    Map(Kind),
}

/// Type of one value.
#[derive(Debug)]
pub(crate) enum Kind {
    Bool,
    Integer(Integer),
    /// Whether it has 32 bits only.
    Float(bool),
    Text,
    Bytes,
    /// Values in their order: name and number.
    Enum(Vec<(String, i32)>),
    Message(MessageId),
    Duration,
    Timestamp,
    FieldMask,
}

/// Range of an integer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Integer {
    pub(crate) min: i128,
    pub(crate) max: i128,
    /// Whether canonical JSON writes it as a string, as it does with 64 bits.
    pub(crate) quoted: bool,
}

/// Type that the guard can't check.
#[derive(Debug, thiserror::Error)]
#[error("{field}: bodies with {what} are not supported")]
pub(crate) struct Unsupported {
    field: String,
    what: String,
}

/// Reads message types, each once.
#[derive(Default)]
struct Reader {
    messages: Vec<Message>,
    known: HashMap<String, MessageId>,
}

// === impl Schemas ===

impl Schemas {
    /// Bodies of every route in the contracts, those that are no JSON left out.
    pub(crate) fn of_contracts() -> Result<Schemas, Unsupported> {
        let mut reader = Reader::default();
        let mut by_path = HashMap::new();
        for binding in bindings() {
            if let Some(body) = reader.body(&binding)? {
                by_path.insert(binding.grpc_path(), body);
            }
        }
        Ok(Schemas { by_path, messages: reader.messages })
    }

    /// Body of the RPC at `path`.
    pub(crate) fn body(&self, path: &str) -> Option<&Body> {
        self.by_path.get(path)
    }

    pub(crate) fn message(&self, id: MessageId) -> &Message {
        &self.messages[id.0]
    }
}

// === impl Reader ===

impl Reader {
    /// None for bytes that the service reads itself.
    fn body(&mut self, binding: &Binding) -> Result<Option<Body>, Unsupported> {
        let request = binding.method.input();
        let bound: Vec<&str> = binding.bound.iter().map(String::as_str).collect();
        match binding.body.as_str() {
            "" => Ok(Some(Body { field: String::new(), message: None })),
            "*" => Ok(Some(Body { field: String::new(), message: Some(self.message(&request, &bound)?) })),
            name => {
                let field = request.get_field_by_name(name).ok_or_else(|| unsupported(name, "no such field"))?;
                let kind = field.kind();
                let message = kind.as_message().ok_or_else(|| unsupported(name, "a scalar"))?;
                if message.full_name() == "google.api.HttpBody" {
                    return Ok(None);
                }
                let message = self.message(message, &inside(&bound, name))?;
                Ok(Some(Body { field: field.json_name().to_owned(), message: Some(message) }))
            }
        }
    }

    fn message(&mut self, message: &MessageDescriptor, bound: &[&str]) -> Result<MessageId, Unsupported> {
        // With bound fields it is a type of its own.
        if let Some(id) = self.known.get(message.full_name()).filter(|_| bound.is_empty()) {
            return Ok(*id);
        }
        let id = MessageId(self.messages.len());
        self.messages.push(Message { fields: Vec::new(), oneofs: Vec::new() });
        if bound.is_empty() {
            self.known.insert(message.full_name().to_owned(), id);
        }
        let fields = message.fields().map(|field| self.field(message, &field, bound)).collect::<Result<Vec<_>, _>>()?;
        if fields.len() > 64 {
            return Err(unsupported(message.full_name(), "more than 64 fields"));
        }
        let names = |oneof: prost_reflect::OneofDescriptor| {
            oneof.fields().map(|field| field.json_name().to_owned()).collect::<Vec<_>>()
        };
        let oneofs = message.oneofs().map(names).collect();
        self.messages[id.0] = Message { fields, oneofs };
        Ok(id)
    }

    fn field(
        &mut self,
        message: &MessageDescriptor,
        field: &FieldDescriptor,
        bound: &[&str],
    ) -> Result<Field, Unsupported> {
        let inner = inside(bound, field.name());
        let shape = if let Some(entry) = field.kind().as_message().filter(|_| field.is_map()) {
            if entry.map_entry_key_field().kind() != ProtoKind::String {
                return Err(unsupported(field.full_name(), "a map whose keys are no strings"));
            }
            Shape::Map(self.kind(&entry.map_entry_value_field(), &[])?)
        } else if field.cardinality() == Cardinality::Repeated {
            Shape::List(self.kind(field, &[])?)
        } else {
            Shape::One(self.kind(field, &inner)?)
        };
        let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        let oneof = oneof.and_then(|oneof| message.oneofs().position(|other| other == oneof));
        Ok(Field {
            json: field.json_name().to_owned(),
            proto: field.name().to_owned(),
            shape,
            oneof,
            bound: bound.contains(&field.name()),
        })
    }

    fn kind(&mut self, field: &FieldDescriptor, bound: &[&str]) -> Result<Kind, Unsupported> {
        let integer = |min: i128, max: i128, quoted| Kind::Integer(Integer { min, max, quoted });
        Ok(match field.kind() {
            ProtoKind::Bool => Kind::Bool,
            ProtoKind::Int32 | ProtoKind::Sint32 | ProtoKind::Sfixed32 => {
                integer(i32::MIN.into(), i32::MAX.into(), false)
            }
            ProtoKind::Uint32 | ProtoKind::Fixed32 => integer(0, u32::MAX.into(), false),
            ProtoKind::Int64 | ProtoKind::Sint64 | ProtoKind::Sfixed64 => {
                integer(i64::MIN.into(), i64::MAX.into(), true)
            }
            ProtoKind::Uint64 | ProtoKind::Fixed64 => integer(0, u64::MAX.into(), true),
            ProtoKind::Float => Kind::Float(true),
            ProtoKind::Double => Kind::Float(false),
            ProtoKind::String => Kind::Text,
            ProtoKind::Bytes => Kind::Bytes,
            ProtoKind::Enum(values) => {
                Kind::Enum(values.values().map(|value| (value.name().to_owned(), value.number())).collect())
            }
            ProtoKind::Message(message) => match message.full_name() {
                "google.protobuf.Duration" => Kind::Duration,
                "google.protobuf.Timestamp" => Kind::Timestamp,
                "google.protobuf.FieldMask" => Kind::FieldMask,
                // JSON of its own, of which the contracts have none yet.
                name if name.starts_with("google.protobuf.") && name != "google.protobuf.Empty" => {
                    return Err(unsupported(field.full_name(), name));
                }
                _ => Kind::Message(self.message(&message, bound)?),
            },
        })
    }
}

/// Bound paths below `field`.
fn inside<'b>(bound: &[&'b str], field: &str) -> Vec<&'b str> {
    bound.iter().filter_map(|path| path.strip_prefix(field)?.strip_prefix('.')).collect()
}

fn unsupported(field: &str, what: &str) -> Unsupported {
    Unsupported { field: field.to_owned(), what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::Schemas;

    #[test]
    fn bound_fields_are_found_at_any_depth() {
        let schemas = Schemas::of_contracts().unwrap();
        let bound = |path: &str| {
            let body = schemas.body(path).unwrap();
            let message = schemas.message(body.message.unwrap());
            message.fields.iter().filter(|field| field.bound).map(|field| field.json.clone()).collect::<Vec<_>>()
        };
        assert_eq!(bound("/keyplane.ratelimit.v1.RateLimitService/Acquire"), ["parent"]);
        assert_eq!(bound("/keyplane.session.v1.SessionService/UpdateSession"), ["name"]);
        assert!(bound("/keyplane.session.v1.SessionService/CreateSession").is_empty());
        assert!(schemas.body("/keyplane.revocation.v1.RevocationService/RevokeOAuthToken").is_none());
        let delete = schemas.body("/keyplane.session.v1.SessionService/DeleteSession").unwrap();
        assert!(delete.message.is_none());
    }
}

//! Schema of the JSON bodies, read once from the descriptors: a request looks nothing up in the descriptor pool.

use std::collections::HashMap;

use keyplane_contracts::http::{Binding, bindings};
use percent_encoding::percent_decode_str;
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
    /// Message in the body; `None` if the RPC takes no body.
    pub(crate) message: Option<MessageId>,
    /// Routes whose template has one variable.
    routes: Vec<Route>,
}

/// Literals of a route's template around its variable: `/v1/` and `:update` of `/v1/{policy.name=policies/*}:update`.
#[derive(Debug)]
struct Route {
    prefix: String,
    suffix: String,
}

/// Index into [`Schemas::message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageId(usize);

/// Message type in JSON.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) fields: Vec<Field>,
    /// Names of the fields of each oneof.
    pub(crate) oneofs: Vec<Vec<String>>,
}

/// Field of a message.
#[derive(Debug)]
pub(crate) struct Field {
    /// Name in JSON spelling, e.g. `lastPath`.
    pub(crate) json: String,
    /// Name in proto spelling, e.g. `last_path`, which JSON accepts too.
    pub(crate) proto: String,
    pub(crate) shape: Shape,
    /// Index into [`Message::oneofs`].
    pub(crate) oneof: Option<usize>,
    /// Set by the URL's path.
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
    /// Number; true if it has 32 bits.
    Float(bool),
    Text,
    Bytes,
    /// Names and numbers, in the proto's order.
    Enum(Vec<(String, i32)>),
    Message(MessageId),
    Duration,
    Timestamp,
    FieldMask,
    /// Object of any JSON values.
    Struct,
}

/// Range of an integer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Integer {
    pub(crate) min: i128,
    pub(crate) max: i128,
    /// Written as a string in canonical JSON, since it has 64 bits.
    pub(crate) quoted: bool,
}

/// Field of a type that the guard can't check.
#[derive(Debug, thiserror::Error)]
#[error("{field}: bodies with {kind} are not supported")]
pub(crate) struct Unsupported {
    field: String,
    kind: String,
}

/// Reader of message types; it reads each once.
#[derive(Default)]
struct Reader {
    messages: Vec<Message>,
    known: HashMap<String, MessageId>,
}

// === impl Schemas ===

impl Schemas {
    /// Reads the JSON body of every route in the contracts.
    pub(crate) fn from_contracts() -> Result<Schemas, Unsupported> {
        let mut reader = Reader::default();
        let mut by_path: HashMap<String, Body> = HashMap::new();
        for binding in bindings() {
            if let Some(body) = by_path.get_mut(&binding.grpc_path()) {
                body.routes.extend(Route::new(&binding.template));
            } else if let Some(body) = reader.body(&binding)? {
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

// === impl Body ===

impl Body {
    /// Returns whether `url_path`, percent-encoded and perhaps with a query, sets the bound field to `value`.
    pub(crate) fn binds(&self, url_path: &str, value: &str) -> bool {
        let path = url_path.split('?').next().unwrap_or_default();
        let bound = |route: &Route| path.strip_prefix(&route.prefix)?.strip_suffix(&route.suffix);
        self.routes.iter().filter_map(bound).any(|bound| percent_decode_str(bound).eq(value.bytes()))
    }
}

// === impl Route ===

impl Route {
    /// `None` for a template with no variable or several.
    fn new(template: &str) -> Option<Route> {
        let (prefix, rest) = template.split_once('{')?;
        let (_, suffix) = rest.split_once('}')?;
        (!suffix.contains('{')).then(|| Route { prefix: prefix.to_owned(), suffix: suffix.to_owned() })
    }
}

// === impl Reader ===

impl Reader {
    /// Reads a route's body; `None` for bytes that the service itself parses.
    fn body(&mut self, binding: &Binding) -> Result<Option<Body>, Unsupported> {
        let request = binding.method.input();
        let bound: Vec<&str> = binding.bound.iter().map(String::as_str).collect();
        let (field, message) = match binding.body.as_str() {
            "" => (String::new(), None),
            "*" => (String::new(), Some(self.message(&request, &bound)?)),
            name => {
                let field = request.get_field_by_name(name).ok_or_else(|| unsupported(name, "no such field"))?;
                let kind = field.kind();
                let message = kind.as_message().ok_or_else(|| unsupported(name, "a scalar"))?;
                if message.full_name() == "google.api.HttpBody" {
                    return Ok(None);
                }
                (field.json_name().to_owned(), Some(self.message(message, &inside(&bound, name))?))
            }
        };
        Ok(Some(Body { field, message, routes: Route::new(&binding.template).into_iter().collect() }))
    }

    fn message(&mut self, message: &MessageDescriptor, bound: &[&str]) -> Result<MessageId, Unsupported> {
        // A message with bound fields is a type of its own.
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
                return Err(unsupported(field.full_name(), "a map whose keys are not strings"));
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
                "google.protobuf.Struct" => Kind::Struct,
                // Well-known types with a JSON form of their own; the contracts use no others yet.
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

fn unsupported(field: &str, kind: &str) -> Unsupported {
    Unsupported { field: field.to_owned(), kind: kind.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::Schemas;

    #[test]
    fn bound_fields_are_found_at_any_depth() {
        let schemas = Schemas::from_contracts().unwrap();
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

    #[test]
    fn bound_value_comes_from_the_url() {
        let schemas = Schemas::from_contracts().unwrap();
        let policy = schemas.body("/keyplane.ratelimit.v1.RateLimitService/UpdatePolicy").unwrap();
        for path in
            ["/v1/policies/a@b", "/v1/policies/a%40b", "/v1/policies/a%40b?version=3", "/v1/policies/a@b:update"]
        {
            assert!(policy.binds(path, "policies/a@b"), "{path}");
        }
        for path in ["/v1/policies/a", "/v1/policies/a@b/c", "/v1/policies/a@b:x", "/v2/policies/a@b", "/v1/", ""] {
            assert!(!policy.binds(path, "policies/a@b"), "{path}");
        }
    }
}

//! Hostile sizes in every field of every RPC: the answer stays small, and no other call is cut off.

use keyplane_contracts::http::bindings;
use keyplane_local::Grant;
use keyplane_server::errors::TRAILERS;
use prost_reflect::{
    Cardinality, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, MethodDescriptor, Value,
};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::support::bearer;
use crate::{PATIENCE, mesh, url};

/// Size of a generated request.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Number of elements in a list, and of entries in a map.
    elements: usize,
    /// Approximate length of a text, in bytes.
    bytes: usize,
    /// Use valid tenants and users; else their violation hides all others.
    parent: bool,
}

const SIZES: [Size; 4] = [
    Size { elements: 1000, bytes: 3, parent: false },
    Size { elements: 1000, bytes: 3, parent: true },
    Size { elements: 2, bytes: 60_000, parent: false },
    Size { elements: 2, bytes: 60_000, parent: true },
];

/// Depth of the deepest message.
const DEPTH: usize = 4;

// === impl Size ===

impl Size {
    fn text(self, salt: usize) -> String {
        // Three bytes a character, each percent-encoded in a message; never a valid name.
        format!("{salt} {}", "\u{20ac}".repeat(self.bytes / 3))
    }

    fn message(self, descriptor: &MessageDescriptor, depth: usize, salt: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        let fields = descriptor.fields().filter(|field| field.containing_oneof().is_none());
        // Each element of a list sets another field of a oneof.
        let chosen = descriptor.oneofs().filter_map(|oneof| {
            let fields: Vec<_> = oneof.fields().collect();
            fields.get(salt % fields.len()).cloned()
        });
        for field in fields.chain(chosen) {
            if let Some(value) = self.field(&field, depth, salt) {
                message.set_field(&field, value);
            }
        }
        message
    }

    fn field(self, field: &FieldDescriptor, depth: usize, salt: usize) -> Option<Value> {
        // Lists of lists of lists would exceed the message limit.
        let elements = if depth == 0 { self.elements } else { self.elements.min(3) };
        if field.is_map() {
            let entry = field.kind().as_message()?.clone();
            let entries = (0..elements).map(|index| {
                let value = self.single(&entry.map_entry_value_field(), depth, index);
                Some((MapKey::String(self.text(index)), value?))
            });
            return entries.collect::<Option<_>>().map(Value::Map);
        }
        if field.cardinality() == Cardinality::Repeated {
            let values = (0..elements).map(|index| self.single(field, depth, index));
            return values.collect::<Option<_>>().map(Value::List);
        }
        self.single(field, depth, salt)
    }

    fn single(self, field: &FieldDescriptor, depth: usize, salt: usize) -> Option<Value> {
        Some(match field.kind() {
            Kind::Message(inner) if depth < DEPTH => Value::Message(self.message(&inner, depth + 1, salt)),
            Kind::Message(_) => return None,
            Kind::String if self.parent && depth == 0 && ["parent", "name"].contains(&field.name()) => {
                let session = field.parent_message().full_name().contains(".session.");
                Value::String(if session { "tenants/demo/users/u" } else { "tenants/demo" }.to_owned())
            }
            Kind::String => Value::String(self.text(salt)),
            Kind::Bytes => Value::Bytes(self.text(salt).into()),
            Kind::Enum(_) => Value::EnumNumber(i32::MAX),
            Kind::Bool => Value::Bool(false),
            Kind::Double => Value::F64(f64::NAN),
            Kind::Float => Value::F32(f32::NAN),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(i32::MIN),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(i64::MIN),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(u32::MAX),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(u64::MAX),
        })
    }
}

/// Methods of every service behind the gateway.
fn methods() -> Vec<MethodDescriptor> {
    let services = bindings().into_iter().map(|binding| binding.method.parent_service().clone());
    let mut methods: Vec<_> = services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect();
    methods.sort_by_key(|method| method.full_name().to_owned());
    methods.dedup_by_key(|method| method.full_name().to_owned());
    methods
}

/// Error of the call; `None` if it passes.
async fn call(channel: &Channel, method: &MethodDescriptor, message: DynamicMessage, token: &str) -> Option<Status> {
    let mut client = tonic::client::Grpc::new(channel.clone()).max_encoding_message_size(usize::MAX);
    client.ready().await.unwrap();
    let path: PathAndQuery = format!("/{}/{}", method.parent_service().full_name(), method.name()).parse().unwrap();
    let mut request = Request::new(futures::stream::iter([message]));
    request.metadata_mut().insert("authorization", bearer(token).parse().unwrap());
    let codec = tonic_prost::ProstCodec::<DynamicMessage, ()>::default();
    let mut answers = match client.streaming(request, path, codec).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Some(status),
    };
    // Only the first answer of a stream.
    answers.message().await.err()
}

/// Size of the status in trailers, in bytes.
fn trailers(status: &Status) -> usize {
    let mut headers = http::HeaderMap::new();
    status.add_header(&mut headers).unwrap();
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

#[tokio::test]
async fn hostile_sizes_get_small_answers_and_keep_the_connection() {
    let channel = Endpoint::from_static(url()).connect_lazy();
    let methods = methods();
    assert!(methods.len() > 30, "{}", methods.len());
    let mut capped = Vec::new();
    for method in &methods {
        // Each call has its own user, so no limit is reached.
        let user = format!("hostile-{}", method.name());
        let token = mesh().issuer().mint(&Grant::new("demo", user)).unwrap();
        for size in SIZES {
            let name = method.full_name();
            let message = size.message(&method.input(), 0, 0);
            // On a busy machine the gateway answers 503 for moments. An answer that breaks a connection breaks it each
            // time.
            let called = keyplane_testkit::eventually("the gateway can tell", PATIENCE, async || {
                let error = call(&channel, method, message.clone(), &token).await;
                let unavailable = error.as_ref().is_some_and(|status| status.code() == Code::Unavailable);
                if unavailable { Err(error) } else { Ok(error) }
            });
            let Some(status) = called.await else { continue };
            let sent = trailers(&status);
            assert!(sent < TRAILERS, "{name}, {size:?}: trailers of {sent} bytes: {status:?}");
            // A broken connection shows as UNAVAILABLE, INTERNAL, CANCELLED or UNKNOWN.
            let answers = [Code::InvalidArgument, Code::NotFound, Code::FailedPrecondition, Code::ResourceExhausted];
            assert!(answers.contains(&status.code()), "{name}, {size:?}: {status:?}");
            if status.message().ends_with(" more") {
                capped.push(name.to_owned());
            }
        }
    }
    assert!(capped.len() > 5, "nothing is hostile enough: {capped:?}");
}

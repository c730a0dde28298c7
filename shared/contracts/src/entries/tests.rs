use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value};

use super::{Field, shape};
use crate::FILE_DESCRIPTOR_SET;

fn pool() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the descriptor set decodes")
}

/// Default of a type, which prost leaves out.
fn default(kind: &Kind) -> Value {
    match kind.as_message() {
        Some(message) => Value::Message(DynamicMessage::new(message.clone())),
        None => Value::default_value(kind),
    }
}

/// Message with an entry of default key and value in each of its maps, itself and deeper; `None` if it has no map.
fn with_empty_entries(descriptor: &MessageDescriptor, depth: usize) -> Option<DynamicMessage> {
    let mut message = DynamicMessage::new(descriptor.clone());
    let mut any = false;
    for field in descriptor.fields() {
        let Kind::Message(inner) = field.kind() else { continue };
        if field.is_map() {
            assert_eq!(inner.map_entry_key_field().kind(), Kind::String, "another key than text: teach this test");
            let key = MapKey::String(String::new());
            let value_kind = inner.map_entry_value_field().kind();
            let deeper = value_kind.as_message().and_then(|value| with_empty_entries(value, depth + 1));
            let value = deeper.map_or_else(|| default(&value_kind), Value::Message);
            message.set_field(&field, Value::Map([(key, value)].into()));
            any = true;
        } else if depth < 6
            && let Some(inner) = with_empty_entries(&inner, depth + 1)
        {
            let inner = Value::Message(inner);
            message.set_field(&field, if field.is_list() { Value::List(vec![inner]) } else { inner });
            any = true;
        }
    }
    any.then_some(message)
}

/// Number of map entries, each of which must have a key and a value.
fn count_whole_entries(descriptor: &MessageDescriptor, mut bytes: &[u8]) -> usize {
    let mut entries = 0;
    while let Some(found) = Field::next(&mut bytes) {
        let Some(field) = descriptor.get_field(found.number) else { continue };
        let Kind::Message(inner) = field.kind() else { continue };
        if field.is_map() {
            let (mut rest, mut numbers) = (found.payload, Vec::new());
            while let Some(part) = Field::next(&mut rest) {
                numbers.push(part.number);
            }
            assert_eq!(numbers, [1, 2], "an entry of {} must have its key and its value", field.full_name());
            entries += 1;
        }
        entries += count_whole_entries(&inner, found.payload);
    }
    entries
}

/// Encodes as prost does and prost-reflect does not: default keys and values of entries are left out.
fn as_prost_encodes(message: &DynamicMessage) -> Vec<u8> {
    let mut out = Vec::new();
    for (field, value) in message.fields() {
        let put_all = |out: &mut Vec<u8>, values: Vec<Vec<u8>>| {
            values.iter().for_each(|value| super::put(out, field.number(), value));
        };
        if let Some(inner) = value.as_message() {
            put_all(&mut out, vec![as_prost_encodes(inner)]);
        } else if let Some(items) = value.as_list() {
            put_all(&mut out, items.iter().filter_map(Value::as_message).map(as_prost_encodes).collect());
        } else if let Some(entries) = value.as_map() {
            let entries = entries.values().map(|value| {
                let mut entry = Vec::new();
                if let Some(inner) = value.as_message().map(as_prost_encodes).filter(|inner| !inner.is_empty()) {
                    super::put(&mut entry, 2, &inner);
                }
                entry
            });
            put_all(&mut out, entries.collect());
        } else {
            panic!("{value:?} is not set by this test");
        }
    }
    out
}

#[test]
fn every_map_of_every_message_is_written_with_key_and_value() {
    let mut tried = Vec::new();
    for descriptor in pool().all_messages().filter(|message| !message.is_map_entry()) {
        let Some(message) = with_empty_entries(&descriptor, 0) else {
            assert!(shape(descriptor.package_name(), descriptor.name()).is_none(), "{}", descriptor.full_name());
            continue;
        };
        if descriptor.parent_message().is_some() {
            // It goes out in another one alone.
            continue;
        }
        let shape = shape(descriptor.package_name(), descriptor.name());
        let shape = shape.unwrap_or_else(|| panic!("{} holds a map, and has no shape", descriptor.full_name()));
        let lacking = as_prost_encodes(&message);
        let mut whole = Vec::new();
        shape.write(&lacking, &mut whole);
        let entries = count_whole_entries(&descriptor, &whole);
        assert!(entries > 0, "{}", descriptor.full_name());
        let decoded = DynamicMessage::decode(descriptor.clone(), whole.as_slice()).expect("it decodes");
        assert_eq!(decoded, message, "{} says what it said", message.descriptor().full_name());

        let mut again = Vec::new();
        shape.write(&whole, &mut again);
        assert_eq!(again, whole, "what lacks nothing stays as it is");
        tried.push(descriptor.full_name().to_owned());
    }
    for name in ["keyplane.session.v1.Session", "keyplane.ratelimit.v1.Policy", "google.rpc.ErrorInfo"] {
        assert!(tried.iter().any(|tried| tried == name), "{name} has maps; tried {tried:?}");
    }
}

#[test]
fn what_else_a_message_holds_stays_as_it_is() {
    use crate::session::v1::Session;
    let attributes = [("a", "1"), ("", "x"), ("empty", ""), ("z", "2")];
    let session = Session {
        name: "tenants/acme/users/u/sessions/s".into(),
        company_id: Some("c-7".into()),
        attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        version: 7,
        ..Session::default()
    };
    let mut whole = Vec::new();
    shape("keyplane.session.v1", "Session").expect("it has maps").write(&session.encode_to_vec(), &mut whole);
    assert_eq!(Session::decode(whole.as_slice()).expect("it decodes"), session);
    let descriptor = pool().get_message_by_name("keyplane.session.v1.Session").expect("the message");
    assert_eq!(count_whole_entries(&descriptor, &whole), attributes.len());
}

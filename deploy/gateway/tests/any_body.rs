//! Property tests of the guard over every body of the contracts.

use std::sync::OnceLock;

use keyplane_contracts::http::{Binding, bindings};
use keyplane_gateway::guard::Guard;
use proptest::prelude::*;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value};
use serde_json::json;

fn guard() -> &'static Guard {
    static GUARD: OnceLock<Guard> = OnceLock::new();
    GUARD.get_or_init(|| Guard::new().unwrap())
}

/// Message in the body of each guarded RPC, with its fields that the path binds.
fn bodies() -> Vec<(String, MessageDescriptor, Vec<String>)> {
    let body = |binding: &Binding| {
        let request = binding.method.input();
        let message = match binding.body.as_str() {
            "" => return None,
            "*" => request,
            field => request.get_field_by_name(field)?.kind().as_message()?.clone(),
        };
        let prefix = if binding.body == "*" { String::new() } else { format!("{}.", binding.body) };
        let bound = binding.bound.iter().filter_map(|path| path.strip_prefix(&prefix)).map(str::to_owned).collect();
        (message.full_name() != "google.api.HttpBody").then(|| (binding.grpc_path(), message, bound))
    };
    bindings().iter().filter_map(body).collect()
}

/// Random bytes that generate a message; zeros once they are used up, so that generation ends.
struct Choices<'b>(std::slice::Iter<'b, u8>);

// === impl Choices ===

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or_default()
    }

    fn number(&mut self) -> i64 {
        let width = self.byte() % 9;
        (0..width).fold(0, |number, _| (number << 8) | i64::from(self.byte()))
    }

    fn text(&mut self) -> String {
        let letters = ['a', '"', '\\', '\n', '\0', 'é', '😀', '/', '\u{2028}', ' '];
        (0..self.byte() % 6).map(|_| letters[usize::from(self.byte()) % letters.len()]).collect()
    }

    fn message(&mut self, descriptor: &MessageDescriptor, without: &[String]) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        match descriptor.full_name() {
            "google.protobuf.Timestamp" => {
                message.set_field_by_number(1, Value::I64(self.number().rem_euclid(253_402_300_800)));
                message.set_field_by_number(2, Value::I32(self.nanos()));
                return message;
            }
            "google.protobuf.Duration" => {
                let seconds = self.number() % 315_576_000_000;
                let nanos = if seconds < 0 { -self.nanos() } else { self.nanos() };
                message.set_field_by_number(1, Value::I64(seconds));
                message.set_field_by_number(2, Value::I32(nanos));
                return message;
            }
            // A value without a kind has no form in JSON.
            "google.protobuf.Value" => {
                let field = descriptor.get_field([1, 2, 3, 4][usize::from(self.byte()) % 4]).unwrap();
                message.set_field(&field, self.value(&field));
                return message;
            }
            _ => {}
        }
        for field in descriptor.fields().filter(|field| !without.iter().any(|name| name == field.name())) {
            // One field of a oneof replaces the other.
            match self.byte() % 3 {
                0 => {}
                _ if field.is_map() => {
                    let entry = field.kind().as_message().unwrap().map_entry_value_field();
                    let count = self.byte() % 3;
                    let entries = (0..count).map(|_| (MapKey::String(self.text()), self.value(&entry)));
                    message.set_field(&field, Value::Map(entries.collect()));
                }
                _ if field.is_list() => {
                    let count = self.byte() % 3;
                    let items = (0..count).map(|_| self.value(&field)).collect();
                    message.set_field(&field, Value::List(items));
                }
                _ => message.set_field(&field, self.value(&field)),
            }
        }
        message
    }

    fn nanos(&mut self) -> i32 {
        [0, 1, 1_000, 500_000_000, 999_999_999][usize::from(self.byte()) % 5]
    }

    fn value(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Bool => Value::Bool(self.byte() % 2 == 1),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(self.number() as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(self.number()),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(self.number() as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(self.number() as u64),
            Kind::Float => Value::F32(f32::from(self.number() as i16) / 8.0),
            Kind::Double => Value::F64(f64::from(self.number() as i32) / 8.0),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(self.text().into_bytes().into()),
            Kind::Enum(values) if values.full_name() == "google.protobuf.NullValue" => Value::EnumNumber(0),
            Kind::Enum(values) => {
                let all: Vec<i32> = values.values().map(|value| value.number()).chain([77]).collect();
                Value::EnumNumber(all[usize::from(self.byte()) % all.len()])
            }
            Kind::Message(message) => Value::Message(self.message(&message, &[])),
        }
    }
}

/// Strategy for JSON that resembles bodies: its members have names of real fields.
fn arbitrary_json() -> impl Strategy<Value = serde_json::Value> {
    let names: Vec<String> = bodies()
        .iter()
        .flat_map(|(_, message, _)| message.fields().map(|field| field.json_name().to_owned()).collect::<Vec<_>>())
        .chain(["x".to_owned(), String::new()])
        .collect();
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        "[a-zA-Z0-9:.+-]{0,12}s?".prop_map(|value| json!(value)),
        ".{0,8}".prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        let name = proptest::sample::select(names.clone());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::vec((name, inner), 0..6)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_message_passes_unchanged(choices in prop::collection::vec(any::<u8>(), 0..300)) {
        for (path, descriptor, bound) in bodies() {
            let message = Choices(choices.iter()).message(&descriptor, &bound);
            let json = serde_json::to_string(&message).unwrap();
            let passed = guard().check(&path, "", json.as_bytes());
            prop_assert_eq!(passed.as_deref(), Ok(json.as_bytes()), "{}: {}", path, json);
        }
    }

    #[test]
    fn passed_body_is_a_message_and_passes_again(value in arbitrary_json()) {
        let text = value.to_string();
        for (path, descriptor, _) in bodies() {
            let Ok(passed) = guard().check(&path, "", text.as_bytes()) else { continue };
            let mut reader = serde_json::Deserializer::from_slice(&passed);
            let read = DynamicMessage::deserialize(descriptor.clone(), &mut reader);
            prop_assert!(read.is_ok(), "{path}: {text} came out as {}: {read:?}", String::from_utf8_lossy(&passed));
            prop_assert_eq!(read.unwrap().descriptor(), descriptor);
            let again = guard().check(&path, "", &passed);
            prop_assert_eq!(again.as_ref(), Ok(&passed));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 1..64),
        text in r#"[\{\}\[\]:,"'a-z0-9\\ ]{0,40}"#,
    ) {
        for (path, _, _) in bodies() {
            let _ = guard().check(&path, "", &bytes);
            let _ = guard().check(&path, "", text.as_bytes());
        }
    }
}

//! Places of maps in messages, as source code for `src/entries/mod.rs`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

/// Statics, one for each message that holds a map, itself or deeper; and a list of all by package and name.
pub(crate) fn source(pool: &DescriptorPool) -> String {
    let mapped: Vec<MessageDescriptor> = pool
        .all_messages()
        .filter(|message| !message.is_map_entry() && holds_map(message, &mut BTreeSet::new()))
        .collect();
    let mut source = String::new();
    for message in &mapped {
        let fields: String = message.fields().filter_map(|field| part(&field)).collect();
        let _ = writeln!(source, "static {}: Shape = Shape {{ fields: &[{fields}] }};", constant(message));
    }
    source.push_str("static SHAPES: &[(&str, &str, &Shape)] = &[\n");
    // A nested message goes out in another one alone.
    for message in mapped.iter().filter(|message| message.parent_message().is_none()) {
        let _ = writeln!(source, "    ({:?}, {:?}, &{}),", message.package_name(), message.name(), constant(message));
    }
    source.push_str("];\n");
    source
}

fn holds_map(message: &MessageDescriptor, seen: &mut BTreeSet<String>) -> bool {
    seen.insert(message.full_name().to_owned())
        && message.fields().any(|field| {
            let inner = field.kind();
            field.is_map() || inner.as_message().is_some_and(|inner| holds_map(inner, seen))
        })
}

/// Item of `Shape::fields`; `None` for a field that leads to no map.
fn part(field: &FieldDescriptor) -> Option<String> {
    let Kind::Message(inner) = field.kind() else { return None };
    let part = if field.is_map() {
        let (key, value) = (inner.map_entry_key_field().kind(), inner.map_entry_value_field().kind());
        let shape = value.as_message().filter(|message| holds_map(message, &mut BTreeSet::new()));
        let shape = shape.map_or_else(|| "None".to_owned(), |message| format!("Some(&{})", constant(message)));
        format!("Part::Map(WireType::{:?}, WireType::{:?}, {shape})", key.wire_type(), value.wire_type())
    } else if holds_map(&inner, &mut BTreeSet::new()) {
        format!("Part::Message(&{})", constant(&inner))
    } else {
        return None;
    };
    Some(format!("({}, {part}), ", field.number()))
}

fn constant(message: &MessageDescriptor) -> String {
    message.full_name().replace('.', "_").to_uppercase()
}

//! Map entries, written out whole.
//!
//! prost leaves a map entry's key or value out where it is the type's default. Every parser has to take that, and Envoy's
//! JSON transcoder (1.36 to 1.40) ends with a null pointer instead. So what our services send names both, always.

use bytes::{Buf as _, BufMut};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field};

/// Places of maps in a message. The build makes one for each message that holds maps, itself or deeper.
pub(crate) struct Shape {
    /// Field numbers; other fields hold no map.
    pub(crate) fields: &'static [(u32, Part)],
}

/// Field on the way to a map.
pub(crate) enum Part {
    /// Message that holds one.
    Message(&'static Shape),
    /// Map, by the types of its key and value.
    Map(WireType, WireType, Option<&'static Shape>),
}

/// Shape of a message of these contracts; `None` if it holds no map. Evaluated at compile time: other messages pay nothing.
pub(crate) const fn shape(package: &str, name: &str) -> Option<&'static Shape> {
    let mut index = 0;
    while index < SHAPES.len() {
        let (in_package, named, shape) = &SHAPES[index];
        if same(in_package, package) && same(named, name) {
            return Some(shape);
        }
        index += 1;
    }
    None
}

const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}

include!(concat!(env!("OUT_DIR"), "/shapes.rs"));

// === impl Shape ===

impl Shape {
    /// Writes an encoded message with complete map entries. Costs one more pass over the message.
    pub(crate) fn write(&self, message: &[u8], out: &mut impl BufMut) {
        match self.completed(message) {
            Some(completed) => out.put_slice(&completed),
            None => out.put_slice(message),
        }
    }

    /// Completes the entries of a message; `None` if they lack nothing.
    fn completed(&self, message: &[u8]) -> Option<Vec<u8>> {
        let mut completed: Option<Vec<u8>> = None;
        let mut rest = message;
        while let Some(field) = Field::next(&mut rest) {
            let part = self.fields.iter().find(|(number, _)| *number == field.number).map(|(_, part)| part);
            let inner = match part {
                Some(Part::Message(shape)) => shape.completed(field.payload),
                Some(Part::Map(key, value, shape)) => completed_entry(field.payload, *key, *value, *shape),
                None => None,
            };
            if let Some(inner) = inner {
                // Bytes before the field stay unchanged.
                let before = message.len() - rest.len() - field.whole.len();
                let out = completed.get_or_insert_with(|| message[..before].to_vec());
                put(out, field.number, &inner);
            } else if let Some(out) = &mut completed {
                out.extend_from_slice(field.whole);
            }
        }
        completed
    }
}

fn completed_entry(entry: &[u8], key: WireType, value: WireType, shape: Option<&Shape>) -> Option<Vec<u8>> {
    let (mut has_key, mut has_value, mut inner) = (false, None, None);
    let mut rest = entry;
    while let Some(field) = Field::next(&mut rest) {
        match field.number {
            1 => has_key = true,
            2 => {
                has_value = Some(field.whole);
                inner = shape.and_then(|shape| shape.completed(field.payload));
            }
            _ => {}
        }
    }
    if has_key && has_value.is_some() && inner.is_none() {
        return None;
    }
    let mut out = Vec::with_capacity(entry.len() + 4);
    if has_key {
        // prost writes the key first.
        let length = entry.len() - has_value.map_or(0, <[u8]>::len);
        out.extend_from_slice(&entry[..length]);
    } else {
        put_default(&mut out, 1, key);
    }
    match (inner, has_value) {
        (Some(inner), _) => put(&mut out, 2, &inner),
        (None, Some(whole)) => out.extend_from_slice(whole),
        (None, None) => put_default(&mut out, 2, value),
    }
    Some(out)
}

fn put(out: &mut Vec<u8>, number: u32, payload: &[u8]) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(payload.len() as u64, out);
    out.extend_from_slice(payload);
}

/// Zero, or nothing, of a type.
fn put_default(out: &mut Vec<u8>, number: u32, wire: WireType) {
    encode_key(number, wire, out);
    match wire {
        WireType::SixtyFourBit => out.put_u64_le(0),
        WireType::ThirtyTwoBit => out.put_u32_le(0),
        WireType::Varint | WireType::LengthDelimited | WireType::StartGroup | WireType::EndGroup => out.put_u8(0),
    }
}

/// Field of an encoded message.
struct Field<'a> {
    number: u32,
    whole: &'a [u8],
    /// Empty unless it is length-delimited.
    payload: &'a [u8],
}

// === impl Field ===

impl<'a> Field<'a> {
    /// Takes the next field off `rest`. `None` at the end, and for malformed bytes, which prost never writes.
    fn next(rest: &mut &'a [u8]) -> Option<Field<'a>> {
        let start = *rest;
        let (number, wire) = decode_key(rest).ok()?;
        let mut payload: &[u8] = &[];
        if wire == WireType::LengthDelimited {
            let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
            payload = rest.get(..length)?;
            rest.advance(length);
        } else {
            skip_field(wire, number, rest, DecodeContext::default()).ok()?;
        }
        Some(Field { number, whole: &start[..start.len() - rest.len()], payload })
    }
}

#[cfg(test)]
mod tests;

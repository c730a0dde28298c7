//! Packed values: what facets, filters and orders need of a document, in one field that is read without copies.

use rmp::{Marker, encode};

use super::document::{Document, Value};
use super::schema::{FieldKind, Schema};
use super::sort_key;

/// Values of a document by the position of their field, borrowed from the field `_f` of its hash.
///
/// `_f` is a MessagePack array: nil for a missing value and for stored values; a string for a tag; `"true"` or `"false"` for a
/// boolean; an array of strings for a multi-valued tag; a number for an integer, a decimal and a timestamp. A sortable text
/// packs its sort key, any other text nil.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed<'a> {
    slots: Vec<Slot<'a>>,
}

/// Value of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slot<'a> {
    /// No value.
    Missing,
    /// Tag or boolean.
    Text(&'a str),
    /// Multi-valued tag.
    Tags(Tags<'a>),
    /// Integer, decimal or timestamp, in the index's unit; sort key of a text.
    Number(f64),
}

/// Values of a multi-valued tag, still encoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tags<'a>(&'a [u8]);

/// Packed values that break their layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("packed values of {bytes} bytes break their layout")]
pub struct Malformed {
    /// Length of the field `_f`, in bytes.
    pub bytes: usize,
}

/// Greatest number of values; a schema has at most 64 fields.
const MAX_SLOTS: usize = 64;

// === impl Packed ===

impl<'a> Packed<'a> {
    /// Reads the field `_f` of a hash. O(bytes): about 15 ns a field.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are no array of values, or too many or too few for it.
    pub fn read(bytes: &'a [u8]) -> Result<Packed<'a>, Malformed> {
        let mut rest = bytes;
        slots(&mut rest)
            .filter(|_| rest.is_empty())
            .map(|slots| Packed { slots })
            .ok_or(Malformed { bytes: bytes.len() })
    }

    /// Value of the field at `position` of the schema. A schema that has grown since the document was packed has more fields.
    #[must_use]
    pub fn get(&self, position: usize) -> Slot<'a> {
        self.slots.get(position).copied().unwrap_or(Slot::Missing)
    }
}

/// Packs the values of a document by its schema's order of fields.
#[must_use]
pub fn pack(schema: &Schema, document: &Document) -> Vec<u8> {
    let mut packed = Vec::with_capacity(16 * schema.fields.len());
    // Writing to a vector never fails.
    let _ = encode::write_array_len(&mut packed, u32::try_from(schema.fields.len()).unwrap_or(u32::MAX));
    for field in &schema.fields {
        let value = document.fields.get(&field.name);
        let _ = match (field.kind, value) {
            (FieldKind::Text { .. }, Some(Value::Text(text))) if field.sortable => match sort_key::text(text) {
                Some(key) => encode::write_f64(&mut packed, key),
                None => write(&mut packed, None),
            },
            (FieldKind::Text { .. } | FieldKind::Stored, _) => write(&mut packed, None),
            (
                FieldKind::Tag
                | FieldKind::Tags
                | FieldKind::Integer
                | FieldKind::Decimal
                | FieldKind::Timestamp
                | FieldKind::Boolean,
                value,
            ) => write(&mut packed, value),
        };
    }
    packed
}

fn write(packed: &mut Vec<u8>, value: Option<&Value>) -> Result<(), encode::ValueWriteError> {
    match value {
        Some(Value::Text(text)) => encode::write_str(packed, text),
        Some(Value::Tags(tags)) if !tags.is_empty() => {
            encode::write_array_len(packed, u32::try_from(tags.len()).unwrap_or(u32::MAX))?;
            tags.iter().try_for_each(|tag| encode::write_str(packed, tag))
        }
        Some(Value::Boolean(value)) => encode::write_str(packed, boolean(*value)),
        Some(Value::Integer(number) | Value::Timestamp(number)) => encode::write_sint(packed, *number).map(drop),
        Some(Value::Decimal(number)) => encode::write_f64(packed, *number),
        Some(Value::Json(_) | Value::Tags(_)) | None => {
            encode::write_nil(packed).map_err(encode::ValueWriteError::InvalidMarkerWrite)
        }
    }
}

/// Tag value of a boolean.
#[must_use]
pub fn boolean(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn slots<'a>(rest: &mut &'a [u8]) -> Option<Vec<Slot<'a>>> {
    let length = array(rest)?;
    if length > MAX_SLOTS {
        return None;
    }
    let mut slots = Vec::with_capacity(length);
    for _ in 0..length {
        slots.push(slot(rest)?);
    }
    Some(slots)
}

/// Reads one value. Hand-written beside the crate's markers: its readers of streams take several times as long.
fn slot<'a>(rest: &mut &'a [u8]) -> Option<Slot<'a>> {
    use Marker as M;
    match Marker::from_u8(*rest.first()?) {
        M::FixStr(_) | M::Str8 | M::Str16 | M::Str32 => text(rest).map(Slot::Text),
        M::FixArray(_) | M::Array16 | M::Array32 => tags(rest).map(Slot::Tags),
        M::Null => marker(rest).map(|_| Slot::Missing),
        M::FixPos(_)
        | M::FixNeg(_)
        | M::U8
        | M::U16
        | M::U32
        | M::U64
        | M::I8
        | M::I16
        | M::I32
        | M::I64
        | M::F32
        | M::F64 => number(rest).map(Slot::Number),
        M::True | M::False | M::FixMap(_) | M::Map16 | M::Map32 | M::Bin8 | M::Bin16 | M::Bin32 => None,
        M::FixExt1 | M::FixExt2 | M::FixExt4 | M::FixExt8 | M::FixExt16 | M::Ext8 | M::Ext16 | M::Ext32 => None,
        M::Reserved => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "numbers are a few of the many markers")]
#[expect(clippy::cast_precision_loss, reason = "integers and times are within 2^53")]
fn number(rest: &mut &[u8]) -> Option<f64> {
    match marker(rest)? {
        Marker::FixPos(number) => Some(f64::from(number)),
        Marker::FixNeg(number) => Some(f64::from(number)),
        Marker::U8 => chunk(rest).map(u8::from_be_bytes).map(f64::from),
        Marker::U16 => chunk(rest).map(u16::from_be_bytes).map(f64::from),
        Marker::U32 => chunk(rest).map(u32::from_be_bytes).map(f64::from),
        Marker::U64 => chunk(rest).map(|bytes| u64::from_be_bytes(bytes) as f64),
        Marker::I8 => chunk(rest).map(i8::from_be_bytes).map(f64::from),
        Marker::I16 => chunk(rest).map(i16::from_be_bytes).map(f64::from),
        Marker::I32 => chunk(rest).map(i32::from_be_bytes).map(f64::from),
        Marker::I64 => chunk(rest).map(|bytes| i64::from_be_bytes(bytes) as f64),
        Marker::F32 => chunk(rest).map(f32::from_be_bytes).map(f64::from),
        Marker::F64 => chunk(rest).map(f64::from_be_bytes),
        _ => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "strings are a few of the many markers")]
fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = match marker(rest)? {
        Marker::FixStr(length) => usize::from(length),
        Marker::Str8 => chunk(rest).map(u8::from_be_bytes).map(usize::from)?,
        Marker::Str16 => chunk(rest).map(u16::from_be_bytes).map(usize::from)?,
        Marker::Str32 => usize::try_from(u32::from_be_bytes(chunk(rest)?)).ok()?,
        _ => return None,
    };
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    str::from_utf8(text).ok()
}

/// Number of elements of an array.
#[expect(clippy::wildcard_enum_match_arm, reason = "arrays are a few of the many markers")]
fn array(rest: &mut &[u8]) -> Option<usize> {
    match marker(rest)? {
        Marker::FixArray(length) => Some(usize::from(length)),
        Marker::Array16 => chunk(rest).map(u16::from_be_bytes).map(usize::from),
        Marker::Array32 => usize::try_from(u32::from_be_bytes(chunk(rest)?)).ok(),
        _ => None,
    }
}

/// Checks that an array holds strings alone, and leaves them encoded.
fn tags<'a>(rest: &mut &'a [u8]) -> Option<Tags<'a>> {
    let length = array(rest)?;
    let start = *rest;
    for _ in 0..length {
        text(rest)?;
    }
    start.get(..start.len() - rest.len()).map(Tags)
}

fn marker(rest: &mut &[u8]) -> Option<Marker> {
    chunk::<1>(rest).map(|[byte]| Marker::from_u8(byte))
}

fn chunk<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (chunk, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*chunk)
}

// === impl Tags ===

impl<'a> Tags<'a> {
    /// Values, in the order of the caller.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let mut rest = self.0;
        std::iter::from_fn(move || text(&mut rest))
    }
}

// === impl Slot ===

impl<'a> Slot<'a> {
    /// Tag values: none, one or several.
    pub fn tags(self) -> impl Iterator<Item = &'a str> {
        let (one, many) = match self {
            Slot::Text(text) => (Some(text), None),
            Slot::Tags(tags) => (None, Some(tags.iter())),
            Slot::Missing | Slot::Number(_) => (None, None),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// Number; none for a missing value and a tag.
    #[must_use]
    pub fn number(self) -> Option<f64> {
        match self {
            Slot::Number(number) => Some(number),
            Slot::Missing | Slot::Text(_) | Slot::Tags(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use keyplane_contracts::names::Id;
    use proptest::prelude::*;

    use super::super::schema::{Field, FieldName, Language};
    use super::*;

    const KINDS: [FieldKind; 7] = [
        FieldKind::Tag,
        FieldKind::Tags,
        FieldKind::Boolean,
        FieldKind::Integer,
        FieldKind::Decimal,
        FieldKind::Timestamp,
        FieldKind::Stored,
    ];

    fn schema() -> Schema {
        let name = |index: usize| FieldName::new(&format!("f{index}")).expect("a name");
        let field = |(index, kind)| Field { name: name(index), kind, sortable: false, facet: false };
        Schema { fields: KINDS.into_iter().enumerate().map(field).collect(), ..Schema::default() }
    }

    fn document(schema: &Schema, values: Vec<Option<Value>>) -> Document {
        let names = schema.fields.iter().map(|field| field.name.clone());
        let fields = names.zip(values).filter_map(|(name, value)| Some((name, value?))).collect();
        Document { id: Id::parse("d", "id").expect("an id"), fields, version: None, expires: None }
    }

    #[test]
    fn every_type_is_read_as_it_was_packed() {
        let schema = schema();
        let values = vec![
            Some(Value::Text("open".to_owned())),
            Some(Value::Tags(vec!["a".to_owned(), "b|c".to_owned()])),
            Some(Value::Boolean(true)),
            Some(Value::Integer(-(1 << 53))),
            Some(Value::Decimal(0.1)),
            Some(Value::Timestamp(1_700_000_000_123)),
            Some(Value::Json("{}".to_owned())),
        ];
        let bytes = pack(&schema, &document(&schema, values));
        let packed = Packed::read(&bytes).expect("a layout");
        assert_eq!(packed.get(0), Slot::Text("open"));
        assert_eq!(packed.get(1).tags().collect::<Vec<_>>(), ["a", "b|c"]);
        assert_eq!(packed.get(2), Slot::Text("true"));
        assert_eq!(packed.get(3), Slot::Number(-9_007_199_254_740_992.0));
        assert_eq!(packed.get(4), Slot::Number(0.1));
        assert_eq!(packed.get(5), Slot::Number(1_700_000_000_123.0));
        assert_eq!(packed.get(6), Slot::Missing);
        assert_eq!(packed.get(7), Slot::Missing);
    }

    #[test]
    fn sortable_text_packs_its_sort_key() {
        let kind = FieldKind::Text { weight: 1.0, language: Language::None };
        let name = |name| FieldName::new(name).expect("a name");
        let field = |name, sortable| Field { name, kind, sortable, facet: false };
        let schema = Schema { fields: vec![field(name("a"), true), field(name("b"), false)], ..Schema::default() };
        let text = || Some(Value::Text("Blue".to_owned()));
        let bytes = pack(&schema, &document(&schema, vec![text(), text()]));
        let packed = Packed::read(&bytes).expect("a layout");
        assert_eq!(packed.get(0).number(), sort_key::text("Blue"));
        assert_eq!(packed.get(1), Slot::Missing);
    }

    #[test]
    fn absent_and_empty_values_are_missing() {
        let schema = schema();
        let bytes = pack(&schema, &document(&schema, vec![None, Some(Value::Tags(Vec::new()))]));
        let packed = Packed::read(&bytes).expect("a layout");
        assert!((0..KINDS.len()).all(|position| packed.get(position) == Slot::Missing));
    }

    #[test]
    fn other_layouts_are_malformed() {
        for bytes in
            [&b""[..], b"\xc0", b"\x91", b"\x90\xc0", b"\x91\xc3", b"\x91\x91\xc0", b"\x91\xa2a", b"\x91\xa1\xff"]
        {
            assert_eq!(Packed::read(bytes), Err(Malformed { bytes: bytes.len() }), "{bytes:?}");
        }
        let huge = b"\xdd\xff\xff\xff\xff";
        assert_eq!(Packed::read(huge), Err(Malformed { bytes: 5 }));
        let nested = b"\x91\xdd\xff\xff\xff\xff\xa1a";
        assert_eq!(Packed::read(nested), Err(Malformed { bytes: 8 }));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(packed) = Packed::read(&bytes) {
                for position in 0..64 {
                    prop_assert!(packed.get(position).tags().count() <= bytes.len());
                }
            }
        }

        #[test]
        fn numbers_survive(integer in -(1_i64 << 53)..=1 << 53, decimal in proptest::num::f64::NORMAL) {
            let schema = schema();
            let values = vec![None, None, None, Some(Value::Integer(integer)), Some(Value::Decimal(decimal))];
            let bytes = pack(&schema, &document(&schema, values));
            let packed = Packed::read(&bytes).expect("a layout");
            prop_assert_eq!(packed.get(3).number().map(|number| number as i64), Some(integer));
            prop_assert_eq!(packed.get(4), Slot::Number(decimal));
        }
    }
}

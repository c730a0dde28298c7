//! What goes into a script and what comes out of it.

use std::fmt;

use bytes::Bytes;

use crate::Error;

/// An argument of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg<'a> {
    /// Any bytes.
    Bytes(&'a [u8]),
    /// A whole number, sent in decimal.
    Int(i64),
}

/// A reply. Status replies arrive as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing: Lua's `false` and `nil`.
    Nil,
    /// A whole number.
    Int(i64),
    /// Bytes.
    Bytes(Bytes),
    /// A list.
    Array(Vec<Value>),
}

/// An entry of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    /// `<milliseconds>-<sequence>`.
    pub id: String,
    /// Names and values, in the order in which they were added.
    pub fields: Vec<(Bytes, Bytes)>,
}

/// What a decoder looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Int,
    Bytes,
    Text,
    Array,
    Entry,
}

// === impl Arg ===

impl<'a> From<&'a str> for Arg<'a> {
    fn from(text: &'a str) -> Arg<'a> {
        Arg::Bytes(text.as_bytes())
    }
}

impl<'a> From<&'a String> for Arg<'a> {
    fn from(text: &'a String) -> Arg<'a> {
        Arg::Bytes(text.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(bytes: &'a [u8]) -> Arg<'a> {
        Arg::Bytes(bytes)
    }
}

impl<'a> From<&'a Bytes> for Arg<'a> {
    fn from(bytes: &'a Bytes) -> Arg<'a> {
        Arg::Bytes(bytes)
    }
}

impl From<i64> for Arg<'_> {
    fn from(number: i64) -> Self {
        Arg::Int(number)
    }
}

impl From<u32> for Arg<'_> {
    fn from(number: u32) -> Self {
        Arg::Int(i64::from(number))
    }
}

impl From<u64> for Arg<'_> {
    /// Stops at `i64::MAX`, which is as far as the server counts.
    fn from(number: u64) -> Self {
        Arg::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl Arg<'_> {
    pub(crate) fn to_fred(self) -> fred::types::Value {
        match self {
            Arg::Bytes(bytes) => fred::types::Value::Bytes(Bytes::copy_from_slice(bytes)),
            Arg::Int(number) => fred::types::Value::Integer(number),
        }
    }
}

// === impl Value ===

impl Value {
    /// The number; digits in bytes count as well, since Lua turns large numbers into text.
    pub fn int(&self) -> Result<i64, Error> {
        let parsed = match self {
            Value::Int(number) => Some(*number),
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()),
            Value::Nil | Value::Array(_) => None,
        };
        parsed.ok_or_else(|| Error::decode(Wanted::Int, self.form()))
    }

    /// The bytes.
    pub fn bytes(self) -> Result<Bytes, Error> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            other @ (Value::Nil | Value::Int(_) | Value::Array(_)) => Err(Error::decode(Wanted::Bytes, other.form())),
        }
    }

    /// The bytes as UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        match self {
            Value::Bytes(bytes) => {
                std::str::from_utf8(bytes).map_err(|_| Error::decode(Wanted::Text, "bytes that are not UTF-8"))
            }
            Value::Nil | Value::Int(_) | Value::Array(_) => Err(Error::decode(Wanted::Text, self.form())),
        }
    }

    /// The list.
    pub fn array(self) -> Result<Vec<Value>, Error> {
        match self {
            Value::Array(list) => Ok(list),
            other @ (Value::Nil | Value::Int(_) | Value::Bytes(_)) => Err(Error::decode(Wanted::Array, other.form())),
        }
    }

    /// The list as names and values in turn, which is how scripts return a hash.
    pub fn pairs(self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let list = self.array()?;
        if list.len() % 2 == 1 {
            return Err(Error::decode(Wanted::Array, "a list of odd length"));
        }
        let mut pairs = Vec::with_capacity(list.len() / 2);
        let mut list = list.into_iter();
        while let (Some(name), Some(value)) = (list.next(), list.next()) {
            pairs.push((name.bytes()?, value.bytes()?));
        }
        Ok(pairs)
    }

    /// The list as entries of a stream, which is how scripts return an `XRANGE`.
    pub fn entries(self) -> Result<Vec<StreamEntry>, Error> {
        self.array()?.into_iter().map(Value::entry).collect()
    }

    /// Whether there is nothing.
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil)
    }

    fn entry(self) -> Result<StreamEntry, Error> {
        let mut parts = self.array()?.into_iter();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(id), Some(fields), None) => Ok(StreamEntry { id: id.text()?.to_owned(), fields: fields.pairs()? }),
            _ => Err(Error::decode(Wanted::Entry, "a list of another length")),
        }
    }

    fn form(&self) -> &'static str {
        match self {
            Value::Nil => "nothing",
            Value::Int(_) => "a number",
            Value::Bytes(_) => "bytes",
            Value::Array(_) => "a list",
        }
    }

    pub(crate) fn from_fred(value: fred::types::Value) -> Value {
        use fred::types::Value as Fred;
        match value {
            Fred::Null => Value::Nil,
            Fred::Integer(number) => Value::Int(number),
            Fred::Boolean(flag) => Value::Int(i64::from(flag)),
            Fred::Double(number) => Value::Bytes(Bytes::from(number.to_string())),
            Fred::String(text) => Value::Bytes(text.into_inner()),
            Fred::Bytes(bytes) => Value::Bytes(bytes),
            Fred::Queued => Value::Bytes(Bytes::from_static(b"QUEUED")),
            Fred::Array(list) => Value::Array(list.into_iter().map(Value::from_fred).collect()),
            Fred::Map(map) => {
                let pairs = map.inner().into_iter();
                Value::Array(
                    pairs.flat_map(|(key, value)| [Value::Bytes(key.into_bytes()), Value::from_fred(value)]).collect(),
                )
            }
        }
    }
}

// === impl Wanted ===

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wanted::Int => "a number",
            Wanted::Bytes => "bytes",
            Wanted::Text => "text",
            Wanted::Array => "a list",
            Wanted::Entry => "a stream entry",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn bytes(text: &'static str) -> Value {
        Value::Bytes(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn replies_are_decoded_or_say_what_was_expected() {
        assert_eq!(Value::Int(7).int(), Ok(7));
        assert_eq!(bytes("1790000000000000").int(), Ok(1_790_000_000_000_000));
        assert_eq!(bytes("x").text(), Ok("x"));
        assert!(Value::Nil.is_nil());
        let pairs = Value::Array(vec![bytes("a"), bytes("1")]).pairs().expect("two elements");
        assert_eq!(pairs, vec![(Bytes::from_static(b"a"), Bytes::from_static(b"1"))]);

        let error = Value::Nil.int().map_err(|error| error.in_operation("session.patch")).expect_err("nothing there");
        assert_eq!(error.kind(), ErrorKind::Decode);
        assert_eq!(error.to_string(), "session.patch: expected a number in the reply but found nothing");
        assert!(bytes("x").int().is_err());
        assert!(Value::Array(vec![bytes("a")]).pairs().is_err());
        assert!(Value::Int(1).array().is_err());
    }

    #[test]
    fn stream_entries_are_read() {
        let entry = Value::Array(vec![bytes("5-1"), Value::Array(vec![bytes("f"), bytes("v")])]);
        let entries = Value::Array(vec![entry]).entries().expect("one entry");
        assert_eq!(entries[0].id, "5-1");
        assert_eq!(entries[0].fields, vec![(Bytes::from_static(b"f"), Bytes::from_static(b"v"))]);
        assert!(Value::Array(vec![Value::Array(vec![bytes("5-1")])]).entries().is_err());
    }
}

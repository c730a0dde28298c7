//! Arguments of scripts, and replies.

use bytes::Bytes;
use fred::types::{Resp3Frame, Value as Fred};

use crate::Error;
use crate::failure::Failure;

/// Argument of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg<'a> {
    /// Bytes of any kind.
    Bytes(&'a [u8]),
    /// Integer, sent in decimal.
    Int(i64),
}

/// Reply of the server. Status replies arrive as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nil: Lua's `false` and `nil`.
    Nil,
    /// Integer.
    Int(i64),
    /// Bytes.
    Bytes(Bytes),
    /// List.
    Array(Vec<Value>),
}

/// Entry of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEntry {
    /// `<milliseconds>-<sequence>`.
    pub id: String,
    /// Names and values, in the order in which they were added.
    pub fields: Vec<(Bytes, Bytes)>,
}

// === impl Arg ===

impl<'a, T: AsRef<[u8]> + ?Sized> From<&'a T> for Arg<'a> {
    fn from(bytes: &'a T) -> Arg<'a> {
        Arg::Bytes(bytes.as_ref())
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
    /// Saturates at `i64::MAX`, the server's largest integer.
    fn from(number: u64) -> Self {
        Arg::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl Arg<'_> {
    pub(crate) fn to_fred(self) -> Fred {
        match self {
            Arg::Bytes(bytes) => Fred::Bytes(Bytes::copy_from_slice(bytes)),
            Arg::Int(number) => Fred::Integer(number),
        }
    }
}

// === impl Value ===

impl Value {
    /// The integer, also from decimal digits: Lua turns large numbers into text.
    pub fn int(&self) -> Result<i64, Error> {
        let parsed = match self {
            Value::Int(number) => Some(*number),
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()),
            Value::Nil | Value::Array(_) => None,
        };
        parsed.ok_or_else(|| Error::decode("a number", self.form()))
    }

    /// The bytes.
    pub fn bytes(self) -> Result<Bytes, Error> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            other @ (Value::Nil | Value::Int(_) | Value::Array(_)) => Err(Error::decode("bytes", other.form())),
        }
    }

    /// The bytes as UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        match self {
            Value::Bytes(bytes) => {
                std::str::from_utf8(bytes).map_err(|_| Error::decode("text", "bytes that are not UTF-8"))
            }
            Value::Nil | Value::Int(_) | Value::Array(_) => Err(Error::decode("text", self.form())),
        }
    }

    /// The list.
    pub fn array(self) -> Result<Vec<Value>, Error> {
        match self {
            Value::Array(list) => Ok(list),
            other @ (Value::Nil | Value::Int(_) | Value::Bytes(_)) => Err(Error::decode("a list", other.form())),
        }
    }

    /// The list as pairs of name and value, the form in which scripts return a hash.
    pub fn pairs(self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let list = self.array()?;
        if list.len() % 2 == 1 {
            return Err(Error::decode("a list", "a list of odd length"));
        }
        let mut pairs = Vec::with_capacity(list.len() / 2);
        let mut list = list.into_iter();
        while let (Some(name), Some(value)) = (list.next(), list.next()) {
            pairs.push((name.bytes()?, value.bytes()?));
        }
        Ok(pairs)
    }

    /// The list as entries of a stream, the form in which scripts return an `XRANGE`.
    pub fn entries(self) -> Result<Vec<StreamEntry>, Error> {
        self.array()?.into_iter().map(Value::entry).collect()
    }

    /// Reports whether the reply is nil.
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil)
    }

    fn entry(self) -> Result<StreamEntry, Error> {
        let mut parts = self.array()?.into_iter();
        match (parts.next(), parts.next(), parts.next()) {
            (Some(id), Some(fields), None) => Ok(StreamEntry { id: id.text()?.to_owned(), fields: fields.pairs()? }),
            _ => Err(Error::decode("a stream entry", "a list of another length")),
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

    /// Converts a frame of the server. An error in it, nested or not, is an answer.
    pub(crate) fn from_frame(frame: Resp3Frame) -> Result<Value, Failure> {
        let list = |list: Vec<Resp3Frame>| list.into_iter().map(Value::from_frame).collect::<Result<Vec<_>, _>>();
        Ok(match frame {
            Resp3Frame::Null => Value::Nil,
            Resp3Frame::Number { data, .. } => Value::Int(data),
            Resp3Frame::Boolean { data, .. } => Value::Int(data.into()),
            Resp3Frame::Double { data, .. } => Value::Bytes(data.to_string().into()),
            Resp3Frame::SimpleString { data, .. }
            | Resp3Frame::BlobString { data, .. }
            | Resp3Frame::VerbatimString { data, .. }
            | Resp3Frame::BigNumber { data, .. } => Value::Bytes(data),
            Resp3Frame::Array { data, .. } | Resp3Frame::Push { data, .. } => Value::Array(list(data)?),
            Resp3Frame::Set { data, .. } => Value::Array(list(data.into_iter().collect())?),
            Resp3Frame::Map { data, .. } => Value::Array(list(data.into_iter().flat_map(<[_; 2]>::from).collect())?),
            Resp3Frame::SimpleError { data, .. } => return Err(Failure::Answered(data)),
            Resp3Frame::BlobError { data, .. } => {
                return Err(Failure::Answered(String::from_utf8_lossy(&data).into_owned().into()));
            }
            Resp3Frame::ChunkedString(_) | Resp3Frame::Hello { .. } => return Err(Failure::unreadable()),
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

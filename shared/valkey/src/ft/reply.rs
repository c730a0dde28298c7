//! Replies of `FT.SEARCH`: `[total, key, [field, value, …], …]`, fields in any order.

use bytes::Bytes;

use super::Attribute;
use crate::{Error, Key, Value};

/// Rows of a search.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// Number of matching documents.
    pub total: u64,
    /// Documents. A document that expired during the search is left out.
    pub rows: Vec<Row>,
}

/// Document of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Last part of the document's key; none if the key holds a hash of it.
    pub id: Option<String>,
    /// Values of the requested fields, in the order of the request.
    pub fields: Vec<Option<Bytes>>,
}

pub(super) fn total(reply: Value) -> Result<u64, Error> {
    let total = reply.array()?.into_iter().next().ok_or_else(|| Error::decode("a total", "an empty list"))?;
    u64::try_from(total.int()?).map_err(|_| Error::decode("a total", "a negative number"))
}

/// Rows with the fields by name.
pub(super) fn rows(reply: Value, names: &[Attribute]) -> Result<Rows, Error> {
    let mut list = reply.array()?.into_iter();
    let total = total(Value::Array(list.next().into_iter().collect()))?;
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut rows = Vec::with_capacity(list.len() / 2);
    while let Some(key) = list.next() {
        let fields = list.next().ok_or_else(|| Error::decode("a row", "a key without fields"))?;
        if !fields.is_nil() {
            rows.push(row(&key, fields, &names)?);
        }
    }
    Ok(Rows { total, rows })
}

fn row(key: &Value, fields: Value, names: &[String]) -> Result<Row, Error> {
    let mut values = vec![None; names.len()];
    for (name, value) in fields.pairs()? {
        if let Some(position) = names.iter().position(|wanted| wanted.as_bytes() == name) {
            values[position] = Some(value);
        }
    }
    Ok(Row { id: Key::last_part(key.text()?), fields: values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Value {
        Value::Bytes(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn fields_are_read_by_name_and_expired_documents_are_left_out() {
        let names = [Attribute::new("_f"), Attribute::new("t"), Attribute::new("x")];
        let fields = Value::Array(vec![bytes("t"), bytes("1"), bytes("_f"), bytes("2")]);
        let list = vec![Value::Int(7), bytes("a:b~g0:{t:p1}:c:x%7C1"), fields, bytes("a:b"), Value::Nil];
        let rows = rows(Value::Array(list), &names).expect("a reply");
        assert_eq!((rows.total, rows.rows.len()), (7, 1));
        assert_eq!(rows.rows[0].id.as_deref(), Some("x|1"));
        let field = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
        assert_eq!(rows.rows[0].fields, [field("2"), field("1"), None]);
    }

    #[test]
    fn reply_of_another_form_is_a_decoding_error() {
        for reply in [Value::Nil, Value::Array(vec![]), Value::Array(vec![Value::Int(-1)])] {
            assert!(total(reply.clone()).is_err(), "{reply:?}");
            assert!(rows(reply, &[]).is_err());
        }
        assert!(rows(Value::Array(vec![Value::Int(1), bytes("k")]), &[]).is_err());
    }
}

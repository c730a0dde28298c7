//! Plain reads. They change nothing, so a lost connection has them sent again.

use bytes::Bytes;
use fred::types::Value as Fred;

use crate::observe::Operation;
use crate::{Error, Key, StreamEntry, Valkey, Value};

// === impl Valkey ===

impl Valkey {
    /// Reads all fields of a hash, in no particular order; none if the key does not exist.
    pub async fn hgetall(&self, key: &Key) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let reply = self.read("HGETALL", key, || vec![Fred::String(key.text().clone())]).await?;
        reply.pairs().map_err(|error| error.in_operation("HGETALL"))
    }

    /// Reads some fields of a hash, in the order of `fields`; `None` for each missing field. O(fields).
    pub async fn hmget(&self, key: &Key, fields: &[&str]) -> Result<Vec<Option<Bytes>>, Error> {
        let names = || fields.iter().map(|field| Fred::String((*field).into()));
        let arguments = || std::iter::once(Fred::String(key.text().clone())).chain(names()).collect();
        optional_fields(self.read("HMGET", key, arguments).await?)
    }

    /// Reads the same fields of several hashes, in the order of `keys`; the reads travel together. O(keys * fields).
    pub async fn hmget_each(&self, keys: &[Key], fields: &[&str]) -> Result<Vec<Vec<Option<Bytes>>>, Error> {
        futures::future::try_join_all(keys.iter().map(|key| self.hmget(key, fields))).await
    }

    /// Counts the fields of a hash. O(1).
    pub async fn hlen(&self, key: &Key) -> Result<u64, Error> {
        let reply = self.read("HLEN", key, || vec![Fred::String(key.text().clone())]).await?;
        let length = reply.int().map_err(|error| error.in_operation("HLEN"))?;
        Ok(u64::try_from(length).unwrap_or(0))
    }

    /// Reads a part of a hash from `cursor`, 0 at first; returns the next cursor, 0 at the end. A field may come twice, and
    /// about `count` come at once.
    pub async fn hscan(&self, key: &Key, cursor: u64, count: u32) -> Result<(u64, Vec<(Bytes, Bytes)>), Error> {
        let arguments = || {
            let start = [Fred::String(key.text().clone()), Fred::String(cursor.to_string().into())];
            start.into_iter().chain([Fred::from_static_str("COUNT"), Fred::Integer(i64::from(count))]).collect()
        };
        scan_page(self.read("HSCAN", key, arguments).await?).map_err(|error| error.in_operation("HSCAN"))
    }

    /// Reads the text under a key.
    pub async fn get(&self, key: &Key) -> Result<Option<Bytes>, Error> {
        let reply = self.read("GET", key, || vec![Fred::String(key.text().clone())]).await?;
        optional(reply).map_err(|error| error.in_operation("GET"))
    }

    /// Reads at most `count` entries of a stream between the ids `from` and `to`, both included; `-` and `+` are its ends,
    /// and `(` before an id excludes it.
    pub async fn xrange(&self, key: &Key, from: &str, to: &str, count: u64) -> Result<Vec<StreamEntry>, Error> {
        let reply = self.read("XRANGE", key, || range_arguments(key, from, to, count)).await?;
        reply.entries().map_err(|error| error.in_operation("XRANGE"))
    }

    /// Reads like [`Valkey::xrange`], the newest first: `from` is the later id.
    pub async fn xrevrange(&self, key: &Key, from: &str, to: &str, count: u64) -> Result<Vec<StreamEntry>, Error> {
        let reply = self.read("XREVRANGE", key, || range_arguments(key, from, to, count)).await?;
        reply.entries().map_err(|error| error.in_operation("XREVRANGE"))
    }

    async fn read(&self, command: &'static str, key: &Key, arguments: impl Fn() -> Vec<Fred>) -> Result<Value, Error> {
        self.send(Operation::read(command, key.feature().name()), Some(key), arguments).await
    }
}

/// Arguments of `XRANGE` and `XREVRANGE`.
pub(crate) fn range_arguments(key: &Key, from: &str, to: &str, count: u64) -> Vec<Fred> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let ends = [Fred::String(key.text().clone()), Fred::String(from.into()), Fred::String(to.into())];
    ends.into_iter().chain([Fred::from_static_str("COUNT"), Fred::Integer(count)]).collect()
}

/// Values in the reply of `HMGET`.
pub(crate) fn optional_fields(reply: Value) -> Result<Vec<Option<Bytes>>, Error> {
    let fields = reply.array().and_then(|values| values.into_iter().map(optional).collect());
    fields.map_err(|error| error.in_operation("HMGET"))
}

/// Cursor and pairs in the reply of `HSCAN`.
fn scan_page(reply: Value) -> Result<(u64, Vec<(Bytes, Bytes)>), Error> {
    let mut parts = reply.array()?.into_iter();
    let (Some(cursor), Some(pairs), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Error::decode("a cursor and a list", "a list of another length"));
    };
    let cursor = cursor.text()?.parse().map_err(|_| Error::decode("a cursor", "another text"))?;
    Ok((cursor, pairs.pairs()?))
}

fn optional(value: Value) -> Result<Option<Bytes>, Error> {
    if value.is_nil() { Ok(None) } else { value.bytes().map(Some) }
}

//! Life of an index: create, look, drop, list.

use fred::types::Value as Fred;

use super::{Attribute, Index, VectorColumn};
use crate::observe::Operation;
use crate::{Error, ErrorKind, Feature, Key, Valkey, Value};

/// Attributes of an index, by type. The order within a type has no meaning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// Tags, `|` between several.
    pub tags: Vec<Attribute>,
    /// Words, spaces between them; not stemmed.
    pub texts: Vec<Attribute>,
    /// Numbers.
    pub numbers: Vec<Attribute>,
    /// Vectors.
    pub vectors: Vec<VectorColumn>,
}

/// State of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexInfo {
    /// Number of indexed documents.
    pub documents: u64,
    /// True once all documents that existed before the index are in it.
    pub ready: bool,
}

// === impl Valkey ===

impl Valkey {
    /// Creates an index over its prefix; documents that exist already are indexed in the background. `false` if it exists,
    /// perhaps with other columns. Idempotent.
    ///
    /// # Errors
    /// As for any call.
    pub async fn create_index(&self, index: &Index, columns: &Columns) -> Result<bool, Error> {
        let created = self.administer("FT.CREATE", index, || create_arguments(index, columns)).await;
        expect(created, ErrorKind::IndexExists)
    }

    /// Drops an index; its documents stay. `false` if there is none. Idempotent.
    ///
    /// # Errors
    /// As for any call.
    pub async fn drop_index(&self, index: &Index) -> Result<bool, Error> {
        let dropped = self.administer("FT.DROPINDEX", index, || vec![name(index)]).await;
        expect(dropped, ErrorKind::IndexMissing)
    }

    /// Looks up the state of an index; `None` if there is none.
    ///
    /// # Errors
    /// As for any call.
    pub async fn index_info(&self, index: &Index) -> Result<Option<IndexInfo>, Error> {
        let operation = Operation::read("FT.INFO", index.feature().name());
        match self.send(operation, None, || vec![name(index)]).await {
            Ok(reply) => info(reply).map(Some).map_err(|error| error.in_operation("FT.INFO")),
            Err(error) if error.kind() == ErrorKind::IndexMissing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists the indexes of `feature` that belong to this application: name and generation, in no particular order.
    ///
    /// # Errors
    /// As for any call.
    pub async fn indexes(&self, feature: Feature) -> Result<Vec<(String, u32)>, Error> {
        let reply = self.send(Operation::read("FT._LIST", feature.name()), None, Vec::new).await?;
        let names = reply.array().map_err(|error| error.in_operation("FT._LIST"))?;
        let own = |name: &Value| Key::parse_index(self.app(), feature, name.text().ok()?);
        Ok(names.iter().filter_map(own).collect())
    }

    async fn administer(
        &self,
        command: &'static str,
        index: &Index,
        arguments: impl Fn() -> Vec<Fred>,
    ) -> Result<Value, Error> {
        let operation = Operation { changes: true, ..Operation::read(command, index.feature().name()) };
        self.send(operation, None, arguments).await
    }
}

/// `true` for a success, `false` for an error that says that nothing had to be done.
fn expect(result: Result<Value, Error>, needless: ErrorKind) -> Result<bool, Error> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == needless => Ok(false),
        Err(error) => Err(error),
    }
}

fn name(index: &Index) -> Fred {
    Fred::String(index.key().text().clone())
}

fn create_arguments(index: &Index, columns: &Columns) -> Vec<Fred> {
    let word = Fred::from_static_str;
    let attribute = |attribute: &Attribute| Fred::String(attribute.to_string().into());
    let mut arguments = vec![name(index)];
    arguments.extend(["ON", "HASH", "PREFIX", "1"].map(word));
    arguments.push(Fred::String(index.prefix().into()));
    arguments.extend(["STOPWORDS", "0", "SCHEMA"].map(word));
    for tag in &columns.tags {
        arguments.push(attribute(tag));
        arguments.extend(["TAG", "SEPARATOR", "|", "CASESENSITIVE"].map(word));
    }
    for text in &columns.texts {
        arguments.push(attribute(text));
        arguments.extend(["TEXT", "NOSTEM"].map(word));
    }
    for number in &columns.numbers {
        arguments.push(attribute(number));
        arguments.extend(["NUMERIC", "SORTABLE"].map(word));
    }
    arguments.extend(columns.vectors.iter().flat_map(|column| column.arguments()));
    arguments
}

/// State from pairs of name and value, of either engine.
fn info(reply: Value) -> Result<IndexInfo, Error> {
    let mut list = reply.array()?.into_iter();
    let mut found = IndexInfo { documents: 0, ready: true };
    let count = |value: &Value| value.int().map(|number| u64::try_from(number).unwrap_or(0));
    let mut counted = false;
    while let (Some(name), Some(value)) = (list.next(), list.next()) {
        match name.text()? {
            "num_docs" => {
                found.documents = count(&value)?;
                counted = true;
            }
            "indexing" | "backfill_in_progress" => found.ready &= value.int()? == 0,
            "state" => found.ready &= value.text()? == "ready",
            _ => {}
        }
    }
    if counted { Ok(found) } else { Err(Error::decode("a number of documents", "none")) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn reply(pairs: &[(&'static str, &'static str)]) -> Value {
        let bytes = |text: &'static str| Value::Bytes(Bytes::from_static(text.as_bytes()));
        Value::Array(pairs.iter().flat_map(|(name, value)| [bytes(name), bytes(value)]).collect())
    }

    #[test]
    fn index_is_ready_by_the_words_of_each_engine() {
        let ready = |pairs: &[_]| info(reply(pairs)).map(|info| info.ready);
        assert_eq!(ready(&[("num_docs", "7"), ("indexing", "0"), ("percent_indexed", "1")]), Ok(true));
        assert_eq!(ready(&[("num_docs", "7"), ("indexing", "1")]), Ok(false));
        assert_eq!(ready(&[("num_docs", "7"), ("backfill_in_progress", "0"), ("state", "ready")]), Ok(true));
        assert_eq!(
            ready(&[("num_docs", "7"), ("backfill_in_progress", "1"), ("state", "backfill_in_progress")]),
            Ok(false)
        );
        assert!(info(reply(&[("index_name", "x")])).is_err());
    }
}

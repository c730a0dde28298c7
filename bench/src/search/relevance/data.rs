//! Data sets, and the queries about them.

use std::path::Path;

use keyplane_search::domain::Language;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// Data sets with their searched fields.
pub(super) const SETS: [Set; 5] = [
    Set { name: "debian", fields: &[field("name", 3.0), english("description")] },
    Set { name: "companies", fields: &[field("name", 3.0), english("products"), field("headquarters", 1.0)] },
    Set { name: "cities", fields: &[field("name", 1.0)] },
    Set { name: "cities-ru", fields: &[field("name", 1.0)] },
    Set { name: "cities-ja", fields: &[field("name", 1.0)] },
];

/// Data set.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) name: &'static str,
    /// Searched fields.
    pub(super) fields: &'static [Field],
}

/// Text field. Every system gets the same weights.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) weight: f32,
    pub(super) language: Language,
}

/// Documents of a set, and its queries.
pub(super) struct Data {
    pub(super) set: &'static Set,
    pub(super) documents: Vec<Document>,
    pub(super) queries: Vec<Query>,
}

/// Line of a data set.
#[derive(Deserialize)]
pub(super) struct Document {
    pub(super) id: String,
    fields: serde_json::Map<String, serde_json::Value>,
}

/// Line of the queries.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Query {
    set: String,
    pub(super) class: String,
    pub(super) query: String,
    pub(super) expected: Vec<String>,
    pub(super) half: Half,
}

/// Half of the queries: weights are tuned on one, and the other is only measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Half {
    Tune,
    Held,
}

const fn field(name: &'static str, weight: f32) -> Field {
    Field { name, weight, language: Language::None }
}

const fn english(name: &'static str) -> Field {
    Field { name, weight: 1.0, language: Language::English }
}

// === impl Data ===

impl Data {
    /// Reads a set's documents and queries.
    pub(super) fn read(set: &'static Set, folder: &Path, queries: &Path) -> Result<Data, Error> {
        let documents = lines(&folder.join(format!("{}.jsonl", set.name)))?;
        let queries: Vec<Query> = lines(queries)?;
        let queries = queries.into_iter().filter(|query| query.set == set.name).collect();
        Ok(Data { set, documents, queries })
    }
}

/// Lines of a file, each a JSON object.
fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("reading {}: {error}; bench/datasets/fetch.py fetches the data", path.display()))?;
    let line = |(number, line)| {
        serde_json::from_str(line).map_err(|error| format!("{}:{}: {error}", path.display(), number + 1).into())
    };
    text.lines().enumerate().map(line).collect()
}

// === impl Document ===

impl Document {
    /// Text of a field; empty without a value.
    pub(super) fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(serde_json::Value::as_str).unwrap_or_default()
    }
}

// === impl Query ===

impl Query {
    /// Returns whether the last word is cut, as while somebody types.
    pub(super) fn is_prefix(&self) -> bool {
        self.class == "prefix"
    }

    /// Returns whether a word is misspelt.
    pub(super) fn is_typo(&self) -> bool {
        self.class == "typo"
    }
}

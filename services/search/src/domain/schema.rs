//! Schema of a collection: typed fields, synonyms, stop words, ranking.

use serde::{Deserialize, Serialize};

/// Name of a field: `[a-z][a-z0-9_]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FieldName(String);

/// Typed fields of a collection's documents, and the rules of its searches.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Schema {
    /// Fields in the order of their declaration, 1 to 64. The order gives each its [`Column`](super::Column).
    pub fields: Vec<Field>,
    /// Words that mean the same, applied to queries.
    pub synonyms: Vec<Synonyms>,
    /// Words that a query drops, unless it consists of nothing else.
    pub stop_words: Vec<String>,
    /// Number that raises a document's score, such as popularity or a date.
    pub rank_by: Option<RankBy>,
}

/// Field of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Name in documents, filters and requests.
    pub name: FieldName,
    /// Type of its values, and their treatment.
    pub kind: FieldKind,
    /// True if results may be ordered by the field. Not for multi-valued tags and stored fields.
    pub sortable: bool,
    /// True if facets may count the field's values. Only for tags, booleans, numbers and timestamps.
    pub facet: bool,
}

/// Type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum FieldKind {
    /// Text that queries search.
    Text {
        /// Importance of a match in this field, 0.1 to 10; default 1.
        weight: f32,
        /// Language of the stemmer; [`Language::None`] stems nothing.
        language: Language,
    },
    /// One value, matched whole.
    Tag,
    /// Several values, each matched whole.
    Tags,
    /// Whole number from -2^53 to 2^53.
    Integer,
    /// Number with 64-bit precision; never NaN or infinite.
    Decimal,
    /// Moment, in milliseconds since 1970.
    Timestamp,
    /// True or false.
    Boolean,
    /// Value that is returned, and neither searched nor filtered.
    Stored,
}

/// Language of a Snowball stemmer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Language {
    /// No stemming.
    #[default]
    None,
    /// Arabic.
    Arabic,
    /// Danish.
    Danish,
    /// Dutch.
    Dutch,
    /// English.
    English,
    /// Finnish.
    Finnish,
    /// French.
    French,
    /// German.
    German,
    /// Greek.
    Greek,
    /// Hungarian.
    Hungarian,
    /// Italian.
    Italian,
    /// Norwegian.
    Norwegian,
    /// Portuguese.
    Portuguese,
    /// Romanian.
    Romanian,
    /// Russian.
    Russian,
    /// Spanish.
    Spanish,
    /// Swedish.
    Swedish,
    /// Tamil.
    Tamil,
    /// Turkish.
    Turkish,
}

/// Words and phrases that mean the same; each finds documents with any of the others.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Synonyms {
    /// Two or more words or phrases.
    pub words: Vec<String>,
}

/// Numeric field that raises scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RankBy {
    /// Larger is better: the score grows with the logarithm of the value.
    Popularity {
        /// Integer or decimal field.
        field: FieldName,
        /// Importance, 0 to 10; default 1.
        weight: f32,
    },
    /// Later is better: the bonus halves with each half-life.
    Recency {
        /// Timestamp field.
        field: FieldName,
        /// Age at which the bonus is half, in milliseconds.
        half_life: i64,
        /// Importance, 0 to 10; default 1.
        weight: f32,
    },
}

// === impl FieldName ===

impl FieldName {
    /// Regular expression of the whole name.
    pub const PATTERN: &str = "[a-z][a-z0-9_]{0,62}";

    /// Takes a name that matches [`FieldName::PATTERN`].
    #[must_use]
    pub fn new(text: &str) -> Option<FieldName> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        (starts && text.len() <= 63 && text.bytes().all(inner)).then(|| FieldName(text.to_owned()))
    }

    /// Name as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Schema ===

impl Schema {
    /// Position and declaration of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<(usize, &Field)> {
        self.fields.iter().enumerate().find(|(_, field)| field.name.as_str() == name)
    }
}

// === impl FieldKind ===

impl FieldKind {
    /// Returns whether values are numbers in the index: integers, decimals and timestamps.
    #[must_use]
    pub fn is_numeric(self) -> bool {
        matches!(self, FieldKind::Integer | FieldKind::Decimal | FieldKind::Timestamp)
    }

    /// Returns whether values are tags in the index: tags and booleans.
    #[must_use]
    pub fn is_tag(self) -> bool {
        matches!(self, FieldKind::Tag | FieldKind::Tags | FieldKind::Boolean)
    }

    /// Returns whether queries search the values.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, FieldKind::Text { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_name_follows_its_pattern() {
        for good in ["a", "amount", "x_1", &"a".repeat(63)] {
            assert!(FieldName::new(good).is_some(), "{good}");
        }
        for bad in ["", "_a", "1a", "A", "a-b", "\u{e4}", &"a".repeat(64)] {
            assert!(FieldName::new(bad).is_none(), "{bad}");
        }
    }
}

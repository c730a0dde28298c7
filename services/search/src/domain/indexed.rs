//! Documents as the index holds them: what the store writes into a document's hash, beside its revision and times.

use keyplane_contracts::names::CollectionId;

use super::analysis::{Analyzer, MAX_TEXT_BYTES, distinct_terms, index_terms};
use super::body;
use super::document::{Document, Value};
use super::layout::{Column, Layout};
use super::packed;
use super::schema::{Field, FieldKind, Schema};
use super::sort_key;
use super::spread::Spread;
use super::token::Token;

/// Fields of a document's hash that follow from the document, its schema and layout alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Indexed {
    /// Values of the index's columns. A text without words and a missing number have none.
    pub columns: Vec<(Column, Content)>,
    /// Uniform number and partition.
    pub spread: Spread,
    /// Packed values, field `_f`.
    pub packed: Vec<u8>,
    /// Distinct terms of all text columns, sorted, separated by spaces; field `_k`.
    pub terms: String,
    /// Values as canonical JSON, field `_b`.
    pub body: String,
}

/// Value of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Term stream of a text.
    Terms(String),
    /// Tag tokens, separated by `|`; the token of a missing value if there is none.
    Tokens(String),
    /// Number, or the sort key of a text, tag or boolean.
    Number(f64),
}

// === impl Indexed ===

impl Indexed {
    /// Index entry of a document that is valid by `schema`. Linear in its bytes; texts count up to 64 KiB together.
    #[must_use]
    pub fn new(schema: &Schema, layout: &Layout, collection: &CollectionId, document: &Document) -> Indexed {
        let mut indexed = Indexed {
            columns: Vec::with_capacity(schema.fields.len()),
            spread: Spread::new(collection, &document.id),
            packed: packed::pack(schema, document),
            terms: String::new(),
            body: body::write(document),
        };
        let mut budget = MAX_TEXT_BYTES;
        let columns = schema.fields.iter().zip(&layout.columns).zip(&layout.sort);
        for ((field, column), sort) in columns {
            let value = document.fields.get(&field.name);
            if let Some(column) = column {
                indexed.add(field, *column, value, &mut budget);
            }
            let key = sort.filter(|sort| Some(*sort) != *column).zip(value.and_then(key));
            indexed.columns.extend(key.map(|(sort, key)| (sort, Content::Number(key))));
        }
        indexed.terms = indexed.distinct();
        indexed
    }

    fn add(&mut self, field: &Field, column: Column, value: Option<&Value>, budget: &mut usize) {
        match column {
            Column::Text(_) => self.add_text(field.kind, column, value, budget),
            Column::Tag(_) => self.add_tags(column, value),
            Column::Number(_) => {
                let number = value.and_then(Value::number);
                self.columns.extend(number.map(|number| (column, Content::Number(number))));
            }
        }
    }

    fn add_text(&mut self, kind: FieldKind, column: Column, value: Option<&Value>, budget: &mut usize) {
        if let (FieldKind::Text { language, .. }, Some(Value::Text(text))) = (kind, value) {
            let text = &text[..text.floor_char_boundary(*budget)];
            *budget -= text.len();
            let stream = index_terms(&Analyzer::new(language).analyze(text));
            if !stream.is_empty() {
                self.columns.push((column, Content::Terms(stream)));
            }
        }
    }

    fn add_tags(&mut self, column: Column, value: Option<&Value>) {
        let mut tokens = value.map(tokens).unwrap_or_default();
        tokens.sort_unstable();
        tokens.dedup();
        if tokens.is_empty() {
            tokens.push(Token::missing());
        }
        let tokens: Vec<&str> = tokens.iter().map(Token::as_str).collect();
        self.columns.push((column, Content::Tokens(tokens.join("|"))));
    }

    fn distinct(&self) -> String {
        let streams = self.columns.iter().filter_map(|(_, content)| match content {
            Content::Terms(stream) => Some(stream.as_str()),
            Content::Tokens(_) | Content::Number(_) => None,
        });
        distinct_terms(streams).join(" ")
    }
}

/// Tokens of a tag, a multi-valued tag or a boolean.
fn tokens(value: &Value) -> Vec<Token> {
    match value {
        Value::Text(text) => vec![Token::new(text)],
        Value::Tags(tags) => tags.iter().map(|tag| Token::new(tag)).collect(),
        Value::Boolean(value) => vec![Token::new(packed::boolean(*value))],
        Value::Integer(_) | Value::Decimal(_) | Value::Timestamp(_) | Value::Json(_) => Vec::new(),
    }
}

/// Sort key of a text, a tag or a boolean.
fn key(value: &Value) -> Option<f64> {
    match value {
        Value::Text(text) => sort_key::text(text),
        Value::Boolean(value) => Some(sort_key::boolean(*value)),
        Value::Tags(_) | Value::Integer(_) | Value::Decimal(_) | Value::Timestamp(_) | Value::Json(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use keyplane_contracts::names::Id;
    use proptest::prelude::*;

    use super::super::schema::{FieldName, Language};
    use super::*;

    fn schema() -> Schema {
        let text = |language| FieldKind::Text { weight: 1.0, language };
        let fields = [
            ("name", text(Language::None), true),
            ("about", text(Language::English), false),
            ("status", FieldKind::Tag, true),
            ("tags", FieldKind::Tags, false),
            ("open", FieldKind::Boolean, false),
            ("count", FieldKind::Integer, true),
            ("note", FieldKind::Stored, false),
        ];
        let field = |(name, kind, sortable)| Field { name: name_of(name), kind, sortable, facet: false };
        Schema { fields: fields.into_iter().map(field).collect(), ..Schema::default() }
    }

    fn name_of(name: &str) -> FieldName {
        FieldName::new(name).expect("a name")
    }

    fn index(fields: Vec<(&str, Value)>) -> Indexed {
        let schema = schema();
        let fields: BTreeMap<_, _> = fields.into_iter().map(|(name, value)| (name_of(name), value)).collect();
        let document = Document { id: Id::parse("d", "id").expect("an id"), fields, version: None, expires: None };
        let collection = CollectionId::parse("companies", "collection").expect("an id");
        Indexed::new(&schema, &Layout::new(&schema), &collection, &document)
    }

    fn columns(indexed: &Indexed) -> Vec<(String, Content)> {
        indexed.columns.iter().map(|(column, content)| (column.to_string(), content.clone())).collect()
    }

    #[test]
    fn document_fills_its_columns() {
        let indexed = index(vec![
            ("name", Value::Text("Café-2".into())),
            ("about", Value::Text("running".into())),
            ("status", Value::Text("Open".into())),
            ("tags", Value::Tags(vec!["b".into(), "a|".into(), "b".into()])),
            ("open", Value::Boolean(true)),
            ("count", Value::Integer(7)),
            ("note", Value::Json("{}".into())),
        ]);
        let expected = [
            ("t0", Content::Terms("cafe __café 2  cafe2".into())),
            ("n1", Content::Number(sort_key::text("cafe2").expect("a key"))),
            ("t1", Content::Terms("running _run".into())),
            ("g0", Content::Tokens("_4fpen".into())),
            ("n2", Content::Number(sort_key::text("open").expect("a key"))),
            ("g1", Content::Tokens("a_7c|b".into())),
            ("g2", Content::Tokens("true".into())),
            ("n0", Content::Number(7.0)),
        ];
        assert_eq!(columns(&indexed), expected.map(|(column, content)| (column.to_owned(), content)));
        assert_eq!(indexed.terms, "2 _run cafe cafe2 running");
    }

    #[test]
    fn missing_values_have_the_sentinel_or_no_attribute() {
        let indexed = index(vec![("name", Value::Text("...".into())), ("tags", Value::Tags(Vec::new()))]);
        let sentinel = || Content::Tokens("_0".into());
        let expected = [("g0", sentinel()), ("g1", sentinel()), ("g2", sentinel())];
        assert_eq!(columns(&indexed), expected.map(|(column, content)| (column.to_owned(), content)));
        assert_eq!(indexed.terms, "");
    }

    #[test]
    fn texts_share_one_budget() {
        let long = || Value::Text("word ".repeat(10_000));
        let indexed = index(vec![("name", long()), ("about", long())]);
        let words: usize = indexed
            .columns
            .iter()
            .map(|(_, content)| if let Content::Terms(stream) = content { stream.split(' ').count() } else { 0 })
            .sum();
        assert_eq!(words, MAX_TEXT_BYTES.div_ceil(5), "the last word is cut");
    }

    proptest! {
        #[test]
        fn any_text_is_indexed_by_safe_bytes(name in any::<String>(), about in "\\PC{0,60}") {
            let indexed = index(vec![("name", Value::Text(name)), ("about", Value::Text(about))]);
            let safe = |character: char| {
                character == ' ' || character == '_' || character.is_ascii_lowercase() || character.is_ascii_digit()
                    || (!character.is_ascii() && !character.is_whitespace() && !character.is_control())
            };
            for (_, content) in &indexed.columns {
                if let Content::Terms(stream) = content {
                    prop_assert!(stream.chars().all(safe), "{stream}");
                }
            }
            prop_assert!(indexed.terms.split(' ').is_sorted());
        }
    }
}

//! Random schemas, documents and requests, by a seed.

use keyplane_contracts::names::Id;
use keyplane_search::domain::{Document, Field, FieldKind, Schema, Value};

use crate::rig::{field, field_name, text};

/// Words of random texts: the first are frequent.
pub(crate) const WORDS: [&str; 24] = [
    "red", "blue", "green", "house", "garden", "painting", "painted", "window", "windows", "river", "cafés", "street",
    "AB-1234", "forest", "mountain", "library", "concert", "bridge", "harbour", "lantern", "meadow", "orchard",
    "quarry", "zephyr",
];
const TAGS: [&str; 6] = ["open", "closed", "in review", "a", "b*", "ü"];

/// Source of random choices.
pub(crate) struct Dice(u64);

// === impl Dice ===

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// Number below `below`.
    pub(crate) fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % below.max(1)
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }

    fn number(&mut self, below: usize) -> i64 {
        i64::try_from(self.roll(below)).expect("small")
    }

    /// Word: one of the first far more often than one of the last.
    pub(crate) fn word(&mut self) -> &'static str {
        let at = self.roll(WORDS.len());
        WORDS[self.roll(at + 1)]
    }

    fn tag(&mut self) -> &'static str {
        TAGS[self.roll(TAGS.len())]
    }

    /// Schema with some fields of each type, in any order.
    pub(crate) fn schema(&mut self) -> Schema {
        let kinds = [
            text(2.0),
            text(1.0),
            FieldKind::Tag,
            FieldKind::Tag,
            FieldKind::Tags,
            FieldKind::Boolean,
            FieldKind::Integer,
            FieldKind::Integer,
            FieldKind::Decimal,
            FieldKind::Timestamp,
        ];
        let mut fields: Vec<Field> = Vec::new();
        for (at, kind) in kinds.into_iter().enumerate() {
            if self.chance(75) {
                fields.insert(self.roll(fields.len() + 1), field(&format!("f{at}"), kind));
            }
        }
        if fields.is_empty() {
            fields.push(field("f0", FieldKind::Tag));
        }
        Schema { fields, ..Schema::default() }
    }

    pub(crate) fn documents(&mut self, schema: &Schema, count: usize) -> Vec<Document> {
        (0..count).map(|at| self.document(schema, &format!("d{at}"))).collect()
    }

    pub(crate) fn document(&mut self, schema: &Schema, id: &str) -> Document {
        let mut fields = std::collections::BTreeMap::new();
        for field in &schema.fields {
            if self.chance(15) {
                continue;
            }
            let value = match field.kind {
                FieldKind::Text { .. } => {
                    let length = 1 + self.roll(8);
                    Value::Text((0..length).map(|_| self.word()).collect::<Vec<_>>().join(" "))
                }
                FieldKind::Tag => Value::Text(self.tag().to_owned()),
                FieldKind::Tags => {
                    let mut tags: Vec<String> = Vec::new();
                    for _ in 0..=self.roll(3) {
                        let tag = self.tag().to_owned();
                        if !tags.contains(&tag) {
                            tags.push(tag);
                        }
                    }
                    Value::Tags(tags)
                }
                FieldKind::Boolean => Value::Boolean(self.chance(50)),
                FieldKind::Integer => Value::Integer(self.number(30) - 10),
                FieldKind::Decimal => {
                    Value::Decimal(f64::from(u32::try_from(self.roll(1000)).expect("small")) / 8.0 - 20.0)
                }
                FieldKind::Timestamp => Value::Timestamp(1_790_000_000_123 + self.number(50) * 86_400_000),
                FieldKind::Stored => continue,
            };
            fields.insert(field.name.clone(), value);
        }
        Document { id: Id::parse(id, "id").expect("an id"), fields, version: None, expires: None }
    }

    /// Filter over the schema's fields; empty now and then.
    pub(crate) fn filter(&mut self, schema: &Schema) -> String {
        let count = self.roll(4);
        (0..count).map(|_| self.conjunct(schema)).collect::<Vec<_>>().join(" AND ")
    }

    fn conjunct(&mut self, schema: &Schema) -> String {
        match self.roll(6) {
            0 => format!("NOT ({} OR {})", self.term(schema), self.term(schema)),
            1 => format!("({} OR {})", self.term(schema), self.term(schema)),
            2 => format!("({} OR ({} AND {}))", self.term(schema), self.term(schema), self.term(schema)),
            _ => self.term(schema),
        }
    }

    fn term(&mut self, schema: &Schema) -> String {
        let fields: Vec<&Field> = schema.fields.iter().filter(|field| !field.kind.is_text()).collect();
        let Some(field) = fields.get(self.roll(fields.len())) else { return "f0 : *".to_owned() };
        let name = field.name.as_str();
        if self.chance(8) {
            return format!("{name} : *");
        }
        let operator = ["=", "!=", "<", "<=", ">", ">="][self.roll(6)];
        match field.kind {
            FieldKind::Tag => format!("{name} {} \"{}\"", ["=", "!="][self.roll(2)], self.tag()),
            FieldKind::Tags => format!("{name} : (\"{}\" OR \"{}\")", self.tag(), self.tag()),
            FieldKind::Boolean => format!("{name} = {}", self.chance(50)),
            FieldKind::Integer => format!("{name} {operator} {}", self.number(30) - 10),
            FieldKind::Decimal => format!("{name} {operator} {}.5", self.roll(100)),
            FieldKind::Timestamp => format!("{name} {operator} \"2026-09-{:02}T00:00:00Z\"", 1 + self.roll(30)),
            FieldKind::Text { .. } | FieldKind::Stored => unreachable!("left out before"),
        }
    }
}

/// Names of a schema's sortable fields.
pub(crate) fn sortable(schema: &Schema) -> Vec<&str> {
    schema.fields.iter().filter(|field| field.sortable).map(|field| field.name.as_str()).collect()
}

/// Timestamps of all documents, shifted: another value for one field.
pub(crate) fn with(document: &Document, name: &str, value: Value) -> Document {
    let mut changed = document.clone();
    changed.fields.insert(field_name(name), value);
    changed
}

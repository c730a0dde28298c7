//! Rules of a schema.

use std::collections::BTreeSet;

use keyplane_contracts::rules::search as stated;
use keyplane_contracts::{Violation, Violations};

use super::super::schema::{Field, FieldKind, RankBy, Schema, Synonyms};

/// Checks a whole schema. Paths start at `collection`.
///
/// # Errors
///
/// All rules that it breaks.
pub fn schema(schema: &Schema) -> Result<(), Vec<Violation>> {
    let mut violations = Violations::new();
    fields(schema.fields.len(), schema.fields.iter().enumerate(), &mut violations);
    words(&schema.synonyms, &schema.stop_words, &mut violations);
    if let Some(rank_by) = &schema.rank_by {
        check_rank_by(rank_by, schema, &mut violations);
    }
    violations.into_result(())
}

/// Checks the fields of a schema, each with its position; `sent` counts those of the request.
pub fn fields<'a>(sent: usize, fields: impl Iterator<Item = (usize, &'a Field)>, violations: &mut Violations) {
    if !(1..=stated::FIELDS).contains(&sent) {
        violations.add("collection.fields", format!("must be 1 to {} fields; {sent} were sent", stated::FIELDS));
    }
    let (mut names, mut texts) = (BTreeSet::new(), 0);
    for (index, field) in fields {
        let at = |part: &str| format!("collection.fields[{index}].{part}");
        if !names.insert(&field.name) {
            violations.add(at("name"), format!("must be unique; an earlier field is named {}", field.name.as_str()));
        }
        if let FieldKind::Text { weight, .. } = field.kind {
            texts += 1;
            check_weight(&at("weight"), weight, violations);
        }
        if field.sortable && matches!(field.kind, FieldKind::Tags | FieldKind::Stored) {
            violations.add(at("sortable"), "must be false: results can't be ordered by a TAGS or STORED field");
        }
        if field.facet && matches!(field.kind, FieldKind::Text { .. } | FieldKind::Stored) {
            violations.add(at("facet"), "must be false: values of a TEXT or STORED field can't be counted");
        }
    }
    if texts > stated::TEXT_FIELDS {
        let most = stated::TEXT_FIELDS;
        violations.add("collection.fields", format!("must have at most {most} TEXT fields; {texts} were sent"));
    }
}

/// Checks synonyms and stop words.
pub fn words(synonyms: &[Synonyms], stop_words: &[String], violations: &mut Violations) {
    if synonyms.len() > stated::SYNONYMS {
        let (most, sent) = (stated::SYNONYMS, synonyms.len());
        violations.add("collection.synonyms", format!("must be at most {most} groups; {sent} were sent"));
    }
    for (index, group) in synonyms.iter().take(stated::SYNONYMS).enumerate() {
        let at = format!("collection.synonyms[{index}].words");
        let (most, sent) = (stated::SYNONYM_WORDS, group.words.len());
        if !(2..=most).contains(&sent) {
            violations.add(&at, format!("must be 2 to {most} words or phrases; {sent} were sent"));
        }
        for (index, word) in group.words.iter().take(most).enumerate() {
            check_word(&format!("{at}[{index}]"), word, violations);
        }
    }
    if stop_words.len() > stated::STOP_WORDS {
        let (most, sent) = (stated::STOP_WORDS, stop_words.len());
        violations.add("collection.stop_words", format!("must be at most {most} words; {sent} were sent"));
    }
    for (index, word) in stop_words.iter().take(stated::STOP_WORDS).enumerate() {
        check_word(&format!("collection.stop_words[{index}]"), word, violations);
    }
}

fn check_word(at: &str, word: &str, violations: &mut Violations) {
    if !(1..=stated::WORD).contains(&word.len()) || word.chars().any(char::is_control) {
        let (most, sent) = (stated::WORD, word.len());
        violations.add(at, format!("must be 1 to {most} bytes without control characters; {sent} were sent"));
    }
}

fn check_weight(at: &str, weight: f32, violations: &mut Violations) {
    #[expect(clippy::cast_precision_loss, reason = "a small bound")]
    let most = stated::WEIGHT as f32;
    if !(weight > 0.0 && weight <= most) {
        violations.add(at, format!("must be above 0, at most {most}; 0 stands for 1"));
    }
}

fn check_rank_by(rank_by: &RankBy, schema: &Schema, violations: &mut Violations) {
    let (name, weight) = match rank_by {
        RankBy::Popularity { field, weight } | RankBy::Recency { field, weight, .. } => (field, *weight),
    };
    check_weight("collection.rank_by.weight", weight, violations);
    let kind = schema.field(name.as_str()).map(|(_, field)| field.kind);
    let fits = match rank_by {
        RankBy::Popularity { .. } => matches!(kind, Some(FieldKind::Integer | FieldKind::Decimal)),
        RankBy::Recency { .. } => kind == Some(FieldKind::Timestamp),
    };
    if !fits {
        let rule = "must name an INTEGER or DECIMAL field for MODE_POPULARITY, a TIMESTAMP field for MODE_RECENCY";
        violations.add("collection.rank_by.field", rule);
    }
    if let RankBy::Recency { half_life, .. } = rank_by {
        let [least, most] = stated::HALF_LIFE;
        let seconds = u64::try_from(*half_life).unwrap_or(0).div_ceil(1000);
        if *half_life < i64::try_from(least * 1000).unwrap_or(i64::MAX) || seconds > most {
            violations.add("collection.rank_by.half_life", format!("must be {least} s to {most} s"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::schema::{FieldName, Language};
    use super::*;

    fn field(name: &str, kind: FieldKind) -> Field {
        Field { name: FieldName::new(name).expect("a name"), kind, sortable: false, facet: false }
    }

    const TEXT: FieldKind = FieldKind::Text { weight: 1.0, language: Language::English };

    fn broken(schema: &Schema) -> Vec<String> {
        let violations = super::schema(schema).err().unwrap_or_default();
        violations.into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn schema_within_its_rules_passes() {
        let all = [
            ("text", TEXT),
            ("tag", FieldKind::Tag),
            ("tags", FieldKind::Tags),
            ("integer", FieldKind::Integer),
            ("decimal", FieldKind::Decimal),
            ("time", FieldKind::Timestamp),
            ("boolean", FieldKind::Boolean),
            ("stored", FieldKind::Stored),
        ];
        let rank_by = |field: &str| FieldName::new(field).expect("a name");
        let mut schema = Schema {
            fields: all.map(|(name, kind)| field(name, kind)).into(),
            synonyms: vec![Synonyms { words: vec!["ag".into(), "aktiengesellschaft".into()] }],
            stop_words: vec!["der".into()],
            rank_by: Some(RankBy::Recency { field: rank_by("time"), half_life: 60_000, weight: 10.0 }),
        };
        assert_eq!(broken(&schema), [""; 0]);
        schema.rank_by = Some(RankBy::Popularity { field: rank_by("decimal"), weight: 0.1 });
        assert_eq!(broken(&schema), [""; 0]);
    }

    #[test]
    fn every_broken_rule_is_named() {
        let mut fields = vec![
            field("a", FieldKind::Text { weight: f32::NAN, language: Language::None }),
            Field { sortable: true, facet: true, ..field("a", FieldKind::Stored) },
            Field { facet: true, ..field("b", TEXT) },
            Field { sortable: true, facet: true, ..field("c", FieldKind::Tags) },
        ];
        fields.extend((0..16).map(|index| field(&format!("t{index}"), TEXT)));
        let schema = Schema {
            fields,
            synonyms: vec![Synonyms { words: vec!["one".into()] }, Synonyms { words: vec!["a".into(), String::new()] }],
            stop_words: vec!["x".repeat(65), "fine".into(), "\n".into()],
            rank_by: Some(RankBy::Recency {
                field: FieldName::new("b").expect("a name"),
                half_life: 59_999,
                weight: 11.0,
            }),
        };
        assert_eq!(
            broken(&schema),
            [
                "collection.fields[0].weight",
                "collection.fields[1].name",
                "collection.fields[1].sortable",
                "collection.fields[1].facet",
                "collection.fields[2].facet",
                "collection.fields[3].sortable",
                "collection.fields",
                "collection.synonyms[0].words",
                "collection.synonyms[1].words[1]",
                "collection.stop_words[0]",
                "collection.stop_words[2]",
                "collection.rank_by.weight",
                "collection.rank_by.field",
                "collection.rank_by.half_life",
            ]
        );
    }

    #[test]
    fn schema_has_one_to_64_fields() {
        assert_eq!(broken(&Schema::default()), ["collection.fields"]);
        let fields = (0..65).map(|index| field(&format!("f{index}"), FieldKind::Tag)).collect();
        let mut schema = Schema { fields, ..Schema::default() };
        assert_eq!(broken(&schema), ["collection.fields"]);
        schema.fields.pop();
        assert_eq!(broken(&schema), [""; 0]);
    }
}

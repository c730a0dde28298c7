//! Schemas in requests.

use keyplane_contracts::rules::search as stated;
use keyplane_contracts::search::v1 as pb;
use keyplane_contracts::{Violation, Violations, duration};

use crate::domain::validate;
use crate::domain::{Field, FieldKind, FieldName, Language, RankBy, Schema, SchemaPatch, Synonyms};

/// Half-life of a ranking by recency, unless the caller sets one: 30 days in milliseconds.
const HALF_LIFE: i64 = 30 * 24 * 3600 * 1000;

/// Whole schema.
pub(super) fn schema(collection: pb::Collection, violations: &mut Violations) -> Schema {
    let fields = fields(collection.fields, violations);
    let synonyms = synonyms(collection.synonyms);
    validate::words(&synonyms, &collection.stop_words, violations);
    let rank_by = collection.rank_by.and_then(|sent| rank_by(&sent, violations));
    let schema = Schema { fields, synonyms, stop_words: collection.stop_words, rank_by };
    // Its field may be one that is invalid itself.
    if violations.is_empty() {
        violations.extend(validate::schema(&schema).err().unwrap_or_default());
    }
    schema
}

/// Parts of a schema that are present, or that the mask names. `app` checks the schema that they make.
pub(super) fn patch(collection: pb::Collection, paths: &[String], violations: &mut Violations) -> SchemaPatch {
    for (index, path) in paths.iter().enumerate() {
        if !stated::SCHEMA_MASKABLE.contains(&path.as_str()) {
            violations.extend([Violation::unknown_path(index, path.len(), &stated::SCHEMA_MASKABLE)]);
        }
    }
    let named = |path: &str, present: bool| match paths {
        [] => present,
        paths => paths.iter().any(|given| given == path),
    };
    let keep_fields = named("fields", !collection.fields.is_empty());
    let keep_synonyms = named("synonyms", !collection.synonyms.is_empty());
    let keep_stop_words = named("stop_words", !collection.stop_words.is_empty());
    let keep_rank_by = named("rank_by", collection.rank_by.is_some());
    let patch = SchemaPatch {
        fields: keep_fields.then(|| fields(collection.fields, violations)),
        synonyms: keep_synonyms.then(|| synonyms(collection.synonyms)),
        stop_words: keep_stop_words.then_some(collection.stop_words),
        rank_by: keep_rank_by.then(|| collection.rank_by.and_then(|sent| rank_by(&sent, violations))),
    };
    let (synonyms, stop_words) = (patch.synonyms.as_deref(), patch.stop_words.as_deref());
    validate::words(synonyms.unwrap_or_default(), stop_words.unwrap_or_default(), violations);
    patch
}

fn fields(sent: Vec<pb::Field>, violations: &mut Violations) -> Vec<Field> {
    let count = sent.len();
    let fields: Vec<_> = sent
        .iter()
        .enumerate()
        .take(stated::FIELDS)
        .filter_map(|(index, sent)| Some((index, field(index, sent, violations)?)))
        .collect();
    validate::fields(count, fields.iter().map(|(index, field)| (*index, field)), violations);
    fields.into_iter().map(|(_, field)| field).collect()
}

fn field(index: usize, sent: &pb::Field, violations: &mut Violations) -> Option<Field> {
    let at = |part: &str| format!("collection.fields[{index}].{part}");
    let rule = || {
        let (pattern, bytes) = (FieldName::PATTERN, sent.name.len());
        Violation::new(at("name"), format!("must match {pattern}; {bytes} bytes were sent"))
    };
    let name = violations.keep(FieldName::new(&sent.name).ok_or_else(rule));
    let kind = kind(sent, &at, violations);
    Some(Field { name: name?, kind: kind?, sortable: sent.sortable, facet: sent.facet })
}

fn kind(sent: &pb::Field, at: &impl Fn(&str) -> String, violations: &mut Violations) -> Option<FieldKind> {
    use pb::field::Type;
    let Ok(kind) = Type::try_from(sent.r#type) else {
        violations.add(at("type"), "must be a type of this contract, such as TYPE_TEXT");
        return None;
    };
    let language = violations.keep(language(sent, at));
    if kind != Type::Text && sent.weight != 0.0 {
        violations.add(at("weight"), "must not be set: only a TEXT field has a weight");
    }
    if kind != Type::Text && language.is_some_and(|language| language != Language::None) {
        violations.add(at("language"), "must not be set: only a TEXT field has a language");
    }
    Some(match kind {
        Type::Unspecified => {
            violations.add(at("type"), "must be set, e.g. to TYPE_TEXT");
            return None;
        }
        Type::Text => FieldKind::Text { weight: weight(sent.weight), language: language? },
        Type::Tag => FieldKind::Tag,
        Type::Tags => FieldKind::Tags,
        Type::Integer => FieldKind::Integer,
        Type::Decimal => FieldKind::Decimal,
        Type::Timestamp => FieldKind::Timestamp,
        Type::Boolean => FieldKind::Boolean,
        Type::Stored => FieldKind::Stored,
    })
}

fn language(sent: &pb::Field, at: &impl Fn(&str) -> String) -> Result<Language, Violation> {
    use pb::field::Language as Sent;
    let sent = Sent::try_from(sent.language)
        .map_err(|_| Violation::new(at("language"), "must be a language of this contract, such as LANGUAGE_ENGLISH"))?;
    Ok(match sent {
        Sent::Unspecified => Language::None,
        Sent::Arabic => Language::Arabic,
        Sent::Danish => Language::Danish,
        Sent::Dutch => Language::Dutch,
        Sent::English => Language::English,
        Sent::Finnish => Language::Finnish,
        Sent::French => Language::French,
        Sent::German => Language::German,
        Sent::Greek => Language::Greek,
        Sent::Hungarian => Language::Hungarian,
        Sent::Italian => Language::Italian,
        Sent::Norwegian => Language::Norwegian,
        Sent::Portuguese => Language::Portuguese,
        Sent::Romanian => Language::Romanian,
        Sent::Russian => Language::Russian,
        Sent::Spanish => Language::Spanish,
        Sent::Swedish => Language::Swedish,
        Sent::Tamil => Language::Tamil,
        Sent::Turkish => Language::Turkish,
    })
}

/// Weight of a message, of which 0 stands for 1.
fn weight(sent: f32) -> f32 {
    if sent == 0.0 { 1.0 } else { sent }
}

fn synonyms(sent: Vec<pb::SynonymGroup>) -> Vec<Synonyms> {
    sent.into_iter().map(|group| Synonyms { words: group.words }).collect()
}

fn rank_by(sent: &pb::RankBy, violations: &mut Violations) -> Option<RankBy> {
    use pb::rank_by::Mode;
    let at = |part: &str| format!("collection.rank_by.{part}");
    let rule = || Violation::new(at("field"), "must be the name of a field");
    let field = violations.keep(FieldName::new(&sent.field).ok_or_else(rule));
    let half_life = sent.half_life.map_or(Ok(HALF_LIFE), |half_life| {
        let millis = duration(half_life).and_then(|half_life| i64::try_from(half_life.as_millis()).ok());
        millis.ok_or_else(|| Violation::new(at("half_life"), "must not be negative"))
    });
    let half_life = violations.keep(half_life);
    let weight = weight(sent.weight);
    match Mode::try_from(sent.mode) {
        Ok(Mode::Popularity) if sent.half_life.is_some() => {
            violations.add(at("half_life"), "must not be set: only MODE_RECENCY has a half-life");
            None
        }
        Ok(Mode::Popularity) => Some(RankBy::Popularity { field: field?, weight }),
        Ok(Mode::Recency) => Some(RankBy::Recency { field: field?, half_life: half_life?, weight }),
        Ok(Mode::Unspecified) | Err(_) => {
            violations.add(at("mode"), "must be MODE_POPULARITY or MODE_RECENCY");
            None
        }
    }
}

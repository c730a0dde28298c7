//! Collections, documents and results of writes as messages.

use keyplane_contracts::names::{CollectionId, CollectionName, DocumentName};
use keyplane_contracts::search::v1 as pb;
use keyplane_contracts::{page, timestamp};
use keyplane_server::item_error;
use prost_types::Duration;

use super::values::to_struct;
use crate::domain::{
    Collection, Deleted, Field, FieldKind, Language, Outcome, RankBy, Rebuild, RebuildState, Stored, Written,
};
use crate::error::Error;

/// Collection as a message.
pub(in crate::grpc) fn collection(collection: Collection) -> pb::Collection {
    let groups = collection.schema.synonyms.into_iter();
    pb::Collection {
        name: collection.name.to_string(),
        collection_id: collection.name.collection.to_string(),
        fields: collection.schema.fields.into_iter().map(field).collect(),
        synonyms: groups.map(|group| pb::SynonymGroup { words: group.words }).collect(),
        stop_words: collection.schema.stop_words,
        rank_by: collection.schema.rank_by.map(rank_by),
        etag: collection.etag,
        create_time: Some(timestamp::from_micros(collection.created)),
        update_time: Some(timestamp::from_micros(collection.updated)),
        document_count: count(collection.documents),
        document_bytes: i64::try_from(collection.bytes).unwrap_or(i64::MAX),
        generation: count(collection.generation.into()),
        rebuild: collection.rebuild.map(rebuild),
        rollback_expire_time: collection.rollback_until.map(timestamp::from_millis),
    }
}

/// Page of collections as a message, whose token is valid for its tenant alone.
pub(in crate::grpc) fn collections(
    parent: &str,
    collections: Vec<Collection>,
    next: Option<&CollectionId>,
) -> pb::ListCollectionsResponse {
    let next_page_token = next.map_or_else(String::new, |next| page::encode(parent, next));
    pb::ListCollectionsResponse { collections: collections.into_iter().map(collection).collect(), next_page_token }
}

/// Document as a message.
pub(in crate::grpc) fn document(collection: &CollectionName, stored: Stored) -> pb::Document {
    let id = stored.document.id;
    pb::Document {
        document_id: id.as_str().to_owned(),
        name: collection.document(id).to_string(),
        fields: Some(to_struct(stored.document.fields)),
        source_version: stored.document.version.map(version),
        expire_time: stored.document.expires.map(timestamp::from_millis),
        ttl: None,
        etag: stored.revision.to_string(),
        create_time: Some(timestamp::from_micros(stored.created)),
        update_time: Some(timestamp::from_micros(stored.updated)),
    }
}

/// Result of a write.
pub(in crate::grpc) fn written(name: &DocumentName, written: Written) -> pb::WriteDocumentResponse {
    pb::WriteDocumentResponse {
        name: name.to_string(),
        outcome: outcome(written.outcome).into(),
        etag: written.revision.to_string(),
        source_version: written.version.map(version),
        create_time: Some(timestamp::from_micros(written.created)),
        update_time: Some(timestamp::from_micros(written.updated)),
        expire_time: written.expires.map(timestamp::from_millis),
        freshness_token: written.freshness,
    }
}

/// Result of a deletion.
pub(in crate::grpc) fn deleted(deleted: Deleted) -> pb::DeleteDocumentResponse {
    pb::DeleteDocumentResponse { existed: deleted.existed, freshness_token: deleted.freshness }
}

/// Result of one document of a batch.
pub(in crate::grpc) fn result(index: usize, document_id: String, result: Result<Written, Error>) -> pb::DocumentResult {
    let index = i32::try_from(index).unwrap_or(i32::MAX);
    match result {
        Ok(written) => pb::DocumentResult {
            index,
            document_id,
            outcome: outcome(written.outcome).into(),
            etag: written.revision.to_string(),
            error: None,
        },
        Err(error) => {
            let error = Some(item_error(&error));
            pb::DocumentResult { index, document_id, error, ..pb::DocumentResult::default() }
        }
    }
}

fn field(field: Field) -> pb::Field {
    use pb::field::Type;
    let (kind, weight, language) = match field.kind {
        FieldKind::Text { weight, language } => (Type::Text, weight, self::language(language)),
        FieldKind::Tag => (Type::Tag, 0.0, pb::field::Language::Unspecified),
        FieldKind::Tags => (Type::Tags, 0.0, pb::field::Language::Unspecified),
        FieldKind::Integer => (Type::Integer, 0.0, pb::field::Language::Unspecified),
        FieldKind::Decimal => (Type::Decimal, 0.0, pb::field::Language::Unspecified),
        FieldKind::Timestamp => (Type::Timestamp, 0.0, pb::field::Language::Unspecified),
        FieldKind::Boolean => (Type::Boolean, 0.0, pb::field::Language::Unspecified),
        FieldKind::Stored => (Type::Stored, 0.0, pb::field::Language::Unspecified),
    };
    pb::Field {
        name: field.name.as_str().to_owned(),
        r#type: kind.into(),
        weight,
        language: language.into(),
        sortable: field.sortable,
        facet: field.facet,
    }
}

fn language(language: Language) -> pb::field::Language {
    use pb::field::Language as Sent;
    match language {
        Language::None => Sent::Unspecified,
        Language::Arabic => Sent::Arabic,
        Language::Danish => Sent::Danish,
        Language::Dutch => Sent::Dutch,
        Language::English => Sent::English,
        Language::Finnish => Sent::Finnish,
        Language::French => Sent::French,
        Language::German => Sent::German,
        Language::Greek => Sent::Greek,
        Language::Hungarian => Sent::Hungarian,
        Language::Italian => Sent::Italian,
        Language::Norwegian => Sent::Norwegian,
        Language::Portuguese => Sent::Portuguese,
        Language::Romanian => Sent::Romanian,
        Language::Russian => Sent::Russian,
        Language::Spanish => Sent::Spanish,
        Language::Swedish => Sent::Swedish,
        Language::Tamil => Sent::Tamil,
        Language::Turkish => Sent::Turkish,
    }
}

fn rank_by(rank_by: RankBy) -> pb::RankBy {
    use pb::rank_by::Mode;
    match rank_by {
        RankBy::Popularity { field, weight } => {
            pb::RankBy { field: field.as_str().to_owned(), mode: Mode::Popularity.into(), weight, half_life: None }
        }
        RankBy::Recency { field, half_life, weight } => pb::RankBy {
            field: field.as_str().to_owned(),
            mode: Mode::Recency.into(),
            weight,
            half_life: Some(millis(half_life)),
        },
    }
}

fn rebuild(rebuild: Rebuild) -> pb::Rebuild {
    use pb::rebuild::State;
    let state = match rebuild.state {
        RebuildState::Running => State::Running,
        RebuildState::Succeeded => State::Succeeded,
        RebuildState::Failed => State::Failed,
        RebuildState::RolledBack => State::RolledBack,
    };
    pb::Rebuild {
        state: state.into(),
        generation: count(rebuild.generation.into()),
        copied_count: count(rebuild.copied),
        total_count: count(rebuild.total),
        start_time: Some(timestamp::from_micros(rebuild.started)),
        end_time: rebuild.ended.map(timestamp::from_micros),
        error: rebuild.error,
    }
}

fn outcome(outcome: Outcome) -> pb::WriteOutcome {
    match outcome {
        Outcome::Created => pb::WriteOutcome::Created,
        Outcome::Updated => pb::WriteOutcome::Updated,
        Outcome::Unchanged => pb::WriteOutcome::Unchanged,
    }
}

/// Source version as a JSON number, which keeps whole numbers below 2^53.
#[expect(clippy::cast_precision_loss, reason = "versions are below 2^53")]
fn version(version: i64) -> f64 {
    version as f64
}

fn millis(millis: i64) -> Duration {
    // Below 1,000, so that no bit is cut off.
    let nanos = millis.rem_euclid(1000) as i32 * 1_000_000;
    Duration { seconds: millis.div_euclid(1000), nanos }
}

/// Count as a number of 32 bits, which JSON prints as a number. More documents fit no store.
pub(super) fn count(count: u64) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

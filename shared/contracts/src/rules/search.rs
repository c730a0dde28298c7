//! Bounds of what the search service takes.

use super::{Rule, Table};
use crate::names::{CollectionId, DocumentName, Id};

/// Fields of a schema.
pub const FIELDS: usize = 64;
/// Text fields of a schema.
pub const TEXT_FIELDS: usize = 16;
/// Pattern of a field's name.
pub const FIELD_NAME: &str = "[a-z][a-z0-9_]{0,62}";
/// Largest weight of a field, and of `rank_by`.
pub const WEIGHT: u32 = 10;
/// Groups of synonyms.
pub const SYNONYMS: usize = 1000;
/// Words of a group of synonyms.
pub const SYNONYM_WORDS: usize = 16;
/// Stop words.
pub const STOP_WORDS: usize = 1000;
/// Longest synonym, and longest stop word, in bytes.
pub const WORD: usize = 64;
/// Shortest and longest half-life of `rank_by`, in seconds: 1 minute, and 10 years.
pub const HALF_LIFE: [u64; 2] = [60, 10 * 365 * 24 * 3600];
/// Largest whole number: the first one beyond it that a JSON number can't tell from its neighbour is 2^53 + 1.
pub const WHOLE: i64 = (1 << 53) - 1;
/// Longest tag, in bytes.
pub const TAG: usize = 1024;
/// Values of a multi-valued tag field.
pub const TAGS: usize = 256;
/// Text of a document, in bytes.
pub const TEXT: usize = 64 * 1024;
/// Levels of a stored value.
pub const DEPTH: usize = 16;
/// Largest document, in bytes of JSON.
pub const DOCUMENT: usize = 256 * 1024;
/// Longest life of a document, in seconds: 10 years.
pub const TTL: u64 = 10 * 365 * 24 * 3600;
/// Documents of a batch, and of a message of an import.
pub const BATCH: usize = 1000;
/// Largest batch, in bytes.
pub const BATCH_BYTES: usize = 1024 * 1024;
/// Longest query, in bytes.
pub const QUERY: usize = 1024;
/// Longest filter, in bytes.
pub const FILTER: usize = 4 * 1024;
/// Longest `order_by`, in bytes.
pub const ORDER: usize = 256;
/// Fields of `order_by`.
pub const ORDER_FIELDS: usize = 3;
/// Hits of a page: default and maximum.
pub const PAGE: [u32; 2] = [20, 250];
/// Collections of a page: default and maximum.
pub const COLLECTION_PAGE: [u32; 2] = [50, 100];
/// Longest tag of a highlight, in bytes.
pub const MARK: usize = 64;
/// Words of a snippet.
pub const SNIPPET: u32 = 100;
/// Facets of a search.
pub const FACETS: usize = 16;
/// Values of a facet: default and maximum.
pub const FACET_VALUES: [u32; 2] = [10, 100];
/// Ranges of a facet.
pub const RANGES: usize = 32;
/// Parts of a schema that `update_mask` may name.
pub const SCHEMA_MASKABLE: [&str; 4] = ["fields", "synonyms", "stop_words", "rank_by"];
/// Parts of a document that `update_mask` may name.
pub const DOCUMENT_MASKABLE: [&str; 4] = ["fields", "source_version", "expire_time", "ttl"];

const NAME: Rule = Rule::Required(FIELD_NAME);
const TERM: Rule = Rule::some(WORD);
const SOURCE_VERSION: Rule = Rule::Number { least: 0, most: WHOLE };
const IMPORTANCE: Rule = Rule::Number { least: 0, most: WEIGHT as i64 };
const SIZE: Rule = Rule::Number { least: 0, most: i32::MAX as i64 };

pub(crate) const RULES: Table = &[
    ("Collection.fields", Rule::Items { least: 1, most: FIELDS, unique: false, each: None }),
    ("Collection.synonyms", Rule::Items { least: 0, most: SYNONYMS, unique: false, each: None }),
    ("Collection.stop_words", words(0, STOP_WORDS)),
    ("Collection.etag", Rule::Free),
    ("Field.name", NAME),
    ("Field.weight", IMPORTANCE),
    ("SynonymGroup.words", words(2, SYNONYM_WORDS)),
    ("RankBy.field", NAME),
    ("RankBy.weight", IMPORTANCE),
    ("RankBy.half_life", Rule::Seconds { least: HALF_LIFE[0], most: HALF_LIFE[1], zero: false, digits: 9 }),
    ("Document.name", Rule::Pattern(DocumentName::NAME_PATTERN)),
    ("Document.document_id", Rule::Pattern(Id::PATTERN)),
    ("Document.source_version", SOURCE_VERSION),
    ("Document.ttl", Rule::Seconds { least: 1, most: TTL, zero: false, digits: 9 }),
    ("Document.etag", Rule::Free),
    ("CreateCollectionRequest.collection_id", Rule::Required(CollectionId::PATTERN)),
    ("ListCollectionsRequest.page_size", SIZE),
    ("ListCollectionsRequest.page_token", Rule::Opaque),
    ("UpdateCollectionRequest.update_mask", Rule::Mask(&SCHEMA_MASKABLE)),
    ("RollbackCollectionRequest.etag", Rule::Free),
    ("DeleteCollectionRequest.etag", Rule::Free),
    ("UpdateDocumentRequest.update_mask", Rule::Mask(&DOCUMENT_MASKABLE)),
    ("DeleteDocumentRequest.source_version", SOURCE_VERSION),
    ("DeleteDocumentRequest.etag", Rule::Free),
    ("BatchUpsertDocumentsRequest.documents", Rule::Items { least: 1, most: BATCH, unique: false, each: None }),
    ("SearchDocumentsRequest.query", Rule::Length(QUERY)),
    ("SearchDocumentsRequest.query_fields", names(TEXT_FIELDS)),
    ("SearchDocumentsRequest.filter", Rule::Length(FILTER)),
    ("SearchDocumentsRequest.order_by", Rule::Pattern(ORDER_BY)),
    ("SearchDocumentsRequest.page_size", SIZE),
    ("SearchDocumentsRequest.page_token", Rule::Opaque),
    ("SearchDocumentsRequest.fields", names(FIELDS)),
    ("SearchDocumentsRequest.facets", Rule::Items { least: 0, most: FACETS, unique: false, each: None }),
    ("SearchDocumentsRequest.freshness_token", Rule::Opaque),
    ("HighlightOptions.fields", names(TEXT_FIELDS)),
    ("HighlightOptions.pre_tag", Rule::Length(MARK)),
    ("HighlightOptions.post_tag", Rule::Length(MARK)),
    ("HighlightOptions.snippet_words", Rule::Number { least: 0, most: SNIPPET as i64 }),
    ("FacetOptions.field", NAME),
    ("FacetOptions.max_values", Rule::Number { least: 0, most: FACET_VALUES[1] as i64 }),
    ("FacetOptions.ranges", Rule::Items { least: 0, most: RANGES, unique: false, each: None }),
    ("FacetOptions.interval", Rule::Number { least: 0, most: WHOLE }),
    ("FacetBounds.from", Rule::Free),
    ("FacetBounds.to", Rule::Free),
];

pub(crate) const ALWAYS_SENT: &[&str] = &[
    "Collection.create_time",
    "Collection.update_time",
    "Document.fields",
    "Document.create_time",
    "Document.update_time",
    "WriteDocumentResponse.create_time",
    "WriteDocumentResponse.update_time",
    "Hit.document",
    "PlanStep.duration",
    "Rebuild.start_time",
];

/// Pattern of an order: at most [`ORDER_FIELDS`] fields.
const ORDER_BY: &str = "[a-z][a-z0-9_]{0,62}( asc| desc)?(, ?[a-z][a-z0-9_]{0,62}( asc| desc)?){0,2}";

/// Words of at most [`WORD`] bytes.
const fn words(least: usize, most: usize) -> Rule {
    Rule::Items { least, most, unique: false, each: Some(&TERM) }
}

/// Names of at most `most` fields.
const fn names(most: usize) -> Rule {
    Rule::Items { least: 0, most, unique: false, each: Some(&NAME) }
}

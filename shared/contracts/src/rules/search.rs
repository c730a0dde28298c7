//! Bounds of what the search service takes.

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
pub const FILTER: usize = 8 * 1024;
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

//! Bounds of what the agent-memory service takes.

/// Memories of a batch, and names of one call to Forget.
pub const BATCH: usize = 256;
/// Largest batch, in bytes.
pub const BATCH_BYTES: usize = 1024 * 1024;
/// Longest text of a memory, in bytes.
pub const TEXT: usize = 32 * 1024;
/// Longest query of a Recall, in bytes.
pub const QUERY: usize = 8 * 1024;
/// Longest name of a speaker, topic, entity or tag, in bytes.
pub const LABEL: usize = 128;
/// Longest subject, in bytes.
pub const SUBJECT: usize = 256;
/// Longest reference, in bytes.
pub const REFERENCE: usize = 512;
/// Topics of a memory.
pub const TOPICS: usize = 16;
/// Entities of a memory, and tags of a memory.
pub const ENTITIES: usize = 32;
/// Topics, entities or tags of a filter.
pub const FILTERED: usize = 16;
/// Kinds of a filter.
pub const KINDS: usize = 7;
/// Pairs of metadata of a memory.
pub const METADATA: usize = 32;
/// Metadata of a memory, in bytes: all keys and values.
pub const METADATA_BYTES: usize = 4 * 1024;
/// Pattern of a key of metadata.
pub const METADATA_KEY: &str = "[A-Za-z0-9._-]{1,64}";
/// Memories from which one is derived.
pub const DERIVED_FROM: usize = 64;
/// Values of a vector.
pub const DIMENSIONS: usize = 4096;
/// Shortest and longest life of a memory, in seconds: 1 minute, and 799 days: keys live at most 800.
pub const TTL: [u64; 2] = [60, 799 * 24 * 3600];
/// Pattern of a space.
pub const SPACE: &str = "[a-z0-9-]{1,32}";
/// Budget of a Recall in tokens: default and maximum.
pub const TOKENS: [u32; 2] = [2000, 100_000];
/// Memories of a Recall, the default too.
pub const RECALLED: u32 = 1000;
/// Events that a trim keeps.
pub const KEPT: u32 = 1_000_000;
/// Memories of a page: default and maximum.
pub const PAGE: [u32; 2] = [50, 250];
/// Fields of a memory that `update_mask` may name.
pub const MASKABLE: [&str; 10] = [
    "text",
    "pinned",
    "importance",
    "topics",
    "entities",
    "tags",
    "metadata",
    "expire_time",
    "ttl",
    "valid_until_time",
];

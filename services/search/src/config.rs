//! Settings of the search service, besides those that every service has.

use std::time::Duration;

use keyplane_server::config::Env;

/// Settings of the search service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of the search store; without it, the store of all other data.
    pub store: Option<String>,
    /// Maxima of a tenant, and of the store.
    pub limits: Limits,
    /// Rebuilds of collections.
    pub rebuilds: Rebuilds,
    /// Bounds of searches, and memory for them.
    pub searches: Searches,
    /// Interval between two removals of expired documents.
    pub sweep_interval: Duration,
    /// Key of the cursors' signatures; without it, a random one.
    pub cursor_key: Option<String>,
}

/// Maxima.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Collections of a tenant.
    pub collections: u32,
    /// Documents of a tenant.
    pub documents: u64,
    /// Bytes of a tenant's documents.
    pub bytes: usize,
    /// Indexes of the store.
    pub indexes: u32,
}

/// Rebuilds of collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebuilds {
    /// Documents above which a collection moves into an index of its own.
    pub own_index_documents: u64,
    /// Retention of the earlier generation after a rebuild.
    pub rollback_age: Duration,
    /// Copied documents a second; 0 for no bound.
    pub pace: u32,
    /// Interval between two comparisons of a collection's counters and lexicon with its documents.
    pub reconcile_interval: Duration,
}

/// Bounds of searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Searches {
    /// Maximum of candidates of a ranking by relevance.
    pub candidates: u32,
    /// Memory for lexicons, in bytes.
    pub lexicon_bytes: usize,
    /// Memory for samples of documents, in bytes.
    pub sample_bytes: usize,
}

const STORE: &str = "KEYPLANE_SEARCH_URL";

// === impl Config ===

impl Config {
    /// Reads the settings; [`Env::finish`] reports the wrong ones.
    pub fn read(env: &mut Env) -> Config {
        let store = env.optional_url(
            STORE,
            "the store of documents and indexes, which needs a search module; unset: `KEYPLANE_KV_URL`",
        );
        if let Some(url) = &store
            && let Err(error) = keyplane_valkey::Settings::new(url.clone()).check()
        {
            env.require(STORE, false, error.problem());
        }
        Config {
            store,
            limits: read_limits(env),
            rebuilds: read_rebuilds(env),
            searches: read_searches(env),
            sweep_interval: env.duration_within(
                "KEYPLANE_SEARCH_SWEEP_INTERVAL",
                "10s",
                ["100ms", "1h"],
                "interval between two removals of expired documents; searches hide them at once",
            ),
            cursor_key: env.optional_secret(
                "KEYPLANE_SEARCH_CURSOR_KEY",
                16,
                "secret that signs page tokens, at least 16 bytes, the same for all instances; unset: random, so that a \
                 page token is valid for one instance and until its restart",
            ),
        }
    }
}

fn read_limits(env: &mut Env) -> Limits {
    Limits {
        collections: env.number_within(
            "KEYPLANE_SEARCH_MAX_COLLECTIONS",
            100,
            1..=10_000,
            "maximum of collections of a tenant",
        ),
        documents: env.number_within(
            "KEYPLANE_SEARCH_MAX_DOCUMENTS",
            1_000_000,
            1..=100_000_000,
            "maximum of documents of a tenant",
        ),
        bytes: env.bytes_within(
            "KEYPLANE_SEARCH_MAX_BYTES",
            "4GiB",
            ["1KiB", "1TiB"],
            "maximum size of a tenant's documents",
        ),
        indexes: env.number_within(
            "KEYPLANE_SEARCH_MAX_INDEXES",
            900,
            1..=10_000,
            "maximum of indexes of the store; ElastiCache allows 1,000",
        ),
    }
}

fn read_rebuilds(env: &mut Env) -> Rebuilds {
    Rebuilds {
        own_index_documents: env.number_within(
            "KEYPLANE_SEARCH_OWN_INDEX_DOCUMENTS",
            5000,
            1..=100_000_000,
            "documents above which a collection moves into an index of its own",
        ),
        rollback_age: env.duration_within(
            "KEYPLANE_SEARCH_ROLLBACK_AGE",
            "10m",
            ["1s", "24h"],
            "retention of a collection's earlier generation after a rebuild, for page tokens and rollbacks",
        ),
        pace: env.number_within(
            "KEYPLANE_SEARCH_REBUILD_PACE",
            5000,
            0..=1_000_000,
            "documents that a rebuild copies each second, 0 for no bound",
        ),
        reconcile_interval: env.duration_within(
            "KEYPLANE_SEARCH_RECONCILE_INTERVAL",
            "1h",
            ["1s", "7d"],
            "interval between two comparisons of a collection's counters and words with its documents",
        ),
    }
}

fn read_searches(env: &mut Env) -> Searches {
    Searches {
        candidates: env.number_within(
            "KEYPLANE_SEARCH_CANDIDATES",
            300,
            10..=10_000,
            "maximum of documents that a search ranks by relevance",
        ),
        lexicon_bytes: env.bytes_within(
            "KEYPLANE_SEARCH_LEXICON_MEMORY",
            "256MiB",
            ["1MiB", "1TiB"],
            "memory for the words of the collections in use",
        ),
        sample_bytes: env.bytes_within(
            "KEYPLANE_SEARCH_SAMPLE_MEMORY",
            "64MiB",
            ["1MiB", "1TiB"],
            "memory for samples of the collections in use",
        ),
    }
}

//! Settings of the agent-memory service, besides those that every service has.

use std::path::PathBuf;
use std::time::Duration;

use keyplane_server::config::Env;

use crate::app::capacity::Limits;
use crate::app::maintenance;
use crate::domain::{Encoding, TokenCounter};

/// Settings of the agent-memory service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of the store of memories; without it, the store of all other data.
    pub store: Option<String>,
    /// Embedders.
    pub embeddings: Embeddings,
    /// Counter of tokens.
    pub tokenizer: TokenCounter,
    /// Limits of what an owner keeps.
    pub limits: Limits,
    /// Removal of expired memories, and recounts.
    pub maintenance: maintenance::Settings,
}

/// Embedders of the declared spaces.
#[derive(Clone, Debug)]
pub struct Embeddings {
    /// File with the declared spaces.
    pub spaces: Option<PathBuf>,
    /// Folder with the model of the built-in space.
    pub model: Option<PathBuf>,
    /// Threads of each local model.
    pub threads: usize,
    /// Longest wait for the embeddings of a call.
    pub timeout: Duration,
    /// Retention of cached embeddings; zero caches none.
    pub cache_ttl: Duration,
    /// Maximum of cached embeddings of a user.
    pub cache_entries: u32,
}

/// Interval between two looks for partitions whose maintenance is due.
const POLL: Duration = Duration::from_secs(1);
const STORE: &str = "KEYPLANE_SEARCH_URL";
const SPACES: &str = "KEYPLANE_MEMORY_SPACES_FILE";
const MODEL: &str = "KEYPLANE_MEMORY_MODEL_DIR";

// === impl Config ===

impl Config {
    /// Reads the settings; [`Env::finish`] reports the wrong ones.
    pub fn read(env: &mut Env) -> Config {
        let store = env.optional_url(
            STORE,
            "the store of memories and their indexes, which needs a search module; unset: `KEYPLANE_KV_URL`",
        );
        if let Some(url) = &store
            && let Err(error) = keyplane_valkey::Settings::new(url.clone()).check()
        {
            env.require(STORE, false, error.problem());
        }
        let embeddings = read_embeddings(env);
        let tokenizer = env.parsed(
            "KEYPLANE_MEMORY_TOKENIZER",
            "o200k",
            "tokenizer of budgets and counts: `o200k`, `cl100k`, or one of them with a factor for other models, such as `o200k*1.2`",
            |text| {
                let rule = || "must be o200k or cl100k, alone or with a factor of 0.25 to 4, such as o200k*1.2".to_owned();
                TokenCounter::parse(text).ok_or_else(rule)
            },
        );
        Config {
            store,
            embeddings,
            tokenizer: tokenizer.unwrap_or_else(|| TokenCounter::new(Encoding::O200k)),
            limits: read_limits(env),
            maintenance: read_maintenance(env),
        }
    }
}

fn read_limits(env: &mut Env) -> Limits {
    Limits {
        memories: env.number_within(
            "KEYPLANE_MEMORY_MAX_MEMORIES",
            10_000,
            1..=1_000_000,
            "maximum of memories of a user, and of a tenant's shared ones; beyond it the least important and least used are evicted",
        ),
        whole: env.number_within(
            "KEYPLANE_MEMORY_WHOLE_ITEMS",
            2000,
            0..=10_000,
            "items of an owner up to which a recall scores all; above, postings and an index of vectors choose candidates",
        ),
        ttl: env.duration_within(
            "KEYPLANE_MEMORY_TTL",
            "90d",
            ["1m", "799d"],
            "life of a memory whose caller sets none",
        ),
    }
}

fn read_maintenance(env: &mut Env) -> maintenance::Settings {
    maintenance::Settings {
        sweep_every: env.duration_within(
            "KEYPLANE_MEMORY_SWEEP_INTERVAL",
            "30s",
            ["100ms", "1h"],
            "interval between two removals of expired memories; recalls hide them at once",
        ),
        reconcile_every: env.duration_within(
            "KEYPLANE_MEMORY_RECONCILE_INTERVAL",
            "1h",
            ["1s", "7d"],
            "interval between two comparisons of an owner's records and counters with its memories",
        ),
        poll: POLL,
    }
}

fn read_embeddings(env: &mut Env) -> Embeddings {
    let path = |text: &str| Ok(PathBuf::from(text));
    let spaces = env.optional(
        SPACES,
        "file that declares the spaces of embeddings (YAML), read at start; unset: the built-in space `minilm-l6-v2`, if there \
         is `KEYPLANE_MEMORY_MODEL_DIR`",
        path,
    );
    let model = env.optional(
        MODEL,
        "folder with all-MiniLM-L6-v2 (`model.safetensors`, `tokenizer.json`, `config.json`), for the built-in space",
        path,
    );
    env.require(MODEL, spaces.is_none() || model.is_none(), "must not be set beside KEYPLANE_MEMORY_SPACES_FILE");
    Embeddings {
        spaces,
        model,
        threads: env.number_within("KEYPLANE_MEMORY_EMBED_THREADS", 2, 1..=64, "threads of each local model"),
        timeout: env.duration_within(
            "KEYPLANE_MEMORY_EMBED_TIMEOUT",
            "5s",
            ["10ms", "1m"],
            "longest wait for the embeddings of a call",
        ),
        cache_ttl: env.duration_within(
            "KEYPLANE_MEMORY_EMBED_CACHE_TTL",
            "24h",
            ["0s", "30d"],
            "retention of cached embeddings after their last use; 0s caches none",
        ),
        cache_entries: env.number_within(
            "KEYPLANE_MEMORY_EMBED_CACHE_ENTRIES",
            512,
            1..=100_000,
            "maximum of cached embeddings of a user",
        ),
    }
}

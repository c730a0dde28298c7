//! Valkey server that all tests of one binary share, and the prefix that keeps them apart.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use keyplane_engine::{Toolbox, Valkey};

static SERVER: OnceLock<Valkey> = OnceLock::new();
static SEARCH: OnceLock<Valkey> = OnceLock::new();

/// Toolbox of the workspace.
#[must_use]
pub fn toolbox() -> Toolbox {
    Toolbox::find()
}

/// Valkey server of this test binary: the first call starts it, the end of the binary stops it. The user in its `url()`
/// lacks the commands that ElastiCache Serverless lacks. All tests share the server: none may stop, pause or flush it.
/// A test that must starts its own with [`keyplane_engine::Valkey::builder`].
///
/// # Panics
/// Server that can't be fetched or started.
#[must_use]
pub fn valkey() -> &'static Valkey {
    SERVER.get_or_init(|| match Valkey::builder(&toolbox()).start() {
        Ok(valkey) => valkey,
        Err(error) => panic!("no Valkey server for the tests: {error}"),
    })
}

/// Valkey server with search indexes and Bloom filters, shared like [`valkey`]. Every search command that it receives is
/// held against the subset that valkey-search answers alike; another one ends the process.
///
/// # Panics
/// When the server can't be fetched or started.
#[must_use]
pub fn search_engine() -> &'static Valkey {
    SEARCH.get_or_init(|| match Valkey::builder(&toolbox()).modules(true).start() {
        Ok(valkey) => {
            crate::commands::record(valkey.port());
            valkey
        }
        Err(error) => panic!("no Valkey server with search for the tests: {error}"),
    })
}

/// App prefix that no other test of this run has: `t<process id>x<number>`, of `[a-z0-9]` only.
#[must_use]
pub fn app() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("t{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

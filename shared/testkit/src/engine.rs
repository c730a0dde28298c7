//! The server that all tests of one binary share, and the prefix that keeps them apart.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use keyplane_engine::{Toolbox, Valkey};

static SERVER: OnceLock<Valkey> = OnceLock::new();

/// The workspace's toolbox.
#[must_use]
pub fn toolbox() -> Toolbox {
    Toolbox::find()
}

/// The Valkey server of this test binary: started by the first call, gone when the binary ends. Its `url()` is that of a
/// user who lacks what ElastiCache Serverless lacks. Since all tests share it, none may stop it, pause it or flush it:
/// a test that must starts its own with [`keyplane_engine::Valkey::builder`].
///
/// # Panics
/// When it can't be fetched or started.
#[must_use]
pub fn valkey() -> &'static Valkey {
    SERVER.get_or_init(|| match Valkey::builder(&toolbox()).start() {
        Ok(valkey) => valkey,
        Err(error) => panic!("no Valkey server for the tests: {error}"),
    })
}

/// An app prefix that no other test of this run has: `t<process id>x<number>`, of `[a-z0-9]` only.
#[must_use]
pub fn app() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("t{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

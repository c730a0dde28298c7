//! Fuzz targets of the parsers that read callers' bytes: filters, query texts, tokens, and JSON at the gateway.
//!
//! A target takes any bytes, and panics if a promise is broken. `fuzz/run` drives the targets with libFuzzer, which follows
//! their coverage; the test replays the seeds, and mutants of them.

mod filter;
mod guard;
mod query;
mod sent;
mod tokens;

/// Fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name, and folder of its seeds.
    pub name: &'static str,
    /// Runs one input. Panics if a promise is broken.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 4] = [
    Target { name: "filter", run: filter::run },
    Target { name: "guard", run: guard::run },
    Target { name: "query", run: query::run },
    Target { name: "tokens", run: tokens::run },
];

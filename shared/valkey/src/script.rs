//! Lua scripts, known to the server by their SHA-1.

use std::fmt::Write as _;
use std::sync::OnceLock;

use fred::bytes_utils::Str;
use sha1::{Digest, Sha1};

/// A Lua script, made once as a `static`:
///
/// ```
/// static PATCH: keyplane_valkey::Script = keyplane_valkey::Script::new("session.patch", "return 1");
/// ```
#[derive(Debug)]
pub struct Script {
    name: &'static str,
    source: &'static str,
    sha: OnceLock<Str>,
}

// === impl Script ===

impl Script {
    /// A script `<feature>.<verb>`, usually with `include_str!` of its file. The name shows in spans and metrics.
    pub const fn new(name: &'static str, source: &'static str) -> Script {
        Script { name, source, sha: OnceLock::new() }
    }

    /// The name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The Lua code.
    pub fn source(&self) -> &'static str {
        self.source
    }

    pub(crate) fn sha(&self) -> Str {
        let sha = self.sha.get_or_init(|| {
            Sha1::digest(self.source.as_bytes())
                .iter()
                .fold(String::with_capacity(40), |mut hex, byte| {
                    write!(hex, "{byte:02x}").expect("writing to a String cannot fail");
                    hex
                })
                .into()
        });
        sha.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sha_is_the_one_the_server_computes() {
        static SCRIPT: Script = Script::new("test.one", "return 1");
        assert_eq!(&*SCRIPT.sha(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }
}

//! Lua scripts; the server knows them by their SHA-1.

use std::sync::OnceLock;

use data_encoding::HEXLOWER;
use fred::bytes_utils::Str;
use fred::types::Value as Fred;
use sha1::{Digest, Sha1};

/// Lua script, made once as a `static`:
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

/// Declares a [`Script`] as a `static`: its name, and the files that its source consists of, relative to the calling file.
///
/// ```ignore
/// keyplane_valkey::script!(pub(super) CREATE = "session.create", ["scripts/common.lua", "scripts/create.lua"]);
/// ```
#[macro_export]
macro_rules! script {
    ($(#[$attribute:meta])* $vis:vis $constant:ident = $name:literal, [$($file:literal),+ $(,)?]) => {
        $(#[$attribute])*
        $vis static $constant: $crate::Script = $crate::Script::new($name, concat!($(include_str!($file)),+));
    };
}

// === impl Script ===

impl Script {
    /// Makes a script `<feature>.<verb>`, usually with `include_str!` of its file. Spans and metrics show the name.
    pub const fn new(name: &'static str, source: &'static str) -> Script {
        Script { name, source, sha: OnceLock::new() }
    }

    /// Name: `<feature>.<verb>`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Lua code.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// Arguments of `SCRIPT` that load it.
    pub(crate) fn load_arguments(&self) -> Vec<Fred> {
        vec![Fred::from_static_str("LOAD"), Fred::from_static_str(self.source)]
    }

    pub(crate) fn sha(&self) -> Str {
        self.sha.get_or_init(|| HEXLOWER.encode(&Sha1::digest(self.source.as_bytes())).into()).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha_equals_the_servers() {
        static SCRIPT: Script = Script::new("test.one", "return 1");
        assert_eq!(&*SCRIPT.sha(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }
}

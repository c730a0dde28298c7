//! Names: indexes and their attributes.

use std::fmt;

use crate::Feature;
use crate::key::{App, Key};

/// Index of one generation. Covers the keys of [`Key::indexed`] alone:
///
/// ```text
/// <app>:<feature>:ft:<name>.g<generation>          name of the index
/// <app>:<feature>~<name>~g<generation>:            prefix of its documents
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Index {
    key: Key,
    prefix: String,
}

/// Attribute of an index: a fixed name, or a fixed prefix and an ordinal. No input can name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attribute {
    name: &'static str,
    ordinal: Option<u8>,
}

// === impl Index ===

impl Index {
    /// Index `name` in `generation`. A local engine checks the index's own name against the ACL's key patterns, so that it is a key too.
    #[must_use]
    pub fn new(app: &App, feature: Feature, name: &str, generation: u32) -> Index {
        Index {
            key: Key::index(app, feature, name, generation),
            prefix: Key::indexed_prefix(app, feature, name, generation),
        }
    }

    /// Name on the server.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.as_str()
    }

    /// Prefix of the keys of its documents.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn feature(&self) -> Feature {
        self.key.feature()
    }
}

// === impl Attribute ===

impl Attribute {
    /// Attribute with a fixed name of `[a-z_][a-z0-9_]*`.
    ///
    /// # Panics
    /// Another name; at compile time in a constant.
    #[must_use]
    pub const fn new(name: &'static str) -> Attribute {
        assert!(is_name(name.as_bytes()), "an attribute's name is [a-z_][a-z0-9_]*");
        Attribute { name, ordinal: None }
    }

    /// Attribute `<prefix><ordinal>`.
    ///
    /// # Panics
    /// A prefix that breaks the rule of [`Attribute::new`].
    #[must_use]
    pub const fn numbered(prefix: &'static str, ordinal: u8) -> Attribute {
        Attribute { ordinal: Some(ordinal), ..Attribute::new(prefix) }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.ordinal.map_or(Ok(()), |ordinal| write!(f, "{ordinal}"))
    }
}

const fn is_name(name: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() {
        let byte = name[at];
        let good = byte.is_ascii_lowercase() || byte == b'_' || (at > 0 && byte.is_ascii_digit());
        if !good {
            return false;
        }
        at += 1;
    }
    !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_covers_its_own_prefix() {
        let app = App::new("portal").expect("a name");
        let index = Index::new(&app, Feature::SEARCH, "s-t2g3n4", 7);
        assert_eq!(index.name(), "portal:search:ft:s-t2g3n4.g7");
        assert_eq!(index.prefix(), "portal:search~s-t2g3n4~g7:");
    }

    #[test]
    fn attribute_name_follows_its_rule() {
        assert_eq!(Attribute::numbered("t", 12).to_string(), "t12");
        assert_eq!(Attribute::new("_s").to_string(), "_s");
        for bad in ["", "A", "1a", "a-b", "a:b"] {
            assert!(!is_name(bad.as_bytes()), "{bad}");
        }
    }
}

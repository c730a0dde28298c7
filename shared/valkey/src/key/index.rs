//! Names of search indexes, and the keys that each covers.

use super::{App, Key};
use crate::Feature;

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
}

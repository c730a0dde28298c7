//! Names of keys.

use keyplane_contracts::names::{CollectionName, Id};
use keyplane_valkey::ft::Index;
use keyplane_valkey::{App, Feature, Key};

use crate::domain::Placement;

/// Keys of one partition of a collection. They share the hash tag `{<tenant>:p<partition>}`, so that one script can use them
/// together:
///
/// | key | holds |
/// |---|---|
/// | `<app>:search~<index>~g<n>:{<tenant>:p<p>}:<collection>:<doc>` | document (hash), covered by its index |
/// | `<app>:search:{<tenant>:p<p>}:<collection>:state` | epoch, generations, last revision, checksums (hash) |
/// | `<app>:search:{<tenant>:p<p>}:<collection>:count:<generation>` | counters of a generation (hash) |
/// | `<app>:search:{<tenant>:p<p>}:<collection>:expiry` | documents that expire, by their expiry in ms (zset) |
/// | `<app>:search:{<tenant>:p<p>}:<collection>:gone` | versions of deletions (hash), each field with a TTL |
pub(super) struct Partition<'a> {
    app: &'a App,
    name: &'a CollectionName,
    number: u8,
    subject: String,
}

/// Keys of the lexicon of a generation, under the hash tag `{<tenant>:lexicon}`:
///
/// | key | holds |
/// |---|---|
/// | `<app>:search:{<tenant>:lexicon}:<collection>:<generation>:terms` | number of documents with each term (hash) |
/// | `<app>:search:{<tenant>:lexicon}:<collection>:<generation>:log` | changes of those numbers (stream) |
/// | `<app>:search:{<tenant>:lexicon}:<collection>:<generation>:batches` | recent batches, by time (zset) |
pub(super) struct Lexicon<'a> {
    app: &'a App,
    name: &'a CollectionName,
    generation: String,
}

// === impl Partition ===

impl<'a> Partition<'a> {
    pub(super) fn new(app: &'a App, name: &'a CollectionName, number: u8) -> Partition<'a> {
        Partition { app, name, number, subject: format!("p{number}") }
    }

    pub(super) fn state(&self) -> Key {
        self.key(&["state"])
    }

    pub(super) fn count(&self, generation: u32) -> Key {
        self.key(&["count", &generation.to_string()])
    }

    pub(super) fn expiry(&self) -> Key {
        self.key(&["expiry"])
    }

    pub(super) fn gone(&self) -> Key {
        self.key(&["gone"])
    }

    pub(super) fn document(&self, placement: &Placement, id: &Id) -> Key {
        let parts = [self.name.collection.as_str(), id.as_str()];
        Key::indexed(&index(self.app, placement), self.name.tenant.as_str(), u32::from(self.number), &parts)
    }

    fn key(&self, parts: &[&str]) -> Key {
        let collection = [self.name.collection.as_str()];
        let parts: Vec<&str> = collection.iter().chain(parts).copied().collect();
        Key::tagged(self.app, Feature::SEARCH, self.name.tenant.as_str(), &self.subject, &parts)
    }
}

// === impl Lexicon ===

impl<'a> Lexicon<'a> {
    pub(super) fn new(app: &'a App, name: &'a CollectionName, generation: u32) -> Lexicon<'a> {
        Lexicon { app, name, generation: generation.to_string() }
    }

    pub(super) fn terms(&self) -> Key {
        self.key("terms")
    }

    pub(super) fn log(&self) -> Key {
        self.key("log")
    }

    pub(super) fn batches(&self) -> Key {
        self.key("batches")
    }

    fn key(&self, part: &str) -> Key {
        let parts = [self.name.collection.as_str(), &self.generation, part];
        Key::tagged(self.app, Feature::SEARCH, self.name.tenant.as_str(), "lexicon", &parts)
    }
}

/// Index of a placement.
pub(super) fn index(app: &App, placement: &Placement) -> Index {
    Index::new(app, Feature::SEARCH, &placement.index, placement.generation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Shape;

    #[test]
    fn keys_of_a_partition_share_its_hash_tag() {
        let app = App::new("portal").expect("a name");
        let name = CollectionName::parse("tenants/acme/collections/tasks", "name").expect("a name");
        let keys = Partition::new(&app, &name, 7);
        let placement = Placement { index: "s-t2g3n4".to_owned(), generation: 1, shape: Shape::default() };
        let id = Id::parse("t|1", "id").expect("an id");
        assert_eq!(keys.state().as_str(), "portal:search:{acme:p7}:tasks:state");
        assert_eq!(keys.count(3).as_str(), "portal:search:{acme:p7}:tasks:count:3");
        assert_eq!(keys.document(&placement, &id).as_str(), "portal:search~s-t2g3n4~g1:{acme:p7}:tasks:t%7C1");
        let lexicon = Lexicon::new(&app, &name, 3);
        assert_eq!(lexicon.terms().as_str(), "portal:search:{acme:lexicon}:tasks:3:terms");
    }
}

//! Use cases of documents, over a collection that was created as callers do.

use std::collections::BTreeMap;
use std::time::Duration;

use keyplane_contracts::names::{CollectionName, DocumentName};
use keyplane_search::app::collections::{Collections, Definitions, Limits};
use keyplane_search::app::documents::{Batch, DocumentLimits, Documents};
use keyplane_search::domain::indexed::Indexed;
use keyplane_search::domain::{RawDocument, Schema};
use keyplane_search::error::Error;
use keyplane_search::store::Store;
use keyplane_valkey::{App, Settings, Valkey};

use super::rig::{id, schema};

/// Limits that no test meets by accident.
pub(crate) const ROOM: DocumentLimits = DocumentLimits { documents: 1_000_000, bytes: 1 << 40 };

/// One instance of the service's use cases.
pub(crate) struct Service {
    pub(crate) store: Store,
    pub(crate) definitions: Definitions,
    pub(crate) collections: Collections,
    pub(crate) documents: Documents,
}

impl Service {
    /// Instance on the shared engine, under its own application.
    pub(crate) async fn start() -> (Service, App) {
        let app = App::new(&keyplane_testkit::app()).expect("a name");
        (Service::on(&keyplane_testkit::search_engine().url(), &app, ROOM).await, app)
    }

    pub(crate) async fn on(url: &str, app: &App, limits: DocumentLimits) -> Service {
        let valkey = Valkey::connect(&Settings::new(url), app.clone()).expect("good settings");
        valkey.wait_ready(Duration::from_secs(20)).await.expect("a server that answers");
        let store = Store::new(valkey);
        let definitions = Definitions::new(store.clone());
        let own = Limits { collections: 100, indexes: 900, rollback_age: Duration::from_mins(10) };
        Service {
            collections: Collections::new(store.clone(), definitions.clone(), own),
            documents: Documents::new(store.clone(), definitions.clone(), limits),
            definitions,
            store,
        }
    }

    pub(crate) async fn create(&self, tenant: &str, schema: Schema) -> CollectionName {
        let name = collection(tenant);
        self.collections.create(&name, schema).await.expect("created");
        name
    }

    pub(crate) async fn tasks(&self) -> CollectionName {
        self.create("acme", schema()).await
    }

    pub(crate) async fn upsert(&self, name: &CollectionName, documents: Vec<RawDocument>) -> Batch {
        self.documents.upsert(name, documents).await.expect("a batch")
    }

    /// Titles of the documents that exist, by id.
    pub(crate) async fn titles(&self, name: &CollectionName, ids: &[&str]) -> BTreeMap<String, String> {
        let mut titles = BTreeMap::new();
        for text in ids {
            match self.documents.get(&document_name(name, text)).await {
                Ok(stored) => {
                    let title = stored.document.fields.get(&super::rig::field_name("title"));
                    titles.insert((*text).to_owned(), format!("{title:?}"));
                }
                Err(Error::DocumentNotFound { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        titles
    }

    /// Number of the documents that exist.
    pub(crate) async fn count(&self, name: &CollectionName, ids: &[&str]) -> u64 {
        let definition = self.definitions.get(name).await.expect("a definition");
        let ids: Vec<_> = ids.iter().map(|text| id(text)).collect();
        let loaded = self.store.load(name, &definition.live, &ids).await.expect("read");
        loaded.into_iter().flatten().count() as u64
    }

    /// Frequencies of terms in the live generation's lexicon.
    pub(crate) async fn lexicon(&self, name: &CollectionName) -> BTreeMap<String, u32> {
        let definition = self.definitions.get(name).await.expect("a definition");
        let (mut terms, mut cursor) = (BTreeMap::new(), 0);
        loop {
            let page = self.store.lexicon_terms(name, definition.live.generation.number, cursor).await.expect("a page");
            terms.extend(page.terms);
            cursor = page.next;
            if cursor == 0 {
                return terms;
            }
        }
    }

    /// Frequencies of the terms of the documents themselves.
    pub(crate) async fn counted(&self, name: &CollectionName, ids: &[&str]) -> BTreeMap<String, u32> {
        let definition = self.definitions.get(name).await.expect("a definition");
        let build = &definition.live;
        let ids: Vec<_> = ids.iter().map(|text| id(text)).collect();
        let loaded = self.store.load(name, build, &ids).await.expect("read");
        let mut terms: BTreeMap<String, u32> = BTreeMap::new();
        for loaded in loaded.into_iter().flatten() {
            let indexed = Indexed::new(&build.schema, &build.layout(), &name.collection, &loaded.stored.document);
            for term in indexed.terms.split_whitespace() {
                *terms.entry(term.to_owned()).or_default() += 1;
            }
        }
        terms
    }
}

pub(crate) fn collection(tenant: &str) -> CollectionName {
    CollectionName::parse(&format!("tenants/{tenant}/collections/tasks"), "name").expect("a name")
}

pub(crate) fn document_name(collection: &CollectionName, text: &str) -> DocumentName {
    DocumentName { collection: collection.clone(), document: id(text) }
}

pub(crate) fn raw(text: &str, fields: serde_json::Value) -> RawDocument {
    let serde_json::Value::Object(fields) = fields else { panic!("an object") };
    RawDocument { id: id(text), fields, version: None, expires: None, at: "document".to_owned() }
}

pub(crate) fn titled(text: &str, title: &str) -> RawDocument {
    raw(text, serde_json::json!({"title": title}))
}

//! Documents and searches of the service itself, through rebuilds, a rollback and the removal of generations.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyplane_contracts::names::Id;
use keyplane_search::app::documents::{DocumentLimits, Documents};
use keyplane_search::app::lexicons::Lexicons;
use keyplane_search::app::search::{Search, SearchParts};
use keyplane_search::domain::cursor::CursorKey;
use keyplane_search::domain::raw::RawDocument;
use keyplane_search::domain::request::{PrefixMode, SearchRequest};
use keyplane_search::domain::{Deletion, RebuildState, SchemaPatch};
use keyplane_testkit::eventually;

use crate::rig::{PATIENCE, Rig, english, limits, name, schema, settings};

/// Documents that nobody changes; every search for their word finds all of them.
const STABLE: usize = 60;

struct Service {
    documents: Documents,
    search: Search,
}

impl Service {
    fn new(rig: &Rig) -> Service {
        let limits = DocumentLimits { documents: 1_000_000, bytes: 1 << 30 };
        let search = Search::new(SearchParts {
            store: rig.store.clone(),
            definitions: rig.definitions.clone(),
            lexicons: Lexicons::new(rig.store.clone(), 64 << 20),
            cursor_key: CursorKey::new(b"a key of the tests"),
            candidates: 300,
            sample_bytes: 64 << 20,
        });
        Service { documents: Documents::new(rig.store.clone(), rig.definitions.clone(), limits), search }
    }

    async fn upsert(&self, documents: &[(String, String)]) -> String {
        let raw = documents.iter().map(|(id, title)| RawDocument {
            id: Id::parse(id, "id").expect("an id"),
            fields: [("title".to_owned(), title.as_str().into())].into_iter().collect(),
            version: None,
            expires: None,
            at: "document".to_owned(),
        });
        let batch = self.documents.upsert(&name(), raw.collect()).await.expect("a batch");
        assert!(batch.results.iter().all(Result::is_ok), "{:?}", batch.results);
        batch.freshness
    }

    /// Ids of the documents with a word.
    async fn find(&self, word: &str, freshness: &str) -> Vec<String> {
        let request = SearchRequest {
            query: word.to_owned(),
            prefix: PrefixMode::None,
            exact_words: true,
            page_size: 250,
            freshness: freshness.to_owned(),
            ..SearchRequest::default()
        };
        let result = self.search.search(&name(), &request).await.expect("a search");
        result.hits.into_iter().map(|hit| hit.document.document.id.as_str().to_owned()).collect()
    }

    /// Writes, changes and deletes one document after another; each search with the write's token sees it.
    async fn write(&self, done: &AtomicBool) {
        let mut number = 0;
        while !done.load(Ordering::Relaxed) {
            number += 1;
            let (id, word) = (format!("w{}", number % 7), format!("word{number}x"));
            let token = self.upsert(&[(id.clone(), word.clone())]).await;
            assert_eq!(self.find(&word, &token).await, std::slice::from_ref(&id), "write {number} is seen");
            if number % 3 == 0 {
                let document = name().document(Id::parse(&id, "id").expect("an id"));
                let deletion = Deletion { version: None, revision: None, allow_missing: false };
                let deleted = self.documents.delete(&document, &deletion).await.expect("deleted");
                assert_eq!(
                    self.find(&word, &deleted.freshness).await,
                    Vec::<String>::new(),
                    "deletion {number} is seen"
                );
            }
        }
    }

    async fn read(&self, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            let found = self.find("stable", "").await;
            assert_eq!(found.len(), STABLE, "a search saw a half-built generation");
        }
    }
}

async fn change(rig: &Rig) {
    rig.collections.update(&name(), english(), None).await.expect("requested");
    rig.ended(RebuildState::Succeeded).await;
    rig.collections.rollback(&name(), None).await.expect("rolled back");
    assert_eq!(rig.collections.get(&name()).await.expect("read").schema, schema());
    rig.collections.update(&name(), english(), None).await.expect("requested again");
    rig.ended(RebuildState::Succeeded).await;
    eventually("the previous generation is removed", PATIENCE, async || {
        let definition = rig.definition().await;
        definition.second.is_none() && definition.retired.is_none()
    })
    .await;
    let back = SchemaPatch { fields: Some(schema().fields), ..SchemaPatch::default() };
    rig.collections.update(&name(), back, None).await.expect("requested a third time");
    rig.ended(RebuildState::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_and_writes_notice_nothing_of_rebuilds() {
    let rig = Rig::start().await;
    rig.collections.create(&name(), schema()).await.expect("created");
    // Another instance than the maintenance's: its definitions are up to a second old.
    let service = Service::new(&Rig::instance(&rig.app, limits()).await);
    let stable: Vec<_> = (0..STABLE).map(|number| (format!("s{number}"), format!("stable number{number}"))).collect();
    service.upsert(&stable).await;
    let mut quick = settings();
    quick.rebuild.rollback_age = Duration::from_millis(1_200);
    let maintenance = rig.maintain(quick);
    let done = AtomicBool::new(false);
    let changes = async {
        change(&rig).await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(changes, service.read(&done), service.write(&done));
    maintenance.stop().await;
    rig.assert_counted().await;
}

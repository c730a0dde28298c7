//! Collections of one test, and the service's searches of them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt as _;

use keyplane_contracts::names::{CollectionName, Id};
use keyplane_search::app::collections::{Collections, Definitions, Limits};
use keyplane_search::app::lexicons::Lexicons;
use keyplane_search::app::search::{Search, SearchParts};
use keyplane_search::domain::cursor::CursorKey;
use keyplane_search::domain::freshness::Freshness;
use keyplane_search::domain::indexed::Indexed;
use keyplane_search::domain::request::{FacetRequest, OrderBy, PrefixMode, SearchRequest};
use keyplane_search::domain::result::SearchResult;
use keyplane_search::domain::{Document, Field, FieldKind, FieldName, Language, Schema, Value};
use keyplane_search::error::Error;
use keyplane_search::store::Store;
use keyplane_search::store::documents::{CHUNK, Fenced, Put, PutResult, Room};
use keyplane_valkey::{App, Settings, Valkey};

/// Service over one application of the engine.
pub(crate) struct Rig {
    pub(crate) store: Store,
    pub(crate) definitions: Definitions,
    pub(crate) collections: Collections,
    pub(crate) search: Search,
}

// === impl Rig ===

impl Rig {
    pub(crate) async fn start() -> Rig {
        let server = keyplane_testkit::search_engine();
        let app = App::new(&keyplane_testkit::app()).expect("a name");
        // The machine of the tests may be busy with a build.
        let mut settings = Settings::new(server.url());
        settings.command_timeout = Duration::from_secs(20);
        let valkey = Valkey::connect(&settings, app).expect("good settings");
        valkey.wait_ready(Duration::from_secs(20)).await.expect("a server that answers");
        let store = Store::new(valkey);
        store.check().await.expect("an engine with search");
        let definitions = Definitions::new(store.clone());
        let limits = Limits { collections: 100, indexes: 900, rollback_age: Duration::from_secs(60) };
        let collections = Collections::new(store.clone(), definitions.clone(), limits);
        let search = search(&store, &definitions, 300);
        Rig { store, definitions, collections, search }
    }

    /// Searches of another instance, with this maximum of candidates.
    pub(crate) fn instance(&self, candidates: u32) -> Search {
        search(&self.store, &self.definitions, candidates)
    }

    /// Creates a collection. On a busy machine an engine that scans the documents of all tests may take longer than one call waits.
    pub(crate) async fn create(&self, tenant: &str, id: &str, schema: Schema) -> CollectionName {
        let name = CollectionName::parse(&format!("tenants/{tenant}/collections/{id}"), "name").expect("a name");
        let mut attempts = 1;
        while let Err(error) = self.collections.create(&name, schema.clone()).await {
            assert!(matches!(error, Error::IndexNotReady { .. }) && attempts < 6, "attempt {attempts}: {error}");
            attempts += 1;
        }
        name
    }

    /// Writes documents, and the words that they add to the lexicon.
    pub(crate) async fn put(&self, name: &CollectionName, documents: &[Document]) {
        let definition = self.definitions.get(name).await.expect("a definition");
        let layout = definition.live.layout();
        let schema = &definition.live.schema;
        let index = |document: &Document| Indexed::new(schema, &layout, &name.collection, document);
        let indexed: Vec<Indexed> = documents.iter().map(index).collect();
        let mut parts: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (at, indexed) in indexed.iter().enumerate() {
            parts.entry(indexed.spread.partition).or_default().push(at);
        }
        let mut chunks: Vec<(u8, &[usize])> = Vec::new();
        for (partition, members) in &parts {
            chunks.extend(members.chunks(CHUNK).map(|chunk| (*partition, chunk)));
        }
        let (definition, indexed) = (&definition, &indexed);
        let writes = chunks.into_iter().map(async |(partition, chunk)| {
            let put = |at: &usize| Put {
                id: &documents[*at].id,
                version: documents[*at].version,
                expires: documents[*at].expires,
                revision: None,
                room: Room::Any,
                live: &indexed[*at],
                second: None,
            };
            let puts: Vec<Put<'_>> = chunk.iter().map(put).collect();
            let Fenced::Done(results) = self.store.put(definition, partition, &puts).await.expect("written") else {
                panic!("the definition is current")
            };
            assert!(results.iter().all(|result| matches!(result, PutResult::Stored(_))), "{results:?}");
        });
        futures::stream::iter(writes).buffer_unordered(4).collect::<Vec<()>>().await;
        self.add_words(name, definition.live.generation.number, indexed).await;
    }

    async fn add_words(&self, name: &CollectionName, generation: u32, indexed: &[Indexed]) {
        let mut terms: BTreeMap<&str, i64> = BTreeMap::new();
        for term in indexed.iter().flat_map(|indexed| indexed.terms.split_ascii_whitespace()) {
            *terms.entry(term).or_default() += 1;
        }
        let deltas: Vec<_> = terms.iter().map(|(term, delta)| ((*term).to_owned(), *delta)).collect();
        for (at, chunk) in deltas.chunks(500).enumerate() {
            let batch = format!("{}-{at}", keyplane_testkit::app());
            self.store.lexicon_update(name, generation, &batch, chunk).await.expect("updated");
        }
    }

    /// Takes one document of a term out of the lexicon.
    pub(crate) async fn forget(&self, name: &CollectionName, term: &str) {
        let generation = self.definitions.get(name).await.expect("a definition").live.generation.number;
        let delta = [(term.to_owned(), -1)];
        self.store.lexicon_update(name, generation, &keyplane_testkit::app(), &delta).await.expect("updated");
    }

    /// Writes many documents.
    pub(crate) async fn put_all(&self, name: &CollectionName, documents: &[Document]) {
        for batch in documents.chunks(4_000) {
            self.put(name, batch).await;
        }
    }

    /// Freshness token of the last write.
    pub(crate) async fn token(&self, name: &CollectionName) -> String {
        let definition = self.definitions.get(name).await.expect("a definition");
        let generation = definition.live.generation.number;
        let log = self.store.lexicon_head(name, generation).await.expect("a log");
        Freshness { generation, epoch: definition.epoch, log: (log.ms, log.seq) }.encode(name)
    }

    pub(crate) async fn search(&self, name: &CollectionName, request: &SearchRequest) -> SearchResult {
        self.search.search(name, request).await.unwrap_or_else(|error| panic!("{request:?}: {error}"))
    }

    pub(crate) async fn fails(&self, name: &CollectionName, request: &SearchRequest) -> Error {
        self.search.search(name, request).await.expect_err("an error")
    }
}

fn search(store: &Store, definitions: &Definitions, candidates: u32) -> Search {
    Search::new(SearchParts {
        store: store.clone(),
        definitions: definitions.clone(),
        lexicons: Lexicons::new(store.clone(), 64 << 20),
        cursor_key: CursorKey::new(b"a key of the tests"),
        candidates,
        sample_bytes: 64 << 20,
    })
}

pub(crate) fn field_name(name: &str) -> FieldName {
    FieldName::new(name).expect("a name")
}

pub(crate) fn field(name: &str, kind: FieldKind) -> Field {
    let is_text = kind.is_text();
    let (sortable, facet) = (kind != FieldKind::Tags, !is_text);
    Field { name: field_name(name), kind, sortable, facet }
}

pub(crate) fn text(weight: f32) -> FieldKind {
    FieldKind::Text { weight, language: Language::English }
}

/// Schema with a field of each searchable type.
pub(crate) fn schema() -> Schema {
    let fields = vec![
        field("title", text(2.0)),
        field("notes", text(1.0)),
        field("status", FieldKind::Tag),
        field("tags", FieldKind::Tags),
        field("open", FieldKind::Boolean),
        field("amount", FieldKind::Integer),
        field("price", FieldKind::Decimal),
        field("changed", FieldKind::Timestamp),
    ];
    Schema { fields, ..Schema::default() }
}

pub(crate) fn document(id: &str, fields: &[(&str, Value)]) -> Document {
    let fields = fields.iter().map(|(name, value)| (field_name(name), value.clone())).collect();
    Document { id: Id::parse(id, "id").expect("an id"), fields, version: None, expires: None }
}

pub(crate) fn request() -> SearchRequest {
    SearchRequest { page_size: 20, prefix: PrefixMode::None, ..SearchRequest::default() }
}

pub(crate) fn order(field: &str, descending: bool) -> OrderBy {
    OrderBy { field: field_name(field), descending }
}

pub(crate) fn facet(field: &str) -> FacetRequest {
    FacetRequest { field: field_name(field), max_values: 100, ranges: Vec::new(), interval: 0.0, stats: false }
}

pub(crate) fn ids(result: &SearchResult) -> Vec<&str> {
    result.hits.iter().map(|hit| hit.document.document.id.as_str()).collect()
}

/// Violations of a rejected request: `field: rule`.
pub(crate) fn violations(error: Error) -> Vec<String> {
    let Error::Invalid(violations) = error else { panic!("no violations: {error}") };
    violations.iter().map(ToString::to_string).collect()
}

/// Time now, in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock before 10000")
}

/// Runs a test of a property.
pub(crate) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(test);
}

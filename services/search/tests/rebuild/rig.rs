//! Collections of one test, writers to them, and their maintenance.

use std::collections::BTreeMap;
use std::time::Duration;

use keyplane_contracts::names::{CollectionName, Id};
use keyplane_search::app::collections::{Collections, Definitions, Limits};
use keyplane_search::app::maintenance::{Maintenance, Settings};
use keyplane_search::app::rebuild;
use keyplane_search::domain::conversion::convert;
use keyplane_search::domain::indexed::Indexed;
use keyplane_search::domain::spread::PARTITIONS;
use keyplane_search::domain::{
    Build, Collection, Definition, Document, Field, FieldKind, FieldName, Language, RebuildState, Schema, SchemaPatch,
    Spread, Value,
};
use keyplane_search::error::Error;
use keyplane_search::store::Store;
use keyplane_search::store::documents::{Fenced, Put, PutResult, Removal, Removed, Room};
use keyplane_search::store::generations::{Size, Walk};
use keyplane_testkit::eventually;
use keyplane_valkey::{App, Valkey};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Store of one application. Clones share it, like instances of the service.
#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) app: App,
    pub(crate) store: Store,
    pub(crate) definitions: Definitions,
    pub(crate) collections: Collections,
}

pub(crate) fn limits() -> Limits {
    Limits { collections: 100, indexes: 900, rollback_age: Duration::from_secs(600) }
}

/// Settings under which everything happens at once.
pub(crate) fn settings() -> Settings {
    Settings {
        rebuild: rebuild::Settings { indexes: 900, rollback_age: Duration::from_secs(600), pace: 0 },
        own_index_documents: 5_000,
        reconcile_every: Duration::from_secs(3_600),
        settle: Duration::from_millis(50),
        janitor_every: Duration::from_millis(200),
        look_every: Duration::from_millis(100),
        poll: Duration::from_millis(10),
        lease: Duration::from_millis(1_000),
        concurrency: 4,
        long: 2,
    }
}

pub(crate) fn name() -> CollectionName {
    named("tasks")
}

pub(crate) fn named(collection: &str) -> CollectionName {
    CollectionName::parse(&format!("tenants/acme/collections/{collection}"), "name").expect("a name")
}

pub(crate) fn field(name: &str, kind: FieldKind) -> Field {
    Field { name: field_name(name), kind, sortable: false, facet: false }
}

pub(crate) fn field_name(name: &str) -> FieldName {
    FieldName::new(name).expect("a name")
}

pub(crate) fn schema() -> Schema {
    let text = FieldKind::Text { weight: 1.0, language: Language::None };
    let fields = vec![field("title", text), field("status", FieldKind::Tag), field("amount", FieldKind::Decimal)];
    Schema { fields, ..Schema::default() }
}

/// Change that needs a rebuild: another language, one field more.
pub(crate) fn english() -> SchemaPatch {
    let mut fields = schema().fields;
    fields[0].kind = FieldKind::Text { weight: 1.0, language: Language::English };
    fields.push(field("owner", FieldKind::Tag));
    SchemaPatch { fields: Some(fields), ..SchemaPatch::default() }
}

/// Change that a decimal with a fraction does not fit.
pub(crate) fn whole() -> SchemaPatch {
    let mut fields = schema().fields;
    fields[2].kind = FieldKind::Integer;
    SchemaPatch { fields: Some(fields), ..SchemaPatch::default() }
}

pub(crate) fn document(id: &str, title: &str, amount: f64) -> Document {
    let fields = [
        (field_name("title"), Value::Text(title.to_owned())),
        (field_name("status"), Value::Text("open".to_owned())),
        (field_name("amount"), Value::Decimal(amount)),
    ];
    Document { id: Id::parse(id, "id").expect("an id"), fields: fields.into(), version: None, expires: None }
}

impl Rig {
    pub(crate) async fn start() -> Rig {
        let app = App::new(&keyplane_testkit::app()).expect("a name");
        Rig::instance(&app, limits()).await
    }

    /// Instance of the service for an application, with a connection of its own.
    pub(crate) async fn instance(app: &App, limits: Limits) -> Rig {
        Rig::instance_at(&keyplane_testkit::search_engine().url(), app, limits).await
    }

    pub(crate) async fn instance_at(url: &str, app: &App, limits: Limits) -> Rig {
        let valkey = Valkey::connect(&keyplane_valkey::Settings::new(url), app.clone()).expect("good settings");
        valkey.wait_ready(PATIENCE).await.expect("a server that answers");
        let store = Store::new(valkey);
        let definitions = Definitions::new(store.clone());
        let collections = Collections::new(store.clone(), definitions.clone(), limits);
        Rig { app: app.clone(), store, definitions, collections }
    }

    /// Rig with the collection `tasks` and documents in it.
    pub(crate) async fn with_documents(count: u32) -> Rig {
        let rig = Rig::start().await;
        rig.collections.create(&name(), schema()).await.expect("created");
        let documents: Vec<Document> = (0..count)
            .map(|number| document(&format!("d{number}"), &format!("running task {number}"), f64::from(number)))
            .collect();
        for some in documents.chunks(50) {
            futures::future::join_all(some.iter().map(|document| rig.put(document))).await;
        }
        rig
    }

    pub(crate) fn maintain(&self, settings: Settings) -> Maintenance {
        Maintenance::start(&self.store, &self.definitions, settings, &keyplane_testkit::app())
    }

    pub(crate) fn command(&self, args: &[&str]) -> keyplane_engine::Reply {
        keyplane_testkit::search_engine().command(args).expect("a command that the server takes")
    }

    pub(crate) fn key(&self, partition: u8, part: &str) -> String {
        format!("{}:search:{{acme:p{partition}}}:tasks:{part}", self.app)
    }

    pub(crate) async fn definition(&self) -> Definition {
        self.store.definition(&name()).await.expect("read").expect("a definition")
    }

    /// Writes a document as the service does: by the known definition, and again after a reload while it is outdated.
    pub(crate) async fn put(&self, document: &Document) {
        let mut definition = self.definitions.get(&name()).await.expect("a definition");
        loop {
            match self.put_by(&definition, document).await {
                Fenced::Done(()) => return,
                Fenced::Stale => definition = self.definitions.reload(&name()).await.expect("a definition"),
            }
        }
    }

    pub(crate) async fn put_by(&self, definition: &Definition, document: &Document) -> Fenced<()> {
        let index = |build: &Build, document: &Document| {
            Indexed::new(&build.schema, &build.layout(), &definition.name.collection, document)
        };
        let live = index(&definition.live, document);
        let second = definition.second().map(|build| match convert(document, &build.schema) {
            Ok(converted) => Ok(index(build, &converted)),
            Err(misfit) => Err(misfit.to_string()),
        });
        let put = Put {
            id: &document.id,
            version: document.version,
            expires: document.expires,
            revision: None,
            room: Room::Any,
            live: &live,
            second: second.as_ref().map(|second| second.as_ref().map_err(String::as_str)),
        };
        let Fenced::Done(mut results) = self.store.put(definition, live.spread.partition, &[put]).await.expect("put")
        else {
            return Fenced::Stale;
        };
        let Some(PutResult::Stored(stored)) = results.pop() else { panic!("the document is stored") };
        if stored.receipt.outcome == keyplane_search::domain::Outcome::Unchanged {
            return Fenced::Done(());
        }
        let second = second.as_ref().map(|second| second.as_ref().map_or("", |indexed| indexed.terms.as_str()));
        self.follow(definition, [&stored.replaced, &stored.replaced_second], [&live.terms, second.unwrap_or("")]).await;
        Fenced::Done(())
    }

    pub(crate) async fn delete(&self, id: &str) {
        let id = Id::parse(id, "id").expect("an id");
        let removal = Removal { id: &id, version: None, revision: None };
        let mut definition = self.definitions.get(&name()).await.expect("a definition");
        loop {
            let partition = Spread::new(&definition.name.collection, &id).partition;
            match self.store.remove(&definition, partition, &[removal]).await.expect("removed") {
                Fenced::Stale => definition = self.definitions.reload(&name()).await.expect("a definition"),
                Fenced::Done(results) => {
                    let Some(Removed::Gone { terms, second, .. }) = results.into_iter().next() else { panic!("gone") };
                    return self.follow(&definition, [&terms, &second], ["", ""]).await;
                }
            }
        }
    }

    /// Updates the lexicons of both generations after a write.
    async fn follow(&self, definition: &Definition, before: [&str; 2], after: [&str; 2]) {
        let builds = [Some(&definition.live), definition.second()];
        for (build, (before, after)) in builds.into_iter().zip(before.into_iter().zip(after)) {
            let Some(build) = build else { continue };
            let mut deltas: BTreeMap<String, i64> = BTreeMap::new();
            before.split_whitespace().for_each(|term| *deltas.entry(term.to_owned()).or_default() -= 1);
            after.split_whitespace().for_each(|term| *deltas.entry(term.to_owned()).or_default() += 1);
            let deltas: Vec<_> = deltas.into_iter().filter(|(_, by)| *by != 0).collect();
            let batch = keyplane_testkit::app();
            let number = build.generation.number;
            self.store.lexicon_update(&definition.name, number, &batch, &deltas).await.expect("updated");
        }
    }

    /// Titles of a generation's documents, by id.
    pub(crate) async fn titles(&self, build: &Build) -> BTreeMap<String, String> {
        let mut titles = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let mut walk = Walk::new(partition, Size::default(), None);
            while let Some(page) = walk.step(&self.store, &name(), build).await.expect("a page") {
                for found in page {
                    let Some(Value::Text(title)) = found.document.fields.get(&field_name("title")) else { continue };
                    titles.insert(found.document.id.as_str().to_owned(), title.clone());
                }
            }
        }
        titles
    }

    pub(crate) async fn lexicon(&self, generation: u32) -> BTreeMap<String, u32> {
        let (mut terms, mut cursor) = (BTreeMap::new(), 0);
        loop {
            let page = self.store.lexicon_terms(&name(), generation, cursor).await.expect("a page");
            terms.extend(page.terms);
            cursor = page.next;
            if cursor == 0 {
                return terms;
            }
        }
    }

    /// Waits until the last rebuild has ended in `state`.
    pub(crate) async fn ended(&self, state: RebuildState) -> Collection {
        eventually("the rebuild ends", PATIENCE, async || {
            let collection = self.collections.get(&name()).await.map_err(|error| error.to_string())?;
            let ended = collection.rebuild.as_ref().is_some_and(|rebuild| rebuild.state == state);
            if ended { Ok(collection) } else { Err(format!("{:?}", collection.rebuild)) }
        })
        .await
    }

    /// Keys of the application, but for those of its definitions.
    pub(crate) fn keys(&self) -> Vec<String> {
        let keyplane_engine::Reply::Array(keys) = self.command(&["KEYS", &format!("{}[:~]*", self.app)]) else {
            panic!("keys are a list")
        };
        let text = |key| if let keyplane_engine::Reply::Text(key) = key { key } else { panic!("a key is a text") };
        keys.into_iter().map(text).filter(|key| !key.ends_with(":defs")).collect()
    }

    /// Holds counters and lexicon of the live generation against its documents.
    pub(crate) async fn assert_counted(&self) {
        let definition = self.definition().await;
        let (build, number) = (&definition.live, definition.live.generation.number);
        let mut terms: BTreeMap<String, i64> = BTreeMap::new();
        for partition in 0..PARTITIONS {
            let mut census = keyplane_search::domain::census::Census::default();
            let mut walk = Walk::new(partition, Size::default(), None);
            while let Some(page) = walk.step(&self.store, &name(), build).await.expect("a page") {
                for found in page {
                    let collection = &definition.name.collection;
                    let indexed = Indexed::new(&build.schema, &build.layout(), collection, &found.document);
                    census.add(&found.document.id, found.revision, &indexed);
                }
            }
            let counts = self.store.counts(&name(), number, partition).await.expect("counters");
            assert_eq!(census.counts, counts, "counters of partition {partition}");
            let state = self.store.partition(&name(), partition).await.expect("read").expect("a state");
            assert_eq!(census.checksum, state.checksum(number), "checksum of partition {partition}");
            census.terms.into_iter().for_each(|(term, count)| *terms.entry(term).or_default() += count);
        }
        let lexicon: BTreeMap<String, i64> =
            self.lexicon(number).await.into_iter().map(|(term, count)| (term, i64::from(count))).collect();
        assert_eq!(terms, lexicon, "frequencies of terms");
    }
}

pub(crate) fn reason(result: Result<impl Sized, Error>) -> String {
    match result {
        Ok(_) => "success".to_owned(),
        Err(error) => error.to_string(),
    }
}

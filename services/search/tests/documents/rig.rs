//! Collection of one test.

use std::collections::BTreeMap;

use keyplane_contracts::names::{CollectionName, Id};
use keyplane_search::domain::indexed::Indexed;
use keyplane_search::domain::{
    Build, Clause, CollectionState, Definition, Document, Field, FieldKind, FieldName, Generation, Language, Placement,
    Schema, Scope, Second, Spread, Value,
};
use keyplane_search::store::documents::{CHUNK, Fenced, Put, PutResult, Removal, Removed, Room};
use keyplane_search::store::{AnyOf, Find, LogRead, Store};
use keyplane_valkey::{App, Settings, Valkey};

/// Store of one application, and a collection in it.
pub(crate) struct Rig {
    pub(crate) store: Store,
    pub(crate) valkey: Valkey,
    pub(crate) definition: Definition,
}

/// Schema with a column of each type.
pub(crate) fn schema() -> Schema {
    let text = FieldKind::Text { weight: 1.0, language: Language::None };
    let field = |name: &str, kind, sortable| Field { name: field_name(name), kind, sortable, facet: false };
    let fields = vec![
        field("title", text, false),
        field("status", FieldKind::Tag, false),
        field("tags", FieldKind::Tags, false),
        field("amount", FieldKind::Integer, true),
    ];
    Schema { fields, ..Schema::default() }
}

pub(crate) fn field_name(name: &str) -> FieldName {
    FieldName::new(name).expect("a name")
}

pub(crate) fn id(text: &str) -> Id {
    Id::parse(text, "id").expect("an id")
}

pub(crate) fn document(name: &str, fields: &[(&str, Value)]) -> Document {
    let fields = fields.iter().map(|(name, value)| (field_name(name), value.clone())).collect();
    Document { id: id(name), fields, version: None, expires: None }
}

pub(crate) fn titled(name: &str, title: &str) -> Document {
    document(name, &[("title", Value::Text(title.to_owned()))])
}

impl Rig {
    pub(crate) async fn start() -> Rig {
        let server = keyplane_testkit::search_engine();
        Rig::open(&server.url(), &App::new(&keyplane_testkit::app()).expect("a name"), "acme").await
    }

    /// Opens the collection `tasks` of a tenant, in the index that its shape shares.
    pub(crate) async fn open(url: &str, app: &App, tenant: &str) -> Rig {
        let valkey = Valkey::connect(&Settings::new(url), app.clone()).expect("good settings");
        valkey.wait_ready(std::time::Duration::from_secs(20)).await.expect("a server that answers");
        let name = CollectionName::parse(&format!("tenants/{tenant}/collections/tasks"), "name").expect("a name");
        let live = build(1, 0);
        let definition = Definition {
            name,
            revision: 1,
            epoch: 1,
            state: CollectionState::Active,
            live,
            second: None,
            retired: None,
            retired_since: 0,
            rebuild: None,
            created: 0,
            updated: 0,
        };
        let rig = Rig { store: Store::new(valkey.clone()), valkey, definition };
        rig.store.check().await.expect("an engine with search");
        rig.begin(&rig.definition.live).await;
        rig.store.fence(&rig.definition, true).await.expect("fenced");
        rig
    }

    /// Creates the index and the lexicon of a generation.
    async fn begin(&self, build: &Build) {
        let placement = &build.generation.placement;
        self.store.ensure_index(&self.definition.name, placement, 900).await.expect("an index");
        self.store.open_generation(&self.definition, build).await.expect("a lexicon");
    }

    /// Begins a rebuild: writes go to a second generation too.
    pub(crate) async fn second(&mut self, schema: Schema) {
        let mut next = build(2, 1);
        next.schema = schema;
        self.begin(&next).await;
        self.definition.second = Some(Second::Next(next));
        self.definition.epoch += 1;
    }

    pub(crate) fn key(&self, partition: u8, part: &str) -> String {
        format!("{}:search:{{{}:p{partition}}}:tasks:{part}", self.valkey.app(), self.definition.name.tenant)
    }

    pub(crate) fn command(&self, args: &[&str]) -> keyplane_engine::Reply {
        keyplane_testkit::search_engine().command(args).expect("a command that the server takes")
    }

    /// Writes documents in the order given.
    pub(crate) async fn put(&self, documents: &[Document]) -> Vec<PutResult> {
        self.put_with(documents, |_: &mut Put<'_>| {}).await
    }

    /// Writes documents in the order given: those of one partition by one script.
    pub(crate) async fn put_with(&self, documents: &[Document], change: impl Fn(&mut Put<'_>)) -> Vec<PutResult> {
        let index = |build: &Build, document: &Document| {
            Indexed::new(&build.schema, &build.layout(), &self.definition.name.collection, document)
        };
        let second = |document: &Document| {
            self.definition.second().map(|build| {
                keyplane_search::domain::conversion::convert(document, &build.schema)
                    .map(|converted| index(build, &converted))
                    .map_err(|misfit| misfit.to_string())
            })
        };
        let forms: Vec<_> =
            documents.iter().map(|document| (index(&self.definition.live, document), second(document))).collect();
        let mut results: Vec<Option<PutResult>> = documents.iter().map(|_| None).collect();
        for partition in 0..16 {
            let positions: Vec<usize> =
                (0..documents.len()).filter(|position| forms[*position].0.spread.partition == partition).collect();
            let put = |position: &usize| {
                let (document, (live, second)) = (&documents[*position], &forms[*position]);
                let mut put = Put {
                    id: &document.id,
                    version: document.version,
                    expires: document.expires,
                    revision: None,
                    room: Room::Any,
                    live,
                    second: second.as_ref().map(|second| second.as_ref().map_err(String::as_str)),
                };
                change(&mut put);
                put
            };
            for chunk in positions.chunks(CHUNK) {
                let puts: Vec<_> = chunk.iter().map(put).collect();
                let written = self.store.put(&self.definition, partition, &puts).await.expect("written");
                let Fenced::Done(list) = written else { panic!("the definition is current") };
                for (position, result) in chunk.iter().zip(list) {
                    results[*position] = Some(result);
                }
            }
        }
        results.into_iter().map(|result| result.expect("a result")).collect()
    }

    pub(crate) async fn remove(&self, name: &str, version: Option<i64>, revision: Option<i64>) -> Removed {
        let id = id(name);
        let partition = Spread::new(&self.definition.name.collection, &id).partition;
        let removal = Removal { id: &id, version, revision };
        let removed = self.store.remove(&self.definition, partition, &[removal]).await.expect("removed");
        let Fenced::Done(mut list) = removed else { panic!("the definition is current") };
        list.pop().expect("a result")
    }

    pub(crate) async fn load(&self, name: &str) -> Option<keyplane_search::domain::Stored> {
        let loaded = self.store.load(&self.definition.name, &self.definition.live, &[id(name)]).await.expect("read");
        loaded.into_iter().next().flatten().map(|loaded| loaded.stored)
    }

    /// Ids of the documents with all words, sorted.
    pub(crate) async fn ids(&self, build: &Build, words: &[&str]) -> Vec<String> {
        let any = |word: &&str| AnyOf { columns: vec![0], terms: vec![vec![(*word).to_owned()]] };
        let words: Vec<AnyOf> = words.iter().map(any).collect();
        let scope = Scope::new(&self.definition.name);
        let find = Find {
            scope: &scope,
            clause: &Clause::always(),
            words: &words,
            not_words: &[],
            not_columns: &[],
            spread: None,
            texts: &[],
            limit: 10_000,
        };
        let found = self.store.find(&build.generation.placement, &find).await.expect("found");
        let mut ids: Vec<String> = found.rows.into_iter().map(|row| row.id).collect();
        ids.sort();
        ids
    }

    /// Frequencies of a generation's terms, from the hash and, the same, from the log.
    pub(crate) async fn lexicon(&self, generation: u32) -> BTreeMap<String, u32> {
        let name = &self.definition.name;
        let mut terms = BTreeMap::new();
        let mut cursor = 0;
        loop {
            let page = self.store.lexicon_terms(name, generation, cursor).await.expect("a page");
            terms.extend(page.terms);
            cursor = page.next;
            if cursor == 0 {
                break;
            }
        }
        let (mut replayed, mut version) = (BTreeMap::new(), keyplane_search::domain::lexicon::LogId { ms: 0, seq: 0 });
        loop {
            let read = self.store.lexicon_log(name, generation, version).await.expect("a log");
            let LogRead::Changes { changes, version: later, more } = read else { panic!("a short log is whole") };
            for (term, frequency) in changes {
                replayed.insert(term, frequency);
            }
            version = later;
            if !more {
                break;
            }
        }
        replayed.retain(|_, frequency| *frequency > 0);
        assert_eq!(replayed, terms, "the log leads to the frequencies");
        terms
    }
}

fn build(number: u32, placement: u32) -> Build {
    let schema = schema();
    let shape = keyplane_search::domain::Layout::new(&schema).shape;
    let placement = Placement { index: format!("s-{shape}"), generation: placement, shape };
    Build { generation: Generation { number, placement }, schema }
}

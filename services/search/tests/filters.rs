//! Filters in a real engine: compiled conditions find exactly the documents that the evaluator admits, in their own collection.

#[expect(dead_code, reason = "the unit tests use the rest")]
#[path = "../src/domain/model.rs"]
mod model;

use std::collections::BTreeSet;

use keyplane_contracts::names::{CollectionName, Id};
// The model names the domain's modules as its siblings.
use keyplane_search::domain::indexed::Indexed;
use keyplane_search::domain::{
    Build, Clause, CollectionState, Definition, Document, Filter, Generation, Layout, Packed, Placement, Scope,
};
use keyplane_search::domain::{document, schema};
use keyplane_search::store::documents::{Fenced, Put, PutResult, Room};
use keyplane_search::store::{Find, Row, Store};
use keyplane_valkey::{App, Settings, Valkey};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use model::{KINDS, Rule};

/// Documents of a collection.
const DOCUMENTS: usize = 24;

/// Collection `things` of one tenant, in the index that its shape shares with the other tenants'.
struct Collection {
    store: Store,
    definition: Definition,
    documents: Vec<Document>,
}

impl Collection {
    async fn open(app: &App, tenant: &str) -> Collection {
        let settings = Settings::new(keyplane_testkit::search_engine().url());
        let valkey = Valkey::connect(&settings, app.clone()).expect("good settings");
        valkey.wait_ready(std::time::Duration::from_secs(20)).await.expect("a server that answers");
        let schema = model::schema_of(&KINDS);
        let shape = Layout::new(&schema).shape;
        let placement = Placement { index: format!("s-{shape}"), generation: 0, shape };
        let definition = Definition {
            name: CollectionName::parse(&format!("tenants/{tenant}/collections/things"), "name").expect("a name"),
            revision: 1,
            epoch: 1,
            state: CollectionState::Active,
            live: Build { generation: Generation { number: 1, placement }, schema },
            second: None,
            retired: None,
            retired_since: 0,
            rebuild: None,
            created: 0,
            updated: 0,
        };
        let store = Store::new(valkey);
        store.ensure_index(&definition.name, &definition.live.generation.placement, 10).await.expect("an index");
        store.open_generation(&definition, &definition.live).await.expect("a lexicon");
        store.fence(&definition, true).await.expect("partitions");
        Collection { store, definition, documents: Vec::new() }
    }

    /// Replaces all documents.
    async fn put(&mut self, documents: Vec<Document>) {
        let (live, name) = (&self.definition.live, &self.definition.name);
        for document in &documents {
            let indexed = Indexed::new(&live.schema, &live.layout(), &name.collection, document);
            let partition = indexed.spread.partition;
            let put = Put {
                id: &document.id,
                version: None,
                expires: None,
                revision: None,
                room: Room::Any,
                live: &indexed,
                second: None,
            };
            let written = self.store.put(&self.definition, partition, &[put]).await.expect("written");
            assert!(matches!(written, Fenced::Done(results) if matches!(results[..], [PutResult::Stored(_)])));
        }
        self.documents = documents;
    }

    async fn rows(&self, clause: &Clause) -> Vec<Row> {
        let scope = Scope::new(&self.definition.name);
        let find = Find {
            scope: &scope,
            clause,
            words: &[],
            not_words: &[],
            not_columns: &[],
            spread: None,
            texts: &[],
            limit: 1000,
        };
        assert!(find.text().is_some(), "the engine takes {clause:?}");
        self.store.find(&self.definition.live.generation.placement, &find).await.expect("found").rows
    }

    async fn ids(&self, clause: &Clause) -> BTreeSet<String> {
        self.rows(clause).await.into_iter().map(|row| row.id).collect()
    }

    fn parse(&self, text: &str) -> Filter {
        Filter::parse(text, &self.definition.live.schema).unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
    }

    /// Checks a rule: the engine alone, and the engine with a later filter, find what the model admits.
    async fn check(&self, rule: &Rule) {
        let text = rule.text();
        let filter = self.parse(&text);
        let admitted = self.documents.iter().filter(|document| rule.holds(&self.definition.live.schema, document));
        let expected: BTreeSet<String> = admitted.map(|document| document.id.as_str().to_owned()).collect();
        let clauses = filter.clauses(&self.definition.live.layout());
        assert_eq!(self.ids(&clauses.all()).await, expected, "{text}");
        let rows = self.rows(&clauses.split(1, 300).engine).await;
        let passes = |row: &&Row| filter.matches(&Packed::read(&row.packed).expect("packed values"));
        let filtered: BTreeSet<String> = rows.iter().filter(passes).map(|row| row.id.clone()).collect();
        assert_eq!(filtered, expected, "filtered later: {text}");
    }

    fn all(&self) -> BTreeSet<String> {
        self.documents.iter().map(|document| document.id.as_str().to_owned()).collect()
    }
}

/// Documents with the ids `{prefix}-0`, `{prefix}-1`, ….
fn documents(runner: &mut TestRunner, prefix: &str) -> Vec<Document> {
    let made = proptest::collection::vec(model::document(&model::schema_of(&KINDS)), DOCUMENTS);
    let mut documents = made.new_tree(runner).expect("documents").current();
    for (index, document) in documents.iter_mut().enumerate() {
        document.id = Id::parse(&format!("{prefix}-{index}"), "id").expect("an id");
    }
    documents
}

#[tokio::test]
async fn engine_finds_exactly_what_a_filter_admits() {
    let app = App::new(&keyplane_testkit::app()).expect("a name");
    let (mut mine, mut other) = (Collection::open(&app, "acme").await, Collection::open(&app, "globex").await);
    let mut runner = TestRunner::default();
    for _ in 0..3 {
        mine.put(documents(&mut runner, "mine")).await;
        other.put(documents(&mut runner, "other")).await;
        for _ in 0..40 {
            let rule = model::rule(&KINDS).new_tree(&mut runner).expect("a rule").current();
            mine.check(&rule).await;
            other.check(&rule).await;
        }
    }
}

#[tokio::test]
async fn no_filter_leaves_its_collection() {
    let app = App::new(&keyplane_testkit::app()).expect("a name");
    let (mut mine, mut other) = (Collection::open(&app, "acme").await, Collection::open(&app, "acme-2").await);
    let mut runner = TestRunner::default();
    mine.put(documents(&mut runner, "mine")).await;
    other.put(documents(&mut runner, "other")).await;
    let layout = mine.definition.live.layout();
    let hostile = [
        "*",
        "a*",
        "a|b",
        "} | @_s:{acme_2d2_2fthings} | @g0:{a",
        "a} @_s:{*}",
        "\\*",
        "_0",
        "_e",
        "%a%",
        "@g0:{a}",
        "-a",
        "$x",
        "(a)=>{$weight:9}",
        "",
        "\u{0}",
        "_s",
        "_z00000000000000000000000000000000",
        "a b",
        "\"'\\",
        "\u{202e}",
        "|",
        "{",
        "}",
    ];
    let arbitrary = proptest::string::string_regex("(?s).{0,60}").expect("a pattern");
    let arbitrary: Vec<String> = (0..30).map(|_| arbitrary.new_tree(&mut runner).expect("text").current()).collect();
    for value in hostile.into_iter().map(str::to_owned).chain(arbitrary).chain(["x".repeat(2000)]) {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        let has = |document: &&Document| {
            let field = &mine.definition.live.schema.fields[0].name;
            document.fields.get(field) == Some(&keyplane_search::domain::Value::Text(value.clone()))
        };
        let expected: BTreeSet<String> =
            mine.documents.iter().filter(has).map(|document| document.id.as_str().to_owned()).collect();
        let equal = mine.parse(&format!("f0 = \"{quoted}\"")).clauses(&layout).all();
        assert_eq!(mine.ids(&equal).await, expected, "{value:?}");
        let unequal = mine.parse(&format!("f0 != \"{quoted}\" OR f1 : \"{quoted}\"")).clauses(&layout).all();
        let found = mine.ids(&unequal).await;
        assert!(found.is_subset(&mine.all()), "{value:?}: {found:?}");
        assert!(mine.all().difference(&expected).all(|id| found.contains(id)), "{value:?}");
        // Text that isn't quoted is a fault, or a filter within the same bounds.
        if let Ok(filter) = Filter::parse(&format!("f0 = {value}"), &mine.definition.live.schema) {
            let found = mine.ids(&filter.clauses(&layout).all()).await;
            assert!(found.is_subset(&mine.all()), "{value:?}: {found:?}");
        }
    }
    assert_eq!(mine.ids(&Clause::always()).await, mine.all());
    assert!(mine.ids(&Clause::never()).await.is_empty());
}

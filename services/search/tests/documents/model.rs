//! Documents, counters and lexicons against a pure model: several documents of one script, the same id more than once, source
//! versions, expiries, and a second generation.

use std::collections::{BTreeMap, HashMap};

use keyplane_search::domain::{Build, Document, Outcome, Spread, Token, Value, body};
use keyplane_search::store::documents::{PutResult, Removed};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::rig::{Rig, document, field_name, id, schema};

/// Ids: most of them in one partition.
const IDS: usize = 5;
const WORDS: [&str; 4] = ["blue", "red", "sky", "sea"];

/// Document to write.
#[derive(Clone, Debug)]
struct One {
    id: usize,
    words: Vec<usize>,
    tags: Vec<u8>,
    amount: Option<i8>,
    version: Option<i64>,
    expires: Option<i64>,
}

/// Change of documents.
#[derive(Clone, Debug)]
enum Operation {
    Put(Vec<One>),
    Remove {
        id: usize,
        version: Option<i64>,
    },
    /// A second generation, from now on.
    Rebuild,
    /// The operation before, once more.
    Repeat,
}

/// State of the collection, as it must be. Expired documents stay until they are swept.
#[derive(Default)]
struct Model {
    documents: BTreeMap<String, Document>,
    second: Option<BTreeMap<String, Document>>,
    gone: HashMap<String, i64>,
}

/// Changes of the lexicon of each generation.
#[derive(Default)]
struct Terms([BTreeMap<String, i64>; 2]);

/// Past and future of every run, in milliseconds since 1970.
const EXPIRIES: [i64; 2] = [1_000, 32_503_680_000_000];

fn operation() -> impl Strategy<Value = Operation> {
    let version = || proptest::option::weighted(0.4, 0..6i64);
    let expires = proptest::option::weighted(0.3, proptest::sample::select(EXPIRIES.to_vec()));
    let words = vec(0..WORDS.len(), 0..4);
    let one = (0..IDS, words, vec(0..3u8, 0..3), proptest::option::of(-2..2i8), version(), expires)
        .prop_map(|(id, words, tags, amount, version, expires)| One { id, words, tags, amount, version, expires });
    prop_oneof![
        10 => vec(one, 1..6).prop_map(Operation::Put),
        4 => (0..IDS, version()).prop_map(|(id, version)| Operation::Remove { id, version }),
        2 => Just(Operation::Repeat),
        1 => Just(Operation::Rebuild),
    ]
}

/// Ids of the run: all but one in the same partition.
fn ids(rig: &Rig) -> Vec<String> {
    let partition = |name: &String| Spread::new(&rig.definition.name.collection, &id(name)).partition;
    let names =
        |here: bool| (0..).map(|number| format!("d{number}")).filter(move |name| (partition(name) == 3) == here);
    names(true).take(IDS - 1).chain(names(false).take(1)).collect()
}

fn made(ids: &[String], one: &One) -> Document {
    let title: Vec<&str> = one.words.iter().map(|word| WORDS[*word]).collect();
    let mut fields = vec![("title", Value::Text(title.join(" ")))];
    let mut tags: Vec<String> = one.tags.iter().map(|tag| format!("T-{tag}")).collect();
    tags.dedup();
    fields.push(("tags", Value::Tags(tags)));
    fields.extend(one.amount.map(|amount| ("amount", Value::Integer(i64::from(amount)))));
    Document { version: one.version, expires: one.expires, ..document(&ids[one.id], &fields) }
}

impl Model {
    /// Stored document, unless it has expired.
    fn live(&self, id: &str) -> Option<&Document> {
        self.documents.get(id).filter(|stored| stored.expires != Some(EXPIRIES[0]))
    }

    fn put(&mut self, document: &Document) -> Result<Outcome, i64> {
        let id = document.id.as_str().to_owned();
        let known = match self.live(&id) {
            Some(stored) => stored.version,
            None => self.gone.get(&id).copied(),
        };
        if let (Some(version), Some(known)) = (document.version, known)
            && version < known
        {
            return Err(known);
        }
        let outcome = match self.live(&id) {
            None => {
                if document.version.is_some() {
                    self.gone.remove(&id);
                }
                Outcome::Created
            }
            Some(stored) if stored == document => return Ok(Outcome::Unchanged),
            Some(_) => Outcome::Updated,
        };
        self.documents.insert(id.clone(), document.clone());
        if let Some(second) = &mut self.second {
            second.insert(id, document.clone());
        }
        Ok(outcome)
    }

    fn remove(&mut self, id: &str, version: Option<i64>) -> Result<bool, i64> {
        let known = self.live(id).and_then(|stored| stored.version);
        if let (Some(version), Some(known)) = (version, known)
            && version < known
        {
            return Err(known);
        }
        if let Some(version) = version {
            let gone = self.gone.entry(id.to_owned()).or_insert(version);
            *gone = version.max(*gone);
        }
        let existed = self.live(id).is_some();
        self.documents.remove(id);
        if let Some(second) = &mut self.second {
            second.remove(id);
        }
        Ok(existed)
    }
}

impl Terms {
    fn count(&mut self, generation: usize, terms: &str, by: i64) {
        for term in terms.split_whitespace() {
            *self.0[generation].entry(term.to_owned()).or_default() += by;
        }
    }
}

/// Runs an operation on both, and writes the lexicons' changes as the service does.
async fn apply(rig: &mut Rig, model: &mut Model, ids: &[String], operation: &Operation, batch: &str) {
    let mut changes = Terms::default();
    match operation {
        Operation::Put(list) => {
            let documents: Vec<Document> = list.iter().map(|one| made(ids, one)).collect();
            for (document, result) in documents.iter().zip(rig.put(&documents).await) {
                match (result, model.put(document)) {
                    (PutResult::Stored(stored), Ok(outcome)) => {
                        assert_eq!(stored.receipt.outcome, outcome, "{operation:?}");
                        if outcome != Outcome::Unchanged {
                            changes.count(0, &terms(document), 1);
                            changes.count(0, &stored.replaced, -1);
                            changes.count(1, &terms(document), i64::from(model.second.is_some()));
                            changes.count(1, &stored.replaced_second, -1);
                        }
                    }
                    (PutResult::Older { current }, Err(known)) => assert_eq!(current, known),
                    (result, expected) => panic!("{operation:?}: {result:?}, not {expected:?}"),
                }
            }
        }
        Operation::Remove { id, version } => {
            let expected = model.remove(&ids[*id], *version);
            match (rig.remove(&ids[*id], *version, None).await, expected) {
                (Removed::Gone { existed, terms, second }, Ok(expected)) => {
                    assert_eq!(existed, expected, "{operation:?}");
                    changes.count(0, &terms, -1);
                    changes.count(1, &second, -1);
                }
                (Removed::Older { current }, Err(known)) => assert_eq!(current, known),
                (result, expected) => panic!("{operation:?}: {result:?}, not {expected:?}"),
            }
        }
        Operation::Rebuild if model.second.is_none() => {
            rig.second(schema()).await;
            model.second = Some(BTreeMap::new());
        }
        Operation::Rebuild | Operation::Repeat => {}
    }
    for (generation, changes) in [1, 2].into_iter().zip(changes.0) {
        let deltas: Vec<(String, i64)> = changes.into_iter().filter(|(_, by)| *by != 0).collect();
        for _ in 0..2 {
            rig.store.lexicon_update(&rig.definition.name, generation, batch, &deltas).await.expect("changed");
        }
    }
}

fn terms(document: &Document) -> String {
    let live = schema();
    let layout = keyplane_search::domain::Layout::new(&live);
    let collection = keyplane_contracts::names::CollectionId::parse("tasks", "collection").expect("an id");
    keyplane_search::domain::indexed::Indexed::new(&live, &layout, &collection, document).terms
}

async fn compare(rig: &Rig, model: &Model, ids: &[String]) {
    for id in ids {
        let stored = rig.load(id).await.map(|stored| stored.document);
        assert_eq!(stored.as_ref(), model.documents.get(id));
    }
    compare_generation(rig, &rig.definition.live, &model.documents).await;
    if let (Some(build), Some(documents)) = (rig.definition.second(), &model.second) {
        compare_generation(rig, build, documents).await;
    }
}

async fn compare_generation(rig: &Rig, build: &Build, documents: &BTreeMap<String, Document>) {
    let generation = build.generation.number;
    let counters = rig.store.counters(&rig.definition.name, generation).await.expect("counters");
    let documents = || documents.values();
    assert_eq!(counters.documents, documents().count() as u64);
    assert_eq!(counters.bytes, documents().map(|document| body::write(document).len() as u64).sum::<u64>());
    let totals = rig.store.totals(&rig.definition.name, generation, 1).await.expect("sums");
    let sums = (counters.documents, counters.bytes, counters.text_bytes);
    assert_eq!((totals.documents, totals.bytes, totals.text_bytes), sums);
    let mut values: HashMap<u8, HashMap<String, u64>> = HashMap::new();
    for document in documents() {
        *values.entry(0).or_default().entry(Token::missing().as_str().to_owned()).or_default() += 1;
        let Some(Value::Tags(tags)) = document.fields.get(&field_name("tags")) else {
            panic!("every document of this test has tags")
        };
        let mut tokens: Vec<String> = tags.iter().map(|tag| Token::new(tag).as_str().to_owned()).collect();
        tokens.sort();
        tokens.dedup();
        if tokens.is_empty() {
            tokens.push(Token::missing().as_str().to_owned());
        }
        for token in tokens {
            *values.entry(1).or_default().entry(token).or_default() += 1;
        }
    }
    assert_eq!(counters.values, Some(values));
    let numbers = documents().filter(|document| document.fields.contains_key(&field_name("amount"))).count() as u64;
    assert_eq!(counters.present.get(&0).copied().unwrap_or(0), numbers);

    let mut lexicon: BTreeMap<String, u32> = BTreeMap::new();
    for document in documents() {
        for term in terms(document).split_whitespace() {
            *lexicon.entry(term.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(rig.lexicon(generation).await, lexicon);
    for word in WORDS {
        let has = |document: &&Document| terms(document).split_whitespace().any(|term| term == word);
        let expected: Vec<&str> = documents().filter(has).map(|document| document.id.as_str()).collect();
        assert_eq!(rig.ids(build, &[word]).await, expected);
    }
}

#[tokio::test]
async fn documents_counters_and_lexicons_follow_the_model() {
    let mut runner = TestRunner::default();
    for _ in 0..12 {
        let operations = vec(operation(), 1..30).new_tree(&mut runner).expect("a value").current();
        let (mut rig, mut model) = (Rig::start().await, Model::default());
        let ids = ids(&rig);
        let mut last = None;
        for (number, operation) in operations.iter().enumerate() {
            let operation = match (operation, &last) {
                (Operation::Repeat, Some(last)) => last,
                (operation, _) => operation,
            }
            .clone();
            apply(&mut rig, &mut model, &ids, &operation, &number.to_string()).await;
            last = Some(operation);
        }
        compare(&rig, &model, &ids).await;
    }
}

//! Documents, counters and lexicon against a pure model.

use std::collections::{BTreeMap, HashMap};

use keyplane_search::domain::{Document, Outcome, Token, Value, body};
use keyplane_search::store::documents::{PutResult, Removed};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::rig::{Rig, document};

const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];
const WORDS: [&str; 4] = ["blue", "red", "sky", "sea"];

/// Change of one document.
#[derive(Clone, Debug)]
enum Operation {
    Put {
        id: usize,
        words: Vec<usize>,
        tags: Vec<u8>,
        amount: Option<i8>,
        version: Option<i64>,
    },
    Remove {
        id: usize,
        version: Option<i64>,
    },
    /// The operation before, once more.
    Repeat,
}

/// State of the collection, as it must be.
#[derive(Default)]
struct Model {
    documents: BTreeMap<String, Document>,
    gone: HashMap<String, i64>,
}

fn operation() -> impl Strategy<Value = Operation> {
    let version = || proptest::option::weighted(0.4, 0..6i64);
    let put = (0..IDS.len(), vec(0..WORDS.len(), 0..4), vec(0..3u8, 0..3), proptest::option::of(-2..2i8), version());
    prop_oneof![
        5 => put.prop_map(|(id, words, tags, amount, version)| Operation::Put { id, words, tags, amount, version }),
        2 => (0..IDS.len(), version()).prop_map(|(id, version)| Operation::Remove { id, version }),
        1 => Just(Operation::Repeat),
    ]
}

fn made(id: usize, words: &[usize], tags: &[u8], amount: Option<i8>, version: Option<i64>) -> Document {
    let title: Vec<&str> = words.iter().map(|word| WORDS[*word]).collect();
    let mut fields = vec![("title", Value::Text(title.join(" ")))];
    let mut tags: Vec<String> = tags.iter().map(|tag| format!("T-{tag}")).collect();
    tags.dedup();
    fields.push(("tags", Value::Tags(tags)));
    fields.extend(amount.map(|amount| ("amount", Value::Integer(i64::from(amount)))));
    Document { version, ..document(IDS[id], &fields) }
}

impl Model {
    fn put(&mut self, document: &Document) -> Result<Outcome, i64> {
        let id = document.id.as_str().to_owned();
        let known = match self.documents.get(&id) {
            Some(stored) => stored.version,
            None => self.gone.get(&id).copied(),
        };
        if let (Some(version), Some(known)) = (document.version, known)
            && version < known
        {
            return Err(known);
        }
        let outcome = match self.documents.get(&id) {
            None => {
                if document.version.is_some() {
                    self.gone.remove(&id);
                }
                Outcome::Created
            }
            Some(stored) if stored == document => Outcome::Unchanged,
            Some(_) => Outcome::Updated,
        };
        self.documents.insert(id, document.clone());
        Ok(outcome)
    }

    fn remove(&mut self, id: &str, version: Option<i64>) -> Result<bool, i64> {
        let known = self.documents.get(id).and_then(|stored| stored.version);
        if let (Some(version), Some(known)) = (version, known)
            && version < known
        {
            return Err(known);
        }
        if let Some(version) = version {
            let gone = self.gone.entry(id.to_owned()).or_insert(version);
            *gone = version.max(*gone);
        }
        Ok(self.documents.remove(id).is_some())
    }
}

/// Runs an operation on both, and writes the lexicon's changes as the service does.
async fn apply(rig: &Rig, model: &mut Model, operation: &Operation, batch: &str) {
    let mut changes: BTreeMap<String, i64> = BTreeMap::new();
    let mut count = |terms: &str, by: i64| {
        for term in terms.split_whitespace() {
            *changes.entry(term.to_owned()).or_default() += by;
        }
    };
    match operation {
        Operation::Put { id, words, tags, amount, version } => {
            let document = made(*id, words, tags, *amount, *version);
            let expected = model.put(&document);
            let result = rig.put(std::slice::from_ref(&document)).await.remove(0);
            match (result, expected) {
                (PutResult::Stored(stored), Ok(outcome)) => {
                    assert_eq!(stored.receipt.outcome, outcome, "{operation:?}");
                    if outcome != Outcome::Unchanged {
                        count(&terms(&document), 1);
                        count(&stored.replaced, -1);
                    }
                }
                (PutResult::Older { current }, Err(known)) => assert_eq!(current, known),
                (result, expected) => panic!("{operation:?}: {result:?}, not {expected:?}"),
            }
        }
        Operation::Remove { id, version } => {
            let expected = model.remove(IDS[*id], *version);
            match (rig.remove(IDS[*id], *version, None).await, expected) {
                (Removed::Gone { existed, terms, .. }, Ok(expected)) => {
                    assert_eq!(existed, expected, "{operation:?}");
                    count(&terms, -1);
                }
                (Removed::Older { current }, Err(known)) => assert_eq!(current, known),
                (result, expected) => panic!("{operation:?}: {result:?}, not {expected:?}"),
            }
        }
        Operation::Repeat => {}
    }
    let deltas: Vec<(String, i64)> = changes.into_iter().filter(|(_, by)| *by != 0).collect();
    for _ in 0..2 {
        rig.store.lexicon_update(&rig.definition.name, 1, batch, &deltas).await.expect("changed");
    }
}

fn terms(document: &Document) -> String {
    let live = super::rig::schema();
    let layout = keyplane_search::domain::Layout::new(&live);
    let collection = keyplane_contracts::names::CollectionId::parse("tasks", "collection").expect("an id");
    keyplane_search::domain::indexed::Indexed::new(&live, &layout, &collection, document).terms
}

async fn compare(rig: &Rig, model: &Model) {
    for id in IDS {
        let stored = rig.load(id).await.map(|stored| stored.document);
        assert_eq!(stored.as_ref(), model.documents.get(id));
    }
    let counters = rig.store.counters(&rig.definition.name, 1).await.expect("counters");
    let documents = || model.documents.values();
    assert_eq!(counters.documents, documents().count() as u64);
    assert_eq!(counters.bytes, documents().map(|document| body::write(document).len() as u64).sum::<u64>());
    let totals = rig.store.totals(&rig.definition.name, 1, 1).await.expect("sums");
    let sums = (counters.documents, counters.bytes, counters.text_bytes);
    assert_eq!((totals.documents, totals.bytes, totals.text_bytes), sums);
    let mut values: HashMap<u8, HashMap<String, u64>> = HashMap::new();
    for document in documents() {
        *values.entry(0).or_default().entry(Token::missing().as_str().to_owned()).or_default() += 1;
        let Some(Value::Tags(tags)) = document.fields.get(&super::rig::field_name("tags")) else {
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
    let numbers =
        documents().filter(|document| document.fields.contains_key(&super::rig::field_name("amount"))).count() as u64;
    assert_eq!(counters.present.get(&0).copied().unwrap_or(0), numbers);

    let mut lexicon: BTreeMap<String, u32> = BTreeMap::new();
    for document in documents() {
        for term in terms(document).split_whitespace() {
            *lexicon.entry(term.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(rig.lexicon(1).await, lexicon);
    for word in WORDS {
        let has = |document: &&Document| terms(document).split_whitespace().any(|term| term == word);
        let expected: Vec<&str> = documents().filter(has).map(|document| document.id.as_str()).collect();
        assert_eq!(rig.ids(&rig.definition.live, &[word]).await, expected);
    }
}

#[tokio::test]
async fn documents_counters_and_lexicon_follow_the_model() {
    let mut runner = TestRunner::default();
    for _ in 0..12 {
        let operations = vec(operation(), 1..30).new_tree(&mut runner).expect("a value").current();
        let (rig, mut model) = (Rig::start().await, Model::default());
        let mut last = None;
        for (number, operation) in operations.iter().enumerate() {
            let operation = match (operation, &last) {
                (Operation::Repeat, Some(last)) => last,
                (operation, _) => operation,
            }
            .clone();
            apply(&rig, &mut model, &operation, &number.to_string()).await;
            last = Some(operation);
        }
        compare(&rig, &model).await;
    }
}

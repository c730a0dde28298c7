//! Lexicons in memory, as they follow the store.

use std::time::{Duration, Instant};

use keyplane_contracts::names::CollectionName;
use keyplane_engine::Valkey as Server;
use keyplane_search::app::lexicons::Lexicons;
use keyplane_search::domain::lexicon::{Expansion, Lexicon, LogId, MAX_EXPANSIONS};
use keyplane_search::error::Error;
use keyplane_search::store::Store;
use keyplane_testkit::{eventually, toolbox};
use keyplane_valkey::{App, Settings, Valkey};

/// Longest wait for what happens within a second or two on an idle machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// Room for every lexicon.
const AMPLE: usize = 64 << 20;

/// Server of one test, whose counters no other test changes.
struct Rig {
    server: Server,
    store: Store,
}

impl Rig {
    async fn start() -> Rig {
        let server = Server::builder(&toolbox()).start().expect("a server");
        let app = App::new("search").expect("a name");
        let valkey = Valkey::connect(&Settings::new(server.url()), app).expect("good settings");
        valkey.wait_ready(Duration::from_secs(20)).await.expect("a server that answers");
        Rig { store: Store::new(valkey), server }
    }

    /// Opens a collection's first generation.
    fn open(&self, collection: &str) -> CollectionName {
        self.command(&["XADD", &log(collection), "*", "init", "1"]);
        CollectionName::parse(&format!("tenants/acme/collections/{collection}"), "name").expect("a name")
    }

    fn command(&self, args: &[&str]) -> keyplane_engine::Reply {
        self.server.command(args).expect("a command that the server takes")
    }

    async fn add(&self, collection: &CollectionName, batch: &str, deltas: &[(&str, i64)]) -> LogId {
        let deltas: Vec<(String, i64)> = deltas.iter().map(|(term, by)| ((*term).to_owned(), *by)).collect();
        let version = self.store.lexicon_update(collection, 1, batch, &deltas).await.expect("an update");
        version.expect("an open generation")
    }

    /// Calls of a command so far.
    fn calls(&self, command: &str) -> u64 {
        let info = self.command(&["INFO", "commandstats"]);
        let text = info.text().expect("a text");
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
    }
}

fn log(collection: &str) -> String {
    format!("search:search:{{acme:lexicon}}:{collection}:1:log")
}

#[tokio::test]
async fn update_is_seen_at_once_with_its_version_and_within_a_second_without() {
    let rig = Rig::start().await;
    let collection = rig.open("tasks");
    rig.add(&collection, "b1", &[("red", 2), ("green", 1)]).await;
    let lexicons = Lexicons::new(rig.store.clone(), AMPLE);
    let first = lexicons.get(&collection, 1, None).await.expect("a lexicon");
    assert_eq!((first.frequency("red"), first.frequency("blue")), (2, 0));

    let version = rig.add(&collection, "b2", &[("red", -2), ("blue", 5)]).await;
    let second = lexicons.get(&collection, 1, Some(version)).await.expect("a lexicon");
    assert_eq!((second.frequency("red"), second.frequency("blue"), second.terms()), (0, 5, 2));
    assert_eq!(first.frequency("red"), 2, "a search goes on with the lexicon that it began with");
    assert_eq!(rig.calls("hscan"), 1, "changes come from the log");

    rig.add(&collection, "b3", &[("blue", 1)]).await;
    eventually("the change is seen without its version", PATIENCE, async || {
        lexicons.get(&collection, 1, None).await.is_ok_and(|lexicon| lexicon.frequency("blue") == 6)
    })
    .await;
}

#[tokio::test]
async fn version_that_the_log_lacks_is_not_visible() {
    let rig = Rig::start().await;
    let collection = rig.open("tasks");
    let version = rig.add(&collection, "b1", &[("red", 1)]).await;
    let lexicons = Lexicons::new(rig.store.clone(), AMPLE);
    let later = LogId { ms: version.ms + 3_600_000, seq: 0 };
    let outcome = lexicons.get(&collection, 1, Some(later)).await;
    assert!(matches!(outcome, Err(Error::NotVisible)), "{outcome:?}");
    let unopened = CollectionName::parse("tenants/acme/collections/none", "name").expect("a name");
    let outcome = lexicons.get(&unopened, 1, None).await;
    assert!(matches!(outcome, Err(Error::IndexNotReady { .. })), "{outcome:?}");
}

#[tokio::test]
async fn lexicon_is_loaded_anew_when_its_log_was_trimmed() {
    let rig = Rig::start().await;
    let collection = rig.open("tasks");
    rig.add(&collection, "b1", &[("red", 1)]).await;
    let lexicons = Lexicons::new(rig.store.clone(), AMPLE);
    lexicons.get(&collection, 1, None).await.expect("a lexicon");
    rig.add(&collection, "b2", &[("green", 1)]).await;
    let version = rig.add(&collection, "b3", &[("blue", 1)]).await;
    rig.command(&["XTRIM", &log("tasks"), "MAXLEN", "1"]);
    let lexicon = lexicons.get(&collection, 1, Some(version)).await.expect("a lexicon");
    assert_eq!((lexicon.frequency("green"), lexicon.frequency("blue")), (1, 1));
    assert_eq!(rig.calls("hscan"), 2);
}

#[tokio::test]
async fn searches_at_the_same_time_load_once() {
    let rig = Rig::start().await;
    let collection = rig.open("tasks");
    rig.add(&collection, "b1", &[("red", 1)]).await;
    let lexicons = Lexicons::new(rig.store.clone(), AMPLE);
    let searches: Vec<_> = (0..32)
        .map(|_| {
            let (lexicons, collection) = (lexicons.clone(), collection.clone());
            tokio::spawn(async move { lexicons.get(&collection, 1, None).await.expect("a lexicon").frequency("red") })
        })
        .collect();
    for search in searches {
        assert_eq!(search.await.expect("a search"), 1);
    }
    assert_eq!(rig.calls("hscan"), 1);
}

#[tokio::test]
async fn search_that_gives_up_leaves_the_load_to_others() {
    let rig = Rig::start().await;
    let collection = rig.open("tasks");
    rig.add(&collection, "b1", &[("red", 1)]).await;
    let lexicons = Lexicons::new(rig.store.clone(), AMPLE);
    assert!(tokio::time::timeout(Duration::ZERO, lexicons.get(&collection, 1, None)).await.is_err());
    assert_eq!(lexicons.get(&collection, 1, None).await.expect("a lexicon").frequency("red"), 1);
    assert_eq!(rig.calls("hscan"), 1);
}

#[tokio::test]
async fn lexicon_that_was_not_used_for_longest_is_evicted() {
    let rig = Rig::start().await;
    let (one, other) = (rig.open("one"), rig.open("other"));
    for collection in [&one, &other] {
        rig.add(collection, "b1", &[("red", 1), ("green", 1)]).await;
    }
    let lexicons = Lexicons::new(rig.store.clone(), 1);
    lexicons.get(&one, 1, None).await.expect("a lexicon");
    let alone = lexicons.bytes();
    lexicons.get(&other, 1, None).await.expect("a lexicon");
    assert_eq!(lexicons.bytes(), alone, "two of one size don't stay together");
    assert_eq!(lexicons.get(&one, 1, None).await.expect("a lexicon").frequency("green"), 1);
    assert_eq!(rig.calls("hscan"), 3);
}

#[tokio::test]
async fn changes_during_a_merge_are_kept() {
    let rig = Rig::start().await;
    let collection = rig.open("tasks");
    rig.add(&collection, "b0", &[("term-0", 1)]).await;
    let lexicons = Lexicons::new(rig.store.clone(), AMPLE);
    lexicons.get(&collection, 1, None).await.expect("a lexicon");
    let mut version = LogId::default();
    for batch in 0..12 {
        let terms: Vec<String> = (0..400).map(|term| format!("term-{}", batch * 300 + term)).collect();
        let deltas: Vec<(&str, i64)> = terms.iter().map(|term| (term.as_str(), 1)).collect();
        version = rig.add(&collection, &format!("b{batch}-more"), &deltas).await;
        let lexicon = lexicons.get(&collection, 1, Some(version)).await.expect("a lexicon");
        assert!(terms.iter().all(|term| lexicon.frequency(term) > 0));
    }
    eventually("the overlay is merged", PATIENCE, async || {
        lexicons.get(&collection, 1, None).await.is_ok_and(|lexicon| !lexicon.is_heavy())
    })
    .await;
    let lexicon = lexicons.get(&collection, 1, Some(version)).await.expect("a lexicon");
    let frequencies: Vec<u32> =
        [0, 299, 300, 399, 3_699].iter().map(|at| lexicon.frequency(&format!("term-{at}"))).collect();
    assert_eq!((frequencies, lexicon.terms()), (vec![2, 1, 2, 2, 1], 3_700));
}

#[test]
fn expansions_of_half_a_million_similar_terms_are_bounded() {
    let term = |number: u32| (0..8).map(move |at| char::from_digit(number >> (3 * at) & 7, 8).unwrap_or('0'));
    let letters = |number| term(number).map(|digit| char::from(digit as u8 - b'0' + b'a'));
    let terms = (0..500_000).map(|number| (std::iter::once('a').chain(letters(number)).collect(), number % 1_000 + 1));
    let lexicon = Lexicon::build(terms.collect(), LogId::default());
    let fastest = |expand: &dyn Fn() -> Vec<Expansion>| {
        let took = (0..20).map(|_| {
            let start = Instant::now();
            assert!(!expand().is_empty());
            start.elapsed()
        });
        took.min().expect("20 runs")
    };
    // Many times what a release build takes: the debug build of a busy machine must pass, and a scan of all terms must not.
    let limit = Duration::from_millis(30);
    assert!(fastest(&|| lexicon.prefixes("a", MAX_EXPANSIONS)) < limit);
    assert!(fastest(&|| lexicon.typos("aabcdabcd", MAX_EXPANSIONS)) < limit * 4);
    assert!(fastest(&|| lexicon.prefix_typos("abcdefghi", MAX_EXPANSIONS)) < limit * 4);
}

//! Recall over memories in a real store, with vectors that the test sends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use keyplane_agent_memory::app::capacity::{Capacity, Limits};
use keyplane_agent_memory::app::figures::Figures;
use keyplane_agent_memory::app::recall::{Asked, Recall};
use keyplane_agent_memory::app::remember::Remember;
use keyplane_agent_memory::domain::recall::{Candidates, RecallRequest, Recalled};
use keyplane_agent_memory::domain::sketch::normalize;
use keyplane_agent_memory::domain::write::{Filter, NewMemory, Remembered};
use keyplane_agent_memory::domain::{Draft, DraftPiece, Embedding, Kind, MemoryId, Owner, Scope, Space, SpaceId};
use keyplane_agent_memory::error::Error;
use keyplane_agent_memory::store::Store;
use keyplane_contracts::names::{Id, TenantId};
use keyplane_valkey::{App, Settings, Valkey};

const DIMENSION: usize = 32;
const DAY: i64 = 86_400_000;

/// Service's use cases, without its face.
struct Rig {
    store: Store,
    remember: Remember,
    recall: Recall,
    capacity: Capacity,
}

impl Rig {
    /// Owners of more than `whole` items give candidates alone.
    async fn start(whole: u64) -> Rig {
        let server = keyplane_testkit::search_engine();
        let app = App::new(&keyplane_testkit::app()).expect("a name");
        let valkey = Valkey::connect(&Settings::new(server.url()), app).expect("good settings");
        valkey.wait_ready(Duration::from_secs(20)).await.expect("a server that answers");
        let store = Store::new(valkey);
        let limits = Limits { memories: 10_000, whole, ttl: Duration::from_hours(24) };
        let capacity = Capacity::new(store.clone(), &[space()], limits.clone(), Figures::default());
        let remember = Remember::new(store.clone(), capacity.clone(), limits);
        Rig { store: store.clone(), remember, recall: Recall::new(store, Arc::new(count)), capacity }
    }

    async fn remember(&self, scope: &Scope, memories: Vec<NewMemory>) -> Vec<Remembered> {
        let drafts = memories.into_iter().map(|memory| Ok(draft(memory))).collect();
        let written = self.remember.write(scope, drafts).await.expect("a write");
        written.into_iter().map(|result| result.expect("a memory")).collect()
    }

    async fn texts(&self, scope: &Scope, texts: &[&str]) -> Vec<MemoryId> {
        let memories = texts.iter().map(|text| memory(text)).collect();
        self.remember(scope, memories).await.into_iter().map(|written| written.id).collect()
    }

    async fn ask(&self, request: &RecallRequest) -> Recalled {
        let asked = Asked::with_vector(space(), &vector(&request.query)).expect("a vector");
        self.recall.recall(request, &asked).await.expect("a recall")
    }
}

fn id(text: &str) -> Option<Id> {
    Id::parse(text, "id").ok()
}

fn scope(user: &str, session: &str) -> Scope {
    let tenant = TenantId::parse("acme", "tenant").expect("a tenant");
    Scope { owner: Owner { tenant, user: id(user) }, agent: None, workflow: None, session: id(session) }
}

/// Words stand for tokens.
fn count(text: &str) -> u32 {
    u32::try_from(text.split_whitespace().count()).expect("a short text")
}

fn space() -> Space {
    let id = SpaceId::parse("tests").expect("an id");
    Space { id, dimension: DIMENSION as u16, threshold: 1.0, ..Space::minilm() }
}

/// Draft of a memory, as the embedder would prepare it.
fn draft(memory: NewMemory) -> Draft {
    let tokens = count(&memory.text);
    let vector = normalize(&vector(&memory.text)).expect("a direction");
    let embedding = Embedding { vector, sketch: None, tokens };
    let piece = DraftPiece { piece: None, tokens, embedding: Some(embedding) };
    Draft { memory, tokens, space: Some(space()), pieces: vec![piece] }
}

/// Vector of a text: its words, each on the dimension that its letters choose.
fn vector(text: &str) -> Vec<f32> {
    let mut values = vec![0.01; DIMENSION];
    for word in text.split_whitespace() {
        let sum: usize = word.bytes().map(usize::from).sum();
        values[sum % DIMENSION] += 1.0;
    }
    values
}

fn memory(text: &str) -> NewMemory {
    NewMemory {
        kind: Kind::Semantic,
        text: text.to_owned(),
        speaker: CompactString::default(),
        subject: CompactString::default(),
        topics: Vec::new(),
        entities: Vec::new(),
        tags: Vec::new(),
        metadata: BTreeMap::new(),
        importance: 0.5,
        pinned: false,
        event_time: None,
        valid_from: None,
        valid_until: None,
        expires: None,
        reference: String::new(),
        derived_from: Vec::new(),
        vector: None,
    }
}

fn request(scope: &Scope, query: &str) -> RecallRequest {
    RecallRequest {
        scope: scope.clone(),
        query: query.to_owned(),
        vector: None,
        space: None,
        filter: Filter::default(),
        max_tokens: 200,
        max_memories: 50,
        min_score: None,
        as_of: None,
        shared: true,
        touch: true,
        explain: true,
    }
}

fn found(recalled: &Recalled) -> Vec<&str> {
    recalled.memories.iter().map(|found| found.memory.text.as_str()).collect()
}

#[tokio::test]
async fn best_memories_within_the_budget_are_rendered() {
    let rig = Rig::start(2_000).await;
    let scope = scope("u1", "");
    let lines = [
        "Ann keeps bees on the roof",
        "The rent is due on Monday",
        "Bees need sugar in winter",
        "Tea is in the cupboard",
    ];
    rig.texts(&scope, &lines).await;
    let recalled = rig.ask(&RecallRequest { max_tokens: 20, ..request(&scope, "bees on the roof") }).await;
    assert_eq!(found(&recalled)[0], lines[0]);
    assert!(recalled.text.contains(lines[0]) && recalled.tokens <= 20, "{recalled:?}");
    assert!(recalled.memories.len() < lines.len());
    assert_eq!(recalled.tokens, count(&recalled.text));
    let none = rig.ask(&RecallRequest { max_tokens: 1, ..request(&scope, "bees") }).await;
    assert_eq!((none.memories.len(), none.text.as_str(), none.tokens), (0, "", 0));
}

#[tokio::test]
async fn terms_of_the_score_are_explained() {
    let rig = Rig::start(2_000).await;
    let scope = scope("u1", "");
    rig.texts(&scope, &["Ann keeps bees", "Tea is hot"]).await;
    let recalled = rig.ask(&request(&scope, "bees")).await;
    assert_eq!(recalled.plan.as_ref().map(|plan| plan.candidates), Some(Candidates::WholeScope));
    assert_eq!(recalled.scored, 2);
    for found in &recalled.memories {
        let sum: f32 = found.terms.iter().map(|term| term.value).sum();
        assert!((sum - found.score).abs() < 1e-4, "{found:?}");
    }
    let bare = rig.ask(&RecallRequest { explain: false, ..request(&scope, "bees") }).await;
    assert!(bare.plan.is_none() && bare.memories.iter().all(|found| found.terms.is_empty()));
}

#[tokio::test]
async fn user_recalls_own_and_shared_memories_and_nobody_elses() {
    let rig = Rig::start(2_000).await;
    rig.texts(&scope("user1", ""), &["one has a canary"]).await;
    rig.texts(&scope("user10", ""), &["ten has a canary"]).await;
    rig.texts(&scope("", ""), &["all have a canary"]).await;
    let asked = request(&scope("user1", ""), "canary");
    let mut both = rig.ask(&asked).await;
    both.memories.sort_by(|a, b| a.memory.text.cmp(&b.memory.text));
    assert_eq!(found(&both), ["all have a canary", "one has a canary"]);
    assert_eq!(found(&rig.ask(&RecallRequest { shared: false, ..asked }).await), ["one has a canary"]);
    assert_eq!(found(&rig.ask(&request(&scope("", ""), "canary")).await), ["all have a canary"]);
}

#[tokio::test]
async fn session_is_recalled_alone_if_it_is_named() {
    let rig = Rig::start(2_000).await;
    rig.texts(&scope("u1", "s1"), &["blue kite"]).await;
    rig.texts(&scope("u1", "s2"), &["red kite"]).await;
    assert_eq!(found(&rig.ask(&request(&scope("u1", "s2"), "kite")).await), ["red kite"]);
    assert_eq!(rig.ask(&request(&scope("u1", ""), "kite")).await.memories.len(), 2);
}

#[tokio::test]
async fn superseded_fact_is_recalled_for_its_own_time_alone() {
    let rig = Rig::start(2_000).await;
    let scope = scope("u1", "");
    let fact = |text: &str, from: i64| NewMemory {
        subject: CompactString::new("home"),
        event_time: Some(from),
        valid_from: Some(from),
        ..memory(text)
    };
    rig.remember(&scope, vec![fact("home is in Oslo", 10 * DAY)]).await;
    rig.remember(&scope, vec![fact("home is in Rome", 20 * DAY)]).await;
    assert_eq!(found(&rig.ask(&request(&scope, "home")).await), ["home is in Rome"]);
    let then = rig.ask(&RecallRequest { as_of: Some(15 * DAY), ..request(&scope, "home") }).await;
    assert_eq!(found(&then), ["home is in Oslo"]);
    let before = rig.ask(&RecallRequest { as_of: Some(5 * DAY), ..request(&scope, "home") }).await;
    assert!(before.memories.is_empty());
}

#[tokio::test]
async fn topics_and_tags_filter_what_is_recalled() {
    let rig = Rig::start(2_000).await;
    let scope = scope("u1", "");
    let tagged = |text: &str, topic: &str| NewMemory { topics: vec![CompactString::new(topic)], ..memory(text) };
    rig.remember(&scope, vec![tagged("bees sleep", "animals"), tagged("bees wax", "goods"), memory("bees fly")]).await;
    let filter = Filter { topics: vec![CompactString::new("goods")], ..Filter::default() };
    assert_eq!(found(&rig.ask(&RecallRequest { filter, ..request(&scope, "bees") }).await), ["bees wax"]);
}

#[tokio::test]
async fn use_is_counted_and_a_recalled_text_is_not_remembered_again() {
    let rig = Rig::start(2_000).await;
    let scope = scope("u1", "");
    let ids = rig.texts(&scope, &["bees sleep in winter"]).await;
    rig.ask(&RecallRequest { touch: false, ..request(&scope, "bees") }).await;
    let uses = async || {
        rig.store.load(&scope.owner.tenant, &ids).await.expect("a memory")[0].clone().map(|it| it.memory.access_count)
    };
    assert_eq!(uses().await, Some(0));
    let text = rig.ask(&request(&scope, "bees")).await.text;
    rig.ask(&request(&scope, "bees")).await;
    assert_eq!(uses().await, Some(1), "once in 15 minutes");
    let again = rig.remember.write(&scope, vec![Ok(draft(memory(&text)))]).await.expect("a write");
    assert!(matches!(again[0], Err(Error::RecalledText)), "{again:?}");
}

#[tokio::test]
async fn question_without_a_vector_is_ranked_by_words() {
    let rig = Rig::start(2_000).await;
    let scope = scope("u1", "");
    rig.texts(&scope, &["tea is hot", "Ann keeps bees", "rain all week"]).await;
    let recalled = rig.recall.recall(&request(&scope, "bee"), &Asked::in_words()).await.expect("a recall");
    assert_eq!(found(&recalled)[0], "Ann keeps bees");
    assert!(recalled.memories[0].terms.iter().all(|term| term.name != "cosine" || term.value == 0.0));
}

#[tokio::test]
async fn large_owner_answers_from_candidates_as_from_the_whole() {
    let rig = Rig::start(50).await;
    let (scope, small) = (scope("u1", ""), scope("u2", ""));
    let texts: Vec<String> = (0..60).map(|n| format!("note {n} on topic{} and item{}", n % 7, n % 11)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    rig.texts(&scope, &texts).await;
    rig.texts(&small, &texts[..40]).await;
    rig.capacity.build(&scope.owner, 0).await.expect("a build");
    assert!(rig.store.directory(&scope.owner).await.expect("a directory").large);
    let asked = RecallRequest { max_memories: 3, ..request(&scope, "note 17 on topic3") };
    let recalled = rig.ask(&asked).await;
    assert_eq!(recalled.plan.as_ref().map(|plan| plan.candidates), Some(Candidates::Nearest));
    assert_eq!(found(&recalled)[0], texts[17]);
    let whole = rig.ask(&RecallRequest { scope: small, ..asked }).await;
    assert_eq!(whole.plan.as_ref().map(|plan| plan.candidates), Some(Candidates::WholeScope));
    assert_eq!(found(&whole)[0], texts[17]);
}

//! Drafts: what is split, counted, embedded and cached before a memory is written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keyplane_agent_memory::app::embed::Embed;
use keyplane_agent_memory::domain::{Draft, Kind, NewMemory, Owner, Scope, Space, SpaceId, TokenCounter};
use keyplane_agent_memory::error::Error;
use keyplane_agent_memory::peers::embed::{Declaration, Embedder, Purpose, Source};
use keyplane_agent_memory::store::{Embeddings, TextHash};
use keyplane_contracts::names::{Id, TenantId};
use keyplane_engine::{Tool, Toolbox};
use keyplane_valkey::{App, Feature, Settings, Ttl, Valkey};

const LIMIT: Duration = Duration::from_secs(60);

fn scope() -> Scope {
    let owner = Owner {
        tenant: TenantId::parse("acme", "tenant").expect("a tenant"),
        user: Some(Id::parse("ada", "user").expect("an id")),
    };
    Scope { owner, agent: None, workflow: None, session: None }
}

fn memory(text: &str, vector: Option<Vec<f32>>) -> NewMemory {
    NewMemory {
        kind: Kind::Semantic,
        text: text.to_owned(),
        speaker: "Ada".into(),
        subject: "".into(),
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
        vector,
    }
}

fn counter() -> TokenCounter {
    TokenCounter::parse("o200k").expect("a counter")
}

/// Embeds in the built-in space.
fn local(cache: Option<Embeddings>) -> Embed {
    let toolbox = Toolbox::find();
    toolbox.ensure(&[Tool::MiniLm]).expect("the model is fetched");
    let folder = toolbox.path(Tool::MiniLm).expect("the model's folder");
    Embed::new(Arc::new(Embedder::local(&folder, 2, LIMIT).expect("the model opens")), cache, counter())
}

/// Takes vectors of callers, of two dimensions.
fn callers() -> Embed {
    let space = Space { id: SpaceId::parse("own").expect("a space"), dimension: 2, ..Space::minilm() };
    let declarations = [Declaration { space, source: Source::Callers }];
    Embed::new(Arc::new(Embedder::open(&declarations, 1, LIMIT).expect("nothing to open")), None, counter())
}

async fn prepare(embed: &Embed, memories: Vec<NewMemory>) -> Vec<Result<Draft, Error>> {
    embed.prepare(&scope(), None, memories).await.expect("the space is declared")
}

#[tokio::test]
async fn long_text_is_split_and_each_piece_is_embedded_with_its_speaker() {
    let text = "The gateway was restarted after the outage, and all sessions came back. ".repeat(20);
    let embed = local(None);
    let drafts = prepare(&embed, vec![memory("A short text.", None), memory(&text, None)]).await;
    let [Ok(short), Ok(long)] = drafts.as_slice() else { panic!("{drafts:?}") };
    assert_eq!((short.pieces.len(), short.pieces[0].piece, short.tokens), (1, None, counter().count("A short text.")));
    assert!(long.pieces.len() > 1 && long.pieces.iter().all(|piece| piece.tokens <= 100));
    assert!(long.pieces.iter().all(|piece| piece.piece.is_some_and(|piece| piece.slice(&text).ends_with('.'))));
    assert_eq!(long.space.as_ref(), Some(&Space::minilm()));
    let spoken = ["Ada: A short text.".to_owned()];
    let owner = scope().owner;
    let expected = embed.texts(&owner, &Space::minilm().id, Purpose::Passage, &spoken).await.unwrap().remove(0);
    let found = short.pieces[0].embedding.as_ref().unwrap();
    let cosine: f32 = found.vector.iter().zip(&expected.vector).map(|(one, other)| one * other).sum();
    assert!(cosine > 0.9999, "{cosine}");
    assert!(long.pieces.iter().all(|piece| piece.embedding.as_ref().is_some_and(|found| found.sketch.is_some())));
}

#[tokio::test]
async fn vectors_of_callers_are_normalised_and_checked_one_by_one() {
    let vectors = [Some(vec![3.0, 4.0]), None, Some(vec![1.0]), Some(vec![0.0, 0.0])];
    let drafts = prepare(&callers(), vectors.map(|vector| memory("text", vector)).to_vec()).await;
    let embedding = drafts[0].as_ref().unwrap().pieces[0].embedding.as_ref().unwrap();
    assert_eq!((embedding.vector.as_slice(), embedding.sketch.as_ref()), ([0.6, 0.8].as_slice(), None));
    assert!(matches!(&drafts[1], Err(Error::VectorRequired { space }) if space.as_str() == "own"));
    for (index, rule) in [(2, "2 values"), (3, "direction")] {
        let Err(Error::Invalid(violations)) = &drafts[index] else { panic!("{:?}", drafts[index]) };
        assert_eq!(violations[0].field, format!("memories[{index}].vector"));
        assert!(violations[0].description.contains(rule), "{}", violations[0].description);
    }
}

#[tokio::test]
async fn without_a_space_texts_are_written_and_vectors_are_not() {
    let embedder = Embedder::open(&[], 1, LIMIT).expect("nothing to open");
    let embed = Embed::new(Arc::new(embedder), None, counter());
    let drafts = prepare(&embed, vec![memory("text", None), memory("text", Some(vec![1.0]))]).await;
    let draft = drafts[0].as_ref().unwrap();
    assert_eq!((&draft.space, &draft.pieces[0].embedding), (&None, &None));
    assert!(matches!(&drafts[1], Err(Error::UnknownSpace { space }) if space == "default"));
    let unknown = SpaceId::parse("other").expect("a space");
    let error = embed.prepare(&scope(), Some(&unknown), Vec::new()).await.unwrap_err();
    assert!(matches!(error, Error::UnknownSpace { space } if space == "other"));
}

#[tokio::test]
async fn embedded_text_is_cached_for_its_owner() {
    let app = App::new(&keyplane_testkit::app()).expect("an app");
    let valkey = Valkey::connect(&Settings::new(keyplane_testkit::valkey().url()), app).expect("settings");
    valkey.wait_ready(LIMIT).await.expect("the store answers");
    let cache = Embeddings::new(valkey, Ttl::new(Feature::MEMORY, LIMIT).expect("a TTL"), 10);
    let (embed, owner, space) = (local(Some(cache.clone())), scope().owner, Space::minilm());
    let embedding = embed.query(&owner, &space.id, "Who restarted the gateway?").await.unwrap();
    let hash = [TextHash::new(&space, "", "Who restarted the gateway?")];
    assert_eq!(cache.get(&owner, &space, &hash).await.unwrap(), [Some(embedding.clone())]);
    // Only the cache can answer with another vector than the model's.
    let planted = keyplane_agent_memory::domain::Embedding { tokens: 99, ..embedding };
    cache.put(&owner, &[(hash[0].clone(), &planted)]).await.unwrap();
    assert_eq!(embed.query(&owner, &space.id, "Who restarted the gateway?").await.unwrap(), planted);
}

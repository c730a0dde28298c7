//! Cache of embeddings, and record of the spaces, on a real store.

use std::time::Duration;

use keyplane_agent_memory::domain::{Embedding, Owner, Sketch, Space};
use keyplane_agent_memory::store::{Embeddings, Store, TextHash};
use keyplane_contracts::names::{Id, TenantId};
use keyplane_valkey::{App, ErrorKind, Feature, Settings, Ttl, Valkey};

async fn valkey() -> Valkey {
    let app = App::new(&keyplane_testkit::app()).expect("an app");
    let valkey = Valkey::connect(&Settings::new(keyplane_testkit::valkey().url()), app).expect("settings");
    valkey.wait_ready(Duration::from_secs(20)).await.expect("the store answers");
    valkey
}

fn cache(valkey: Valkey, most: u32) -> Embeddings {
    Embeddings::new(valkey, Ttl::new(Feature::MEMORY, Duration::from_secs(60)).expect("a TTL"), most)
}

fn owner(tenant: &str, user: Option<&str>) -> Owner {
    let tenant = TenantId::parse(tenant, "tenant").expect("a tenant");
    Owner { tenant, user: user.map(|user| Id::parse(user, "user").expect("an id")) }
}

fn embedding(seed: u16) -> Embedding {
    let mut vector = vec![0.0; 384];
    vector[usize::from(seed)] = 1.0;
    Embedding { vector, sketch: Some(Sketch { pieces: vec![seed], bits: vec![7; 6] }), tokens: 3 }
}

fn hashes(space: &Space, count: u16) -> Vec<TextHash> {
    (0..count).map(|number| TextHash::new(space, "", &number.to_string())).collect()
}

async fn put(cache: &Embeddings, owner: &Owner, hashes: &[TextHash]) {
    let embeddings: Vec<Embedding> = (0..).take(hashes.len()).map(embedding).collect();
    let entries: Vec<_> = hashes.iter().cloned().zip(&embeddings).collect();
    cache.put(owner, &entries).await.expect("the entries are cached");
}

#[tokio::test]
async fn embeddings_are_found_by_owner_space_prefix_and_text() {
    let (cache, space) = (cache(valkey().await, 10), Space::minilm());
    let ada = owner("acme", Some("ada"));
    let hash = hashes(&space, 1);
    put(&cache, &ada, &hash).await;
    assert_eq!(cache.get(&ada, &space, &hash).await.unwrap(), [Some(embedding(0))]);
    for other in [owner("acme", None), owner("acme", Some("ada2")), owner("acme2", Some("ada"))] {
        assert_eq!(cache.get(&other, &space, &hash).await.unwrap(), [None]);
    }
    let other = [TextHash::new(&space, "query: ", "0"), TextHash::new(&space, "", "1")];
    assert_eq!(cache.get(&ada, &space, &other).await.unwrap(), [None, None]);
    let grown = Space { dimension: 768, ..space };
    assert_eq!(cache.get(&ada, &grown, &hash).await.unwrap(), [None], "another dimension counts as absent");
}

#[tokio::test]
async fn cache_keeps_at_most_its_maximum() {
    let (cache, space) = (cache(valkey().await, 10), Space::minilm());
    let ada = owner("acme", Some("ada"));
    let hashes = hashes(&space, 250);
    put(&cache, &ada, &hashes).await;
    let kept = cache.get(&ada, &space, &hashes).await.unwrap();
    assert_eq!(kept.iter().flatten().count(), 10);
    assert!((0..).zip(&kept).all(|(seed, kept)| kept.as_ref().is_none_or(|kept| *kept == embedding(seed))));
}

#[tokio::test]
async fn forgotten_owner_has_no_embedding() {
    let (cache, space) = (cache(valkey().await, 10), Space::minilm());
    let (ada, bob) = (owner("acme", Some("ada")), owner("acme", Some("bob")));
    let hashes = hashes(&space, 3);
    put(&cache, &ada, &hashes).await;
    put(&cache, &bob, &hashes).await;
    assert_eq!(cache.forget(&ada).await.unwrap(), 3);
    assert_eq!(cache.forget(&ada).await.unwrap(), 0);
    assert_eq!(cache.get(&ada, &space, &hashes).await.unwrap(), [None, None, None]);
    assert_eq!(cache.get(&bob, &space, &hashes).await.unwrap().iter().flatten().count(), 3);
}

#[tokio::test]
async fn changed_declaration_of_a_space_is_rejected_at_the_start() {
    let store = Store::new(valkey().await);
    store.check_space(&Space::minilm()).await.unwrap();
    store.check_space(&Space::minilm()).await.unwrap();
    let changed = Space { revision: "2".to_owned(), threshold: 0.8, ..Space::minilm() };
    let error = store.check_space(&changed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Layout);
    let message = error.to_string();
    for part in ["minilm-l6-v2", "revision, threshold", "0.92", "another id"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    store.check_space(&Space::minilm()).await.expect("the first declaration stands");
}

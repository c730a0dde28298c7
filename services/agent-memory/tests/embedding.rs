//! Local model against an oracle: the same weights, run by numpy in double precision.

use std::time::Duration;

use keyplane_agent_memory::domain::{Embedding, Sketch, Space, SpaceId};
use keyplane_agent_memory::peers::embed::{Declaration, EmbedError, Embedder, OpenError, Purpose, Source};
use keyplane_engine::{Tool, Toolbox};
use serde::Deserialize;

/// Words of a piece's signs: 384 dimensions.
const WORDS: usize = 6;

/// Text with the oracle's embedding; `bits` has at most twelve pieces, 48 bytes in hexadecimal each.
#[derive(Deserialize)]
struct Expected {
    text: String,
    tokens: u32,
    vector: Vec<f32>,
    pieces: Vec<u16>,
    bits: Vec<String>,
}

fn expected() -> Vec<Expected> {
    serde_json::from_str(include_str!("fixtures/embeddings.json")).unwrap()
}

fn embedder(space: Space) -> Result<Embedder, OpenError> {
    let toolbox = Toolbox::find();
    toolbox.ensure(&[Tool::MiniLm]).unwrap();
    open(space, Source::Local { folder: toolbox.path(Tool::MiniLm).unwrap() })
}

fn open(space: Space, source: Source) -> Result<Embedder, OpenError> {
    Embedder::open(&[Declaration { space, source }], 2, Duration::from_secs(60))
}

async fn embed(embedder: &Embedder, texts: &[String]) -> Vec<Embedding> {
    embedder.embed(&Space::minilm().id, Purpose::Passage, texts).await.unwrap()
}

/// Number of signs on which `sketch` differs from the oracle, and the number of signs compared.
fn differing(sketch: &Sketch, bits: &[String]) -> (u32, usize) {
    let words = bits.iter().flat_map(|bits| {
        let bytes = data_encoding::HEXLOWER.decode(bits.as_bytes()).unwrap();
        bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect::<Vec<_>>()
    });
    (words.zip(&sketch.bits).map(|(one, other)| (one ^ other).count_ones()).sum(), bits.len() * 64 * WORDS)
}

#[tokio::test]
async fn vectors_and_sketches_equal_the_oracles() {
    let expected = expected();
    let embedder = embedder(Space::minilm()).unwrap();
    // Several copies fill more batches than one, with padding of every size.
    let texts: Vec<String> = (0..4).flat_map(|_| expected.iter().map(|expected| expected.text.clone())).collect();
    let embeddings = embed(&embedder, &texts).await;
    assert_eq!(embeddings.len(), texts.len());
    for (embedding, expected) in embeddings.iter().zip(expected.iter().cycle()) {
        let distance: f32 =
            embedding.vector.iter().zip(&expected.vector).map(|(one, other)| (one - other).powi(2)).sum();
        assert!(distance.sqrt() < 1e-4, "{}: {distance}", expected.text);
        assert_eq!(embedding.tokens, expected.tokens, "{}", expected.text);
        let sketch = embedding.sketch.as_ref().unwrap();
        assert_eq!(sketch.pieces, expected.pieces, "{}", expected.text);
        assert_eq!(sketch.bits.len(), expected.pieces.len() * WORDS);
        let (differing, all) = differing(sketch, &expected.bits);
        assert!(differing as usize <= all / 1000, "{}: {differing} of {all} signs", expected.text);
    }
}

#[tokio::test]
async fn prefix_is_embedded_but_not_sketched() {
    let mut space = Space::minilm();
    space.query_prefix = "represent the question: ".to_owned();
    let embedder = embedder(space.clone()).unwrap();
    let texts = ["What did Melanie paint?".to_owned()];
    let query = embedder.embed(&space.id, Purpose::Query, &texts).await.unwrap().remove(0);
    let passage = embedder.embed(&space.id, Purpose::Passage, &texts).await.unwrap().remove(0);
    assert!(query.tokens > passage.tokens);
    assert_ne!(query.vector, passage.vector);
    assert_eq!(query.sketch.unwrap().pieces, passage.sketch.unwrap().pieces);
}

#[tokio::test]
async fn no_texts_are_no_embeddings() {
    assert!(embed(&embedder(Space::minilm()).unwrap(), &[]).await.is_empty());
}

#[tokio::test]
async fn deadline_of_the_call_ends_the_wait() {
    let embedder = embedder(Space::minilm()).unwrap();
    let texts = vec!["a text that is long enough to take a moment".repeat(20); 256];
    let now = tokio::time::Instant::now();
    let space = Space::minilm().id;
    let call = embedder.embed(&space, Purpose::Passage, &texts);
    let error = keyplane_deadline::scope(now + Duration::from_millis(20), call).await.unwrap_err();
    assert!(matches!(error, EmbedError::Deadline(_)), "{error}");
    // The rest of the call is dropped: a short one is soon served.
    assert_eq!(embed(&embedder, &["short".to_owned()]).await.len(), 1);
}

#[tokio::test]
async fn undeclared_spaces_and_spaces_of_callers_are_not_embedded() {
    let space = Space::minilm();
    let embedder = open(space.clone(), Source::Callers).unwrap();
    let texts = ["text".to_owned()];
    let error = embedder.embed(&space.id, Purpose::Query, &texts).await.unwrap_err();
    assert_eq!(error, EmbedError::CallersOnly(space.id.clone()));
    let other = SpaceId::parse("other").unwrap();
    let error = embedder.embed(&other, Purpose::Query, &texts).await.unwrap_err();
    assert_eq!(error, EmbedError::UnknownSpace(other.clone()));
    assert!(embedder.space(&space.id).is_ok() && !embedder.embeds(&space.id) && embedder.space(&other).is_err());
}

#[test]
fn unusable_models_say_what_is_wrong() {
    let wrong = Space { dimension: 768, ..Space::minilm() };
    let error = embedder(wrong).unwrap_err().to_string();
    assert!(error.contains("768") && error.contains("384"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let open = || Embedder::local(folder.path(), 1, Duration::ZERO).unwrap_err().to_string();
    assert!(open().contains("config.json cannot be read"), "{}", open());
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    assert!(open().contains("config.json is not usable"), "{}", open());
}

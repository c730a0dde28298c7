//! Tests of the ranking.

use compact_str::CompactString;
use proptest::prelude::*;

use super::*;
use crate::domain::item::{Item, Session, Sketch, Vector};
use crate::domain::memory::{Kind, MemoryId};
use crate::domain::scope::Partition;
use crate::domain::text;

const DAY: i64 = 86_400_000;

/// Item of a text, with a vector and a sketch of 64 dimensions that its letters make.
fn item(sequence: u32, speaker: &str, text: &str) -> Item {
    let analysis = text::analyze(speaker, text);
    let id = MemoryId::new(Partition::new(0).expect("a partition"), [sequence as u8; 16]);
    Item {
        speaker: CompactString::new(speaker),
        tokens: text.split_whitespace().count() as u32,
        length: analysis.length,
        terms: analysis.terms,
        vector: Vector::quantize(&embedding(text)),
        sketch: Some(sketch(text)),
        ..Item::new(id, Kind::Message, sequence)
    }
}

/// Embedding of a text: its letters, counted.
fn embedding(text: &str) -> Vec<f32> {
    let mut values = vec![0.1; 64];
    text.bytes().for_each(|byte| values[usize::from(byte % 64)] += 1.0);
    values
}

/// Sketch with a word-piece for each word; equal words have equal bits.
fn sketch(text: &str) -> Sketch {
    let words: Vec<(u16, Vec<f32>)> = text
        .split_whitespace()
        .map(|word| {
            let hash = u64::from(text::hash(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((hash % 30_000) as u16, (0..64).map(|bit| if hash >> bit & 1 == 1 { 1.0 } else { -1.0 }).collect())
        })
        .collect();
    Sketch::of(words.iter().map(|(piece, values)| (*piece, &values[..])))
}

fn session(conversation: bool, texts: &[&str]) -> Session {
    let items = texts.iter().enumerate().map(|(at, text)| item(at as u32, "Ann", text)).collect();
    Session { id: CompactString::new("s"), conversation, items }
}

fn question(query: &str) -> Question {
    Question::new(query, crate::domain::sketch::normalize(&embedding(query)), Some(sketch(query)), 0)
}

fn ranked(question: &Question, sessions: &[Session], weights: &Weights) -> Vec<Scored> {
    rank(question, sessions, &Corpus::count(question, sessions), weights)
}

/// Scores in the order of the items of the first session.
fn scores(question: &Question, sessions: &[Session], weights: &Weights) -> Vec<f32> {
    let mut ranked = ranked(question, sessions, weights);
    ranked.retain(|scored| scored.session == 0);
    ranked.sort_by_key(|scored| scored.item);
    ranked.into_iter().map(|scored| scored.score).collect()
}

#[test]
fn memory_with_the_words_of_the_question_is_first() {
    let sessions = [session(
        true,
        &["we ate soup", "the beagle barks", "rain all week", "no news", "a long walk", "tea and cake"],
    )];
    let found = ranked(&question("beagle barks"), &sessions, &Weights::default());
    assert_eq!(found[0].item, 1);
    assert_eq!(found.len(), 6);
}

#[test]
fn neighbours_lend_score_by_their_distance() {
    let sessions = [session(true, &["a", "b", "c", "beagle", "d", "e", "f"])];
    let weights = Weights { cosine: 0.0, interaction: 0.0, session: 0.0, length: 0.0, ..Weights::RELEVANCE };
    let lent = scores(&question("beagle"), &sessions, &weights);
    let own = 0.3;
    for (at, share) in [0.0, 0.1, 0.2, 1.0, 0.2, 0.1, 0.0].into_iter().enumerate() {
        assert!((lent[at] - own * share).abs() < 1e-6, "{at}: {lent:?}");
    }
}

#[test]
fn gap_in_the_conversation_keeps_its_place() {
    let mut with_gap = session(true, &["beagle", "b", "c", "d"]);
    with_gap.items.remove(1);
    let weights = Weights { cosine: 0.0, interaction: 0.0, session: 0.0, ..Weights::RELEVANCE };
    let lent = scores(&question("beagle"), &[with_gap], &weights);
    assert!((lent[1] - 0.03).abs() < 1e-6 && lent[2].abs() < 1e-6, "{lent:?}");
}

#[test]
fn memories_without_a_session_lend_nothing() {
    let weights = Weights { cosine: 0.0, interaction: 0.0, ..Weights::RELEVANCE };
    let lent = scores(&question("beagle"), &[session(false, &["beagle", "other"])], &weights);
    assert!((lent[0] - 0.3 * 1.4).abs() < 1e-6 && lent[1] == 0.0, "{lent:?}");
}

#[test]
fn session_shares_its_best_score() {
    let weights = Weights { cosine: 0.0, interaction: 0.0, near: 0.0, far: 0.0, ..Weights::RELEVANCE };
    let lent = scores(&question("beagle"), &[session(true, &["beagle", "b", "c", "d"])], &weights);
    assert!((lent[3] - 0.4 * 0.3).abs() < 1e-6, "{lent:?}");
}

#[test]
fn only_speaker_named_gets_the_bonus() {
    let mut both = session(true, &["one", "two"]);
    both.items[1].speaker = CompactString::new("Bob");
    let weights = Weights { cosine: 0.0, lexical: 0.0, interaction: 0.0, ..Weights::RELEVANCE };
    assert_eq!(scores(&question("what did Bob's friend say"), &[both.clone()], &weights), [0.0, 0.4]);
    assert_eq!(scores(&question("what did Ann tell Bob"), &[both.clone()], &weights), [0.0, 0.0]);
    both.items[0].entities = vec![text::name_hash("Eiffel Tower")];
    assert_eq!(scores(&question("when was the Eiffel tower seen"), &[both.clone()], &weights), [0.4, 0.0]);
    assert_eq!(scores(&question("did Bob see the Eiffel tower"), &[both], &weights), [0.0, 0.4]);
}

#[test]
fn event_on_a_named_date_gets_the_bonus() {
    let mut dated = session(true, &["one", "two"]);
    dated.items[1].time = 40 * DAY;
    let weights = Weights { cosine: 0.0, lexical: 0.0, interaction: 0.0, ..Weights::RELEVANCE };
    let found = scores(&question("in February 1970"), &[dated], &weights);
    assert!(found[0] == 0.0 && (found[1] - 0.64).abs() < 1e-6, "{found:?}");
}

#[test]
fn memory_without_vector_or_sketch_counts_as_the_mean() {
    let mut sessions = [session(false, &["beagle barks", "soup", "rain"])];
    sessions[0].items[2].vector = None;
    sessions[0].items[2].sketch = None;
    let found = ranked(&question("beagle"), &sessions, &Weights::RELEVANCE);
    let missing = found.iter().find(|scored| scored.item == 2).expect("the item");
    assert_eq!((missing.explain.cosine, missing.explain.interaction), (0.0, 0.0));
}

#[test]
fn use_and_importance_cost_at_most_a_fifth() {
    let mut sessions = [session(false, &["beagle", "beagle", "beagle"])];
    sessions[0].items[0].importance = 255;
    sessions[0].items[1].accessed = -10_000 * DAY;
    sessions[0].items[1].importance = 0;
    sessions[0].items[2].importance = 0;
    let factors: Vec<f32> = {
        let mut found = ranked(&question("beagle"), &sessions, &Weights::default());
        found.sort_by_key(|scored| scored.item);
        found.into_iter().map(|scored| scored.explain.factor).collect()
    };
    assert_eq!(factors, [1.0, 0.8, 0.92]);
}

#[test]
fn question_without_anything_ranks_without_faults() {
    let sessions = [session(true, &["one", "two"]), Session::default()];
    for scored in ranked(&Question::default(), &sessions, &Weights::default()) {
        assert!(scored.score.is_finite());
    }
    assert!(ranked(&question("beagle"), &[], &Weights::default()).is_empty());
}

#[test]
fn counters_of_unread_memories_count_like_read_ones() {
    let (near, far) = (session(true, &["beagle soup", "rain"]), session(true, &["beagle", "tea and cake"]));
    let question = question("beagle soup");
    let all = Corpus::count(&question, &[near.clone(), far.clone()]);
    let other = Corpus::count(&question, std::slice::from_ref(&far));
    let words = far.items.iter().map(|item| u64::from(item.length)).sum();
    let mut added = Corpus::count(&question, std::slice::from_ref(&near));
    added.add(2, words, &other.terms.iter().map(|count| u64::from(*count)).collect::<Vec<_>>());
    added.count_pieces(&question, &[near, far]);
    assert_eq!(added, all);
}

fn any_sessions() -> impl Strategy<Value = Vec<Session>> {
    let text = proptest::collection::vec("[a-d]{1,2}", 0..6).prop_map(|words| words.join(" "));
    let session = (any::<bool>(), proptest::collection::vec((text, 0_u32..3, any::<bool>()), 0..8));
    let made = session.prop_map(|(conversation, texts)| {
        let mut sequence = 0;
        let items = texts.into_iter().map(|(text, gap, embedded)| {
            sequence += 1 + gap;
            let made = item(sequence, if gap == 0 { "Ann" } else { "Bob" }, &text);
            if embedded { made } else { Item { vector: None, sketch: None, ..made } }
        });
        Session { id: CompactString::default(), conversation, items: items.collect() }
    });
    proptest::collection::vec(made, 0..5)
}

proptest! {
    #[test]
    fn every_item_is_ranked_once_and_the_terms_make_the_score(sessions in any_sessions(), query in "[a-d ]{0,12}( Ann)?") {
        let found = ranked(&question(&query), &sessions, &Weights::default());
        let mut places: Vec<(usize, usize)> = found.iter().map(|scored| (scored.session, scored.item)).collect();
        places.sort_unstable();
        let all = sessions.iter().enumerate().flat_map(|(at, session)| (0..session.items.len()).map(move |item| (at, item)));
        prop_assert_eq!(places, all.collect::<Vec<_>>());
        prop_assert!(found.is_sorted_by(|a, b| a.score >= b.score));
        for scored in &found {
            let terms = scored.explain.terms();
            let (factor, sum) = (terms[8].1, terms[..8].iter().map(|(_, value)| value).sum::<f32>());
            let score = if sum < 0.0 { sum / factor } else { sum * factor };
            prop_assert!(scored.score.is_finite() && (0.799..=1.0).contains(&factor));
            prop_assert!((scored.score - score).abs() < 1e-4, "{} {}", scored.score, score);
        }
    }

    #[test]
    fn order_of_the_sessions_does_not_change_scores(sessions in any_sessions(), query in "[a-d ]{0,12}") {
        let question = question(&query);
        let forward = ranked(&question, &sessions, &Weights::default());
        let reversed: Vec<Session> = sessions.iter().rev().cloned().collect();
        let backward = ranked(&question, &reversed, &Weights::default());
        let last = sessions.len().saturating_sub(1);
        for scored in forward {
            let other = backward.iter().find(|other| (last - other.session, other.item) == (scored.session, scored.item));
            prop_assert!(other.is_some_and(|other| (other.score - scored.score).abs() < 1e-4));
        }
    }
}

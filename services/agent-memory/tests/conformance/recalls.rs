//! Recall: order, budget, scope, time, explanation.

use keyplane_contracts::memory::v1 as pb;
use keyplane_contracts::timestamp;

use crate::support::{memory, shared, texts, vector};

fn question(user: &str, query: &str, axis: usize) -> pb::RecallRequest {
    pb::RecallRequest {
        user: user.to_owned(),
        query: query.to_owned(),
        vector: Some(vector(axis, 0.0)),
        ..pb::RecallRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_comes_first_and_the_text_keeps_the_budget() {
    let mut service = shared(&[]).await;
    let mut memories: Vec<_> =
        (0..60).map(|n| memory(&format!("Note {n}: the weekly report was sent on time."), 3)).collect();
    memories.push(memory("The deploy key is in the vault.", 0));
    let written = service.remember("ada", memories).await.expect("a response");
    assert_eq!(written.failed_count, 0);

    let request = pb::RecallRequest { max_tokens: 60, explain: true, ..question("ada", "Where is the deploy key?", 0) };
    let recalled = service.ask(request).await.expect("a response");
    assert_eq!(texts(&recalled)[0], "The deploy key is in the vault.");
    assert!(recalled.text.contains("The deploy key is in the vault."), "{}", recalled.text);
    assert!((1..=60).contains(&recalled.token_count), "{}", recalled.token_count);
    assert!(recalled.scored_count >= 2, "{}", recalled.scored_count);
    let plan = recalled.plan.as_ref().expect("a plan");
    assert_eq!(plan.candidates(), pb::recall_plan::Candidates::WholeScope);
    let first = &recalled.memories[0];
    let sum: f32 = first.terms.iter().map(|term| term.value).sum();
    assert!((sum - first.score).abs() < 1e-3, "{sum} is not {}: {:?}", first.score, first.terms);
    let scores: Vec<_> = recalled.memories.iter().map(|recalled| recalled.score).collect();
    assert!(scores.is_sorted_by(|one, next| one >= next), "{scores:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_another_scope() {
    let mut service = shared(&[]).await;
    for (user, text) in [("user1", "One keeps bees."), ("user10", "Ten keeps bees."), ("", "Everybody keeps bees.")] {
        service.one(user, memory(text, 0)).await;
    }
    let sorted = |response: &pb::RecallResponse| {
        let mut texts: Vec<_> = texts(response).into_iter().map(str::to_owned).collect();
        texts.sort();
        texts
    };
    let own = service.recall("user1", "Who keeps bees?", 0).await;
    assert_eq!(sorted(&own), ["Everybody keeps bees.", "One keeps bees."]);
    let shared = service.recall("", "Who keeps bees?", 0).await;
    assert_eq!(sorted(&shared), ["Everybody keeps bees."]);
    let request = pb::RecallRequest { exclude_shared: true, ..question("user10", "Who keeps bees?", 0) };
    assert_eq!(sorted(&service.ask(request).await.expect("a response")), ["Ten keeps bees."]);
    let request = pb::RecallRequest { parent: "tenants/other".to_owned(), ..question("user1", "Who keeps bees?", 0) };
    let other = service.client.recall(request).await.expect("a response").into_inner();
    assert_eq!((other.memories.len(), other.text.as_str(), other.token_count), (0, "", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn past_moment_has_its_own_facts() {
    let mut service = shared(&[]).await;
    let day = 86_400_000;
    let fact = |text: &str, axis, at: i64| pb::Memory {
        subject: "ada/home".to_owned(),
        event_time: Some(timestamp::from_millis(at)),
        valid_from_time: Some(timestamp::from_millis(at)),
        ..memory(text, axis)
    };
    service.one("ada", fact("Ada lives in London.", 0, 1_000 * day)).await;
    service.one("ada", fact("Ada lives in Porto.", 1, 2_000 * day)).await;
    let mut at = async |millis| {
        let as_of_time = Some(timestamp::from_millis(millis));
        let request = pb::RecallRequest { as_of_time, ..question("ada", "Where does Ada live?", 0) };
        let recalled = service.ask(request).await.expect("a response");
        texts(&recalled).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(at(999 * day).await, [""; 0]);
    assert_eq!(at(1_500 * day).await, ["Ada lives in London."]);
    assert_eq!(at(2_500 * day).await, ["Ada lives in Porto."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn filter_admits_what_meets_each_part() {
    let mut service = shared(&[]).await;
    let tagged = |text: &str, axis, tags: &[&str], topic: &str| pb::Memory {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        topics: vec![topic.to_owned()],
        ..memory(text, axis)
    };
    let memories = vec![
        tagged("Bees fly.", 0, &["a", "b"], "animals"),
        tagged("Bees sting.", 1, &["a"], "animals"),
        tagged("Bees, the band.", 2, &["a", "b"], "music"),
    ];
    service.remember("ada", memories).await.expect("a response");
    let texts_of = pb::MemoryFilter {
        tags: vec!["a".to_owned(), "b".to_owned()],
        topics: vec!["animals".to_owned(), "plants".to_owned()],
        ..pb::MemoryFilter::default()
    };
    let request = pb::RecallRequest { filter: Some(texts_of), ..question("ada", "What do bees do?", 0) };
    assert_eq!(texts(&service.ask(request).await.expect("a response")), ["Bees fly."]);
    let request = pb::RecallRequest { max_memories: 1, ..question("ada", "What do bees do?", 1) };
    assert_eq!(service.ask(request).await.expect("a response").memories.len(), 1);
}

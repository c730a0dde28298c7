//! Remember: new, equal, alike and newer texts.

use keyplane_contracts::memory::v1 as pb;
use pb::remember_result::Outcome;
use tonic::Code;

use crate::support::{details, memory, shared, vector};

#[tokio::test(flavor = "multi_thread")]
async fn retried_text_is_a_duplicate_in_its_scope_alone() {
    let mut service = shared(&[]).await;
    let text = || memory("Ada prefers invoices as PDF.", 0);
    let first = service.one("ada", text()).await;
    assert_eq!((first.outcome(), first.token_count > 0, first.etag.is_empty()), (Outcome::Created, true, false));
    let again = service.one("ada", text()).await;
    assert_eq!((again.outcome(), &again.name), (Outcome::Duplicate, &first.name));
    let other = service.one("ada1", text()).await;
    assert_eq!(other.outcome(), Outcome::Created);
    let shared = service.one("", text()).await;
    assert_eq!(shared.outcome(), Outcome::Created);
    assert!(first.name != other.name && first.name != shared.name && other.name != shared.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_says_the_same_is_a_near_duplicate_unless_a_number_differs() {
    let mut service = shared(&[]).await;
    let first = service.one("ada", memory("Ada's office has 3 rooms.", 0)).await;
    let near = pb::Memory { vector: Some(vector(0, 0.1)), ..memory("The office of Ada has 3 rooms.", 0) };
    let near = service.one("ada", near).await;
    assert_eq!((near.outcome(), &near.name), (Outcome::NearDuplicate, &first.name));
    assert!(near.similarity > 0.98 && near.similarity <= 1.0, "{}", near.similarity);
    let other = pb::Memory { vector: Some(vector(0, 0.1)), ..memory("The office of Ada has 4 rooms.", 0) };
    assert_eq!(service.one("ada", other).await.outcome(), Outcome::Created);
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_fact_of_a_subject_supersedes_the_older_one() {
    let mut service = shared(&[]).await;
    let fact = |text: &str, axis| pb::Memory { subject: "ada/home".to_owned(), ..memory(text, axis) };
    let old = service.one("ada", fact("Ada lives in London.", 0)).await;
    let new = service.one("ada", fact("Ada lives in Porto.", 1)).await;
    assert_eq!((new.outcome(), &new.superseded), (Outcome::Superseded, &old.name));

    let (old, new) = (service.get(&old.name).await.expect("history"), service.get(&new.name).await.expect("a memory"));
    assert_eq!((old.state(), &old.superseded_by), (pb::memory::State::Superseded, &new.name));
    assert_eq!((new.state(), &new.supersedes), (pb::memory::State::Current, &old.name));
    let recalled = service.recall("ada", "Where does Ada live?", 0).await;
    assert!(recalled.text.contains("Porto") && !recalled.text.contains("London"), "{}", recalled.text);
    // A text that returns is a new memory.
    let back = service.one("ada", fact("Ada lives in London.", 0)).await;
    assert_eq!((back.outcome(), &back.superseded), (Outcome::Superseded, &new.name));
    assert_ne!(back.name, old.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_memory_leaves_the_others_alone() {
    let mut service = shared(&[]).await;
    let empty = pb::Memory { importance: Some(2.0), ..memory("", 0) };
    let long = pb::Memory { vector: Some(pb::Vector { values: vec![1.0; 9] }), ..memory("Nine numbers.", 0) };
    let response = service.remember("ada", vec![empty, memory("Fine.", 1), long]).await.expect("a response");
    assert_eq!(response.failed_count, 2);
    let errors: Vec<_> = response.results.iter().map(|result| result.error.as_ref()).collect();
    let first = errors[0].expect("an error");
    assert_eq!((first.status.as_str(), first.reason.as_str()), ("INVALID_ARGUMENT", "INVALID_REQUEST"));
    assert!(
        first.message.contains("memories[0].text") && first.message.contains("memories[0].importance"),
        "{first:?}"
    );
    assert!(errors[1].is_none());
    let last = errors[2].expect("an error");
    assert_eq!(last.reason, "INVALID_REQUEST");
    assert!(last.message.contains("memories[2].vector") && last.message.contains('8'), "{last:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn undeclared_space_and_missing_vector_are_failed_preconditions() {
    let mut service = shared(&[]).await;
    let request = pb::RememberRequest {
        parent: "tenants/acme".to_owned(),
        space: "other".to_owned(),
        memories: vec![memory("a", 0)],
        ..pb::RememberRequest::default()
    };
    let status = service.client.remember(request).await.expect_err("no such space");
    details(&status, Code::FailedPrecondition, "UNKNOWN_SPACE");
    let question = pb::RecallRequest { query: "a".to_owned(), ..pb::RecallRequest::default() };
    let status = service.ask(pb::RecallRequest { space: "other".to_owned(), ..question.clone() }).await;
    details(&status.expect_err("no such space"), Code::FailedPrecondition, "UNKNOWN_SPACE");
    let status = service.ask(question).await.expect_err("no vector");
    details(&status, Code::FailedPrecondition, "VECTOR_REQUIRED");
}

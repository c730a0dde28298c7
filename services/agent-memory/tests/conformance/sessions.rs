//! AppendSession, ListSessionEvents, TrimSession, SummarizeSession.

use keyplane_contracts::memory::v1 as pb;
use pb::remember_result::Outcome;
use tonic::Code;

use crate::support::{Service, details, memory, shared, violated};

const CHAT: &str = "tenants/acme/memorySessions/chat:7";

fn event(id: &str, text: &str, axis: usize) -> pb::Memory {
    pb::Memory { event_id: id.to_owned(), ..memory(text, axis) }
}

async fn append(service: &mut Service, events: Vec<pb::Memory>) -> Vec<Outcome> {
    let request = pb::AppendSessionRequest {
        name: CHAT.to_owned(),
        user: "ada".to_owned(),
        events,
        ..pb::AppendSessionRequest::default()
    };
    let response = service.client.append_session(request).await.expect("a response").into_inner();
    assert_eq!(response.failed_count, 0, "{response:?}");
    response.results.iter().map(pb::RememberResult::outcome).collect()
}

async fn texts(service: &mut Service, size: i32) -> Vec<String> {
    let (mut texts, mut page_token) = (Vec::new(), String::new());
    loop {
        let (parent, user) = (CHAT.to_owned(), "ada".to_owned());
        let request = pb::ListSessionEventsRequest { parent, user, page_size: size, page_token };
        let page = service.client.list_session_events(request).await.expect("a page").into_inner();
        texts.extend(page.events.into_iter().map(|event| event.text));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return texts;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_keep_their_order_and_a_retry_changes_nothing() {
    let mut service = shared(&[]).await;
    let events = || vec![event("1", "Hello.", 0), event("2", "Where is my invoice?", 1), event("3", "Hello.", 2)];
    assert_eq!(append(&mut service, events()).await, [Outcome::Created; 3]);
    assert_eq!(append(&mut service, events()).await, [Outcome::Duplicate; 3]);
    assert_eq!(append(&mut service, vec![event("4", "It is on its way.", 3)]).await, [Outcome::Created]);
    let expected = ["Hello.", "Where is my invoice?", "Hello.", "It is on its way."];
    assert_eq!(texts(&mut service, 3).await, expected);
    let recalled = service.recall("ada", "invoice", 1).await;
    assert!(recalled.text.contains("Where is my invoice?"), "{}", recalled.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn older_events_are_summarized_or_trimmed() {
    let mut service = shared(&[]).await;
    let events: Vec<_> = (0..6).map(|n| event(&n.to_string(), &format!("Message {n}."), n)).collect();
    append(&mut service, events).await;
    let request = pb::SummarizeSessionRequest {
        name: CHAT.to_owned(),
        user: "ada".to_owned(),
        up_to_event: "2".to_owned(),
        summary: Some(memory("Three messages.", 7)),
        ..pb::SummarizeSessionRequest::default()
    };
    let summarized = service.client.summarize_session(request).await.expect("a summary").into_inner();
    assert_eq!(summarized.replaced_count, 3);
    let summary = summarized.summary.expect("a result");
    let summary = service.get(&summary.name).await.expect("a memory");
    assert_eq!((summary.kind(), summary.derived_from.len()), (pb::memory::Kind::Summary, 3));
    assert_eq!(texts(&mut service, 0).await, ["Three messages.", "Message 3.", "Message 4.", "Message 5."]);

    let trim = |up_to_event: &str, keep_latest| pb::TrimSessionRequest {
        name: CHAT.to_owned(),
        user: "ada".to_owned(),
        up_to_event: up_to_event.to_owned(),
        keep_latest,
    };
    let trimmed = service.client.trim_session(trim("", Some(2))).await.expect("a trim").into_inner();
    assert_eq!(trimmed.deleted_count, 2);
    assert_eq!(texts(&mut service, 0).await, ["Message 4.", "Message 5."]);
    let missing = service.client.trim_session(trim("9", None)).await.expect_err("no such event");
    details(&missing, Code::NotFound, "MEMORY_NOT_FOUND");
    let neither = service.client.trim_session(trim("", None)).await.expect_err("neither");
    assert_eq!(violated(&neither), ["up_to_event"]);
}

//! GetMemory, ListMemories, UpdateMemory, Forget.

use keyplane_contracts::memory::v1 as pb;
use pb::memory::{Kind, State};
use tonic::Code;

use crate::support::{details, memory, shared, vector};

fn text_of(memory: &pb::Memory) -> &str {
    &memory.text
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_read_as_it_was_sent() {
    let mut service = shared(&[]).await;
    let sent = pb::Memory {
        kind: Kind::Procedural.into(),
        speaker: "Ada".to_owned(),
        topics: vec!["billing".to_owned()],
        entities: vec!["Ada".to_owned(), "Invoice".to_owned()],
        tags: vec!["x,y*".to_owned()],
        metadata: [("crm".to_owned(), String::new())].into(),
        importance: Some(0.75),
        pinned: Some(true),
        reference: "call".to_owned(),
        ..memory("Refunds need an approval.", 0)
    };
    let written = service.one("ada", sent.clone()).await;
    let read = service.get(&written.name).await.expect("a memory");
    assert_eq!((read.user.as_str(), read.kind(), read.state()), ("ada", Kind::Procedural, State::Current));
    assert_eq!((&read.speaker, &read.topics, &read.entities), (&sent.speaker, &sent.topics, &sent.entities));
    assert_eq!((&read.tags, &read.metadata, &read.reference), (&sent.tags, &sent.metadata, &sent.reference));
    assert_eq!((read.importance.map(|share| (share * 100.0).round()), read.pinned), (Some(75.0), Some(true)));
    assert_eq!((read.space.as_str(), &read.etag, &read.name), ("own", &written.etag, &written.name));
    assert_eq!(read.expire_time, written.expire_time);
    assert!(read.name.ends_with(&read.memory_id) && read.vector.is_none());

    let missing = format!("tenants/acme/memories/00{}", "ab".repeat(16));
    details(&service.get(&missing).await.expect_err("no memory"), Code::NotFound, "MEMORY_NOT_FOUND");
    let foreign = written.name.replace("acme", "other");
    details(&service.get(&foreign).await.expect_err("another tenant"), Code::NotFound, "MEMORY_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_list_each_memory_once() {
    let mut service = shared(&[]).await;
    let memories: Vec<_> = (0..7).map(|n| memory(&format!("Fact number {n}."), n)).collect();
    service.remember("ada", memories).await.expect("a response");
    service.one("bob", memory("Another user's.", 0)).await;
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = pb::ListMemoriesRequest {
            user: "ada".to_owned(),
            page_size: 3,
            page_token,
            ..pb::ListMemoriesRequest::default()
        };
        let page = service.list(request).await.expect("a page");
        assert!(page.memories.len() <= 3);
        seen.extend(page.memories.iter().map(|memory| text_of(memory).to_owned()));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, (0..7).map(|n| format!("Fact number {n}.")).collect::<Vec<_>>());
    let request = pb::ListMemoriesRequest { page_token: "x".to_owned(), ..pb::ListMemoriesRequest::default() };
    let status = service.list(request).await.expect_err("a foreign token");
    assert_eq!(crate::support::violated(&status), ["page_token"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn update_changes_in_place_and_another_text_supersedes() {
    let mut service = shared(&[]).await;
    let written = service.one("ada", memory("Ada lives in London.", 0)).await;
    let named = |memory: pb::Memory| pb::Memory { name: written.name.clone(), ..memory };
    let change = named(pb::Memory { tags: vec!["vip".to_owned()], pinned: Some(true), ..pb::Memory::default() });
    let changed = service.update(change, &[]).await.expect("a change");
    assert_eq!((&changed.name, &changed.tags, changed.pinned), (&written.name, &vec!["vip".to_owned()], Some(true)));
    assert_ne!(changed.etag, written.etag);

    let stale = named(pb::Memory { etag: written.etag.clone(), pinned: Some(false), ..pb::Memory::default() });
    let status = service.update(stale, &[]).await.expect_err("a stale etag");
    details(&status, Code::Aborted, "STALE_WRITE");

    let cleared = service.update(named(pb::Memory::default()), &["tags"]).await.expect("a change");
    assert_eq!((cleared.tags.len(), cleared.pinned), (0, Some(true)));

    let moved = pb::Memory {
        text: "Ada lives in Porto.".to_owned(),
        vector: Some(vector(1, 0.0)),
        ..named(pb::Memory::default())
    };
    let moved = service.update(moved, &[]).await.expect("a new memory");
    assert_eq!((moved.supersedes.as_str(), moved.pinned), (written.name.as_str(), Some(true)));
    let old = service.get(&written.name).await.expect("history");
    assert_eq!((old.state(), &old.superseded_by), (State::Superseded, &moved.name));
    let status = service.update(named(pb::Memory { pinned: Some(true), ..pb::Memory::default() }), &[]).await;
    details(&status.expect_err("history"), Code::FailedPrecondition, "MEMORY_SUPERSEDED");

    let request = pb::ListMemoriesRequest {
        user: "ada".to_owned(),
        state: State::Superseded.into(),
        ..pb::ListMemoriesRequest::default()
    };
    let page = service.list(request).await.expect("a page");
    assert_eq!(page.memories.iter().map(text_of).collect::<Vec<_>>(), ["Ada lives in London."]);
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_memories_are_gone_and_a_dry_run_deletes_nothing() {
    let mut service = shared(&[]).await;
    let first = service.one("ada", memory("First.", 0)).await;
    let second = pb::Memory { topics: vec!["old".to_owned()], ..memory("Second.", 1) };
    let second = service.one("ada", second).await;
    service.one("ada", memory("Third.", 2)).await;

    let by_name = pb::ForgetRequest { names: vec![first.name.clone()], dry_run: true, ..pb::ForgetRequest::default() };
    assert_eq!(service.forget(by_name.clone()).await.expect("a response").names, std::slice::from_ref(&first.name));
    service.get(&first.name).await.expect("a dry run deletes nothing");
    let forgotten = service.forget(pb::ForgetRequest { dry_run: false, ..by_name.clone() }).await;
    assert_eq!(forgotten.expect("a response").names, std::slice::from_ref(&first.name));
    details(&service.get(&first.name).await.expect_err("gone"), Code::NotFound, "MEMORY_NOT_FOUND");
    let again = service.forget(pb::ForgetRequest { dry_run: false, ..by_name }).await.expect("no error");
    assert_eq!(again.names, [""; 0]);

    let filter = Some(pb::MemoryFilter { topics: vec!["old".to_owned()], ..pb::MemoryFilter::default() });
    let matching = Some(pb::MemoryMatch { user: "ada".to_owned(), filter, ..pb::MemoryMatch::default() });
    let forgotten = service.forget(pb::ForgetRequest { matching, ..pb::ForgetRequest::default() }).await;
    assert_eq!(forgotten.expect("a response").names, [second.name]);
    let recalled = service.recall("ada", "second", 1).await;
    assert_eq!(crate::support::texts(&recalled), ["Third."]);
}

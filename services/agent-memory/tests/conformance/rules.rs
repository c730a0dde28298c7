//! Rules of the fields: every violated one is named at once, and never echoed.

use keyplane_contracts::memory::v1 as pb;

use crate::support::{memory, shared, violated};

const SECRET: &str = "not/an/id/s3cret";

#[tokio::test(flavor = "multi_thread")]
async fn every_violated_field_is_named_at_once() {
    let mut service = shared(&[]).await;
    let remember = pb::RememberRequest {
        parent: "tenants/A".to_owned(),
        user: SECRET.to_owned(),
        session: "a b".to_owned(),
        space: "Own".to_owned(),
        ..pb::RememberRequest::default()
    };
    let status = service.client.remember(remember).await.expect_err("all of it is wrong");
    assert_eq!(violated(&status), ["parent", "user", "session", "space", "memories"]);
    assert!(!status.message().contains("s3cret"), "{}", status.message());

    let many = pb::RememberRequest {
        parent: "tenants/acme".to_owned(),
        memories: (0..257).map(|_| memory("x", 0)).collect(),
        ..pb::RememberRequest::default()
    };
    assert_eq!(violated(&service.client.remember(many).await.expect_err("too many")), ["memories"]);

    let recall = pb::RecallRequest {
        vector: Some(pb::Vector { values: vec![0.0; 8] }),
        filter: Some(pb::MemoryFilter { kinds: vec![0, 99], tags: vec![String::new()], ..Default::default() }),
        max_tokens: 100_001,
        max_memories: -1,
        min_score: Some(f32::NAN),
        ..pb::RecallRequest::default()
    };
    let expected = [
        "query",
        "max_tokens",
        "max_memories",
        "min_score",
        "vector.values",
        "filter.kinds[0]",
        "filter.kinds[1]",
        "filter.tags[0]",
    ];
    assert_eq!(violated(&service.ask(recall).await.expect_err("all of it is wrong")), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_checked_in_every_call() {
    let mut service = shared(&[]).await;
    let name = "tenants/acme/memories/zz";
    assert_eq!(violated(&service.get(name).await.expect_err("no name")), ["name"]);
    let update = pb::Memory { name: name.to_owned(), importance: Some(-1.0), ..pb::Memory::default() };
    let status = service.update(update, &["color"]).await.expect_err("no name");
    assert_eq!(violated(&status), ["memory.name", "update_mask", "memory.importance"]);
    let foreign = format!("tenants/other/memories/00{}", "ab".repeat(16));
    let forget = pb::ForgetRequest { names: vec![foreign], ..pb::ForgetRequest::default() };
    assert_eq!(violated(&service.forget(forget).await.expect_err("another tenant")), ["names[0]"]);
    let nothing = service.forget(pb::ForgetRequest::default()).await.expect_err("neither names nor a scope");
    assert_eq!(violated(&nothing), ["names"]);
    let list = pb::ListMemoriesRequest { user: SECRET.to_owned(), page_size: -1, state: 9, ..Default::default() };
    let status = service.list(list).await.expect_err("all of it is wrong");
    assert_eq!(violated(&status), ["user", "state", "page_size"]);
}

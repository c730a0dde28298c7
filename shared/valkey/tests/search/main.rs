//! Search indexes on a real engine: documents, queries, the life of an index.

#[path = "../common/mod.rs"]
mod common;
mod grammar;
mod queries;

use std::sync::atomic::{AtomicU32, Ordering};

use keyplane_valkey::ft::{Attribute, Columns, Condition, Index, Query, Row, Scope, Search, Token};
use keyplane_valkey::{Arg, Error, ErrorKind, Feature, Key, Need, Script, Settings, Valkey};

static PUT: Script = Script::new("test.put", "return redis.call('HSET', KEYS[1], unpack(ARGV))");
static DELETE: Script = Script::new("test.delete", "return redis.call('DEL', KEYS[1])");

const SCOPE: Attribute = Attribute::new("_s");
const PACKED: Attribute = Attribute::new("_f");
const TEXT: Attribute = Attribute::numbered("t", 0);
const TAG: Attribute = Attribute::numbered("g", 0);
const NUMBER: Attribute = Attribute::numbered("n", 0);

/// Index of one test, with the documents of two tenants.
struct Rig {
    valkey: Valkey,
    index: Index,
}

impl Rig {
    async fn start() -> Rig {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = keyplane_testkit::search_engine();
        let valkey = common::connect(&Settings::new(server.url())).await;
        let index = Index::new(valkey.app(), Feature::SEARCH, "s-t1g1n1", NEXT.fetch_add(1, Ordering::Relaxed));
        let columns =
            Columns { tags: vec![SCOPE, TAG], texts: vec![TEXT], numbers: vec![NUMBER], ..Columns::default() };
        assert_eq!(valkey.create_index(&index, &columns).await, Ok(true));
        assert_eq!(valkey.create_index(&index, &columns).await, Ok(false), "a second time");
        keyplane_testkit::eventually(
            "the index is ready",
            std::time::Duration::from_secs(10),
            async || matches!(valkey.index_info(&index).await, Ok(Some(info)) if info.ready),
        )
        .await;
        Rig { valkey, index }
    }

    fn key(&self, tenant: &str, id: &str) -> Key {
        Key::indexed(&self.index, tenant, 3, &["docs", id])
    }

    async fn put(&self, tenant: &str, id: &str, fields: &[(&str, &str)]) {
        let mut args: Vec<Arg<'_>> = vec!["_s".into(), tenant.into()];
        args.extend(fields.iter().flat_map(|(name, value)| [Arg::from(*name), Arg::from(*value)]));
        self.valkey.run(&PUT, &[&self.key(tenant, id)], &args).await.expect("stored");
    }

    async fn rows(&self, query: &Query, search: impl FnOnce(Search<'_>) -> Search<'_>) -> Result<Vec<Row>, Error> {
        let all = Search { index: &self.index, query, fields: &[PACKED], limit: 1_000 };
        self.valkey.search(&search(all)).await.map(|rows| rows.rows)
    }

    /// Ids that `tenant` finds, sorted.
    async fn ids(&self, tenant: &str, condition: &Condition) -> Vec<String> {
        let rows = self.rows(&query(tenant).and(condition), |all| all).await.expect("found");
        let mut ids: Vec<String> = rows.into_iter().filter_map(|row| row.id).collect();
        ids.sort();
        ids
    }
}

fn query(tenant: &str) -> Query {
    Query::new(Scope { attribute: SCOPE, tag: Token::tag(tenant).expect("a tag") })
}

fn word(text: &str) -> Condition {
    Condition::Word(TEXT, Token::word(text).expect("a word"))
}

fn tags(list: &[&str]) -> Condition {
    Condition::Tag(TAG, list.iter().map(|tag| Token::tag(tag).expect("a tag")).collect())
}

#[tokio::test]
async fn index_lives_from_creation_to_drop() {
    let rig = Rig::start().await;
    rig.valkey.probe(&[Need::Scripts, Need::Search]).await.expect("the engine has search");
    rig.put("acme", "a", &[("t0", "blue"), ("g0", "x")]).await;
    let info = rig.valkey.index_info(&rig.index).await.expect("an answer").expect("an index");
    assert_eq!(info.documents, 1);
    let listed = rig.valkey.indexes(Feature::SEARCH).await.expect("a list");
    assert!(
        listed.iter().any(|(name, generation)| {
            Index::new(rig.valkey.app(), Feature::SEARCH, name, *generation) == rig.index
        })
    );

    assert_eq!(rig.valkey.drop_index(&rig.index).await, Ok(true));
    assert_eq!(rig.valkey.drop_index(&rig.index).await, Ok(false), "a second time");
    assert_eq!(rig.valkey.index_info(&rig.index).await, Ok(None));
    let missing = rig.valkey.count(&rig.index, &query("acme")).await.expect_err("no index");
    assert_eq!(missing.kind(), ErrorKind::IndexMissing, "{missing}");
    assert_eq!(rig.valkey.hmget(&rig.key("acme", "a"), &["t0"]).await.expect("read").len(), 1, "documents stay");
}

#[tokio::test]
async fn deadline_bounds_a_search() {
    let rig = Rig::start().await;
    let past = keyplane_deadline::scope(tokio::time::Instant::now(), async {
        rig.valkey.count(&rig.index, &query("acme")).await.expect_err("no time is left")
    });
    assert!(past.await.is_past_deadline());
}

#[tokio::test]
async fn search_that_engines_read_differently_is_rejected() {
    let rig = Rig::start().await;
    let all = query("acme");
    let without_fields = rig.rows(&all, |search| Search { fields: &[], ..search }).await.expect_err("no field");
    let without_rows = rig.rows(&all, |search| Search { limit: 0, ..search }).await.expect_err("no row");
    let far = rig.rows(&all, |search| Search { limit: 1_000_001, ..search }).await.expect_err("too far");
    let long =
        query("acme").and(&Condition::Any((0..900).map(|n| word(&format!("some-word{n}").replace('-', ""))).collect()));
    assert!(!long.fits());
    let long = rig.rows(&long, |search| search).await.expect_err("too long");
    for error in [without_fields, without_rows, far, long] {
        assert_eq!(error.kind(), ErrorKind::Script, "{error}");
    }
}

//! Store without a search module, and a missing store.

mod support;

use keyplane_contracts::search::v1::GetCollectionRequest;
use keyplane_contracts::search::v1::search_service_client::SearchServiceClient;
use keyplane_search::store::Store;
use keyplane_search::{Config, SERVICE};
use keyplane_server::config::{self, Env};
use keyplane_valkey::{App, ErrorKind, Settings, Valkey};
use support::{COMPANIES, PATIENCE, details};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn store_without_a_search_module_is_a_failed_precondition() {
    // The server of the other services has no modules.
    let url = keyplane_testkit::valkey().url();
    let env = Env::from_map(keyplane_testkit::settings(&keyplane_testkit::app(), &url, &[]));
    let (server, config) = config::read(env, &SERVICE, Config::read).expect("the settings of the test");
    let running = keyplane_search::start(server, config).await.expect("the service starts");
    let mut client = SearchServiceClient::new(keyplane_testkit::channel(running.grpc_addr()));
    let status = keyplane_testkit::eventually("the missing module is found", PATIENCE, async || {
        let request = GetCollectionRequest { name: COMPANIES.to_owned() };
        let status = client.get_collection(request).await.expect_err("no call is let in");
        if status.code() == Code::FailedPrecondition { Ok(status) } else { Err(status.code()) }
    })
    .await;
    details(&status, Code::FailedPrecondition, "ENGINE_FEATURE_MISSING");
    assert_eq!(status.message(), "the store lacks a feature that this service needs: ask its operator");
}

#[tokio::test]
async fn store_that_evicts_documents_is_rejected() {
    let toolbox = keyplane_testkit::toolbox();
    let engine = keyplane_engine::Valkey::builder(&toolbox).modules(true).setting("maxmemory-policy", "allkeys-lru");
    let engine = engine.start().expect("an engine");
    let app = App::new(&keyplane_testkit::app()).expect("a name");
    let valkey = Valkey::connect(&Settings::new(engine.url()), app).expect("good settings");
    valkey.wait_ready(PATIENCE).await.expect("a server that answers");
    let store = Store::new(valkey);
    let error = store.check().await.expect_err("it evicts");
    assert_eq!(error.kind(), ErrorKind::FeatureMissing);
    assert!(error.to_string().ends_with("set maxmemory-policy to noeviction; it is allkeys-lru"), "{error}");
    assert_eq!(store.evicts().await.ok(), Some(Some(true)));
    engine.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).expect("set");
    store.check().await.expect("it evicts nothing");
    assert_eq!(store.evicts().await.ok(), Some(Some(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn search_store_may_be_another_than_the_common_one() {
    let (kv, search) = (keyplane_testkit::valkey().url(), keyplane_testkit::search_engine().url());
    let mut service = support::start(&kv, &[("KEYPLANE_SEARCH_URL", &search)]).await;
    service.create(support::companies()).await.expect("the search store has the module");
}

//! Spans of calls, with the conventional attributes and no value. One test: telemetry is set up once a process.

mod common;

use std::time::Duration;

use common::{app, connect, key};
use keyplane_testkit::{Collector, Fault, FaultProxy};
use keyplane_valkey::{Feature, Key, Script, Settings};
use tracing::Instrument as _;

static PATCH: Script = Script::new("session.patch", "return redis.error_reply('STALE ' .. ARGV[1])");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_traced_and_measured_without_their_values() {
    let collector = Collector::start();
    let telemetry = keyplane_telemetry::init(&keyplane_telemetry::Settings {
        service: "test",
        version: "0",
        instance: "one".to_owned(),
        resource: Vec::new(),
        otlp_endpoint: Some(collector.endpoint()),
        quiet: &[],
        log_filter: "info".to_owned(),
        log_json: false,
        sample_ratio: 1.0,
        metrics_interval: Duration::from_secs(60),
    })
    .expect("the first set-up");
    let server = keyplane_testkit::valkey();
    let proxy = FaultProxy::to_port(server.port());
    let settings = Settings { command_timeout: Duration::from_millis(300), ..Settings::new(proxy.url(&server.url())) };
    let valkey = connect(&settings).await;
    let own = valkey.dedicate(&key(&valkey, "u-1")).await.expect("connected");
    let secret = Key::tagged(valkey.app(), Feature::SESSION, "acme", "sec-ret", &[]);

    valkey.hgetall(&key(&valkey, "outside of any trace")).await.expect("read");
    own.read(&key(&valkey, "stream"), "0", 1, Duration::from_millis(1)).await.expect("read");
    async {
        valkey.run(&PATCH, &[&secret], &["sec-ret".into()]).await.expect_err("it is stale");
        valkey.hgetall(&secret).await.expect("read");
        own.read(&key(&valkey, "stream"), "0", 1, Duration::from_millis(200)).await.expect("read");
        own.hmget(&secret, &["sec-ret"]).await.expect("read");
        proxy.set(Fault::BlackHole);
        valkey.get(&secret).await.expect_err("no answer");
        proxy.set(Fault::Pass);
    }
    .instrument(tracing::info_span!(target: "keyplane_test", "request"))
    .await;
    let registry = telemetry.registry();
    let timed = count(&registry, "db_client_operation_duration_seconds");
    let counted = count(&registry, "keyplane_store_commands_total");
    assert_eq!((timed("XREAD"), counted("XREAD")), (0, 2), "what the server was asked to hold is counted, not timed");
    assert_eq!((timed("HMGET"), counted("HMGET")), (1, 1));
    telemetry.shutdown().await;

    let spans = collector.wait_for(|spans| spans.iter().any(|span| span.name == "request")).await;
    let request = spans.iter().find(|span| span.name == "request").expect("the parent");
    assert_eq!(spans.len(), 6, "one span a call, none outside of a trace: {spans:?}");
    for span in spans.iter().filter(|span| span.name != "request") {
        assert_eq!((span.kind, &span.parent_span_id), ("client", &request.span_id));
        assert_eq!(attribute(span, "db.system.name"), Some("redis"));
        assert_eq!(attribute(span, "server.address"), Some("127.0.0.1"));
        assert_eq!(attribute(span, "server.port"), Some(proxy.addr().port().to_string().as_str()));
    }
    let script = named(&spans, "EVALSHA session.patch");
    assert_eq!(attribute(script, "db.operation.name"), Some("EVALSHA"));
    assert_eq!(attribute(script, "db.stored_procedure.name"), Some("session.patch"));
    assert_eq!(attribute(script, "db.response.status_code"), Some("STALE"));
    assert_eq!((attribute(script, "error.type"), script.status), (Some("script"), "error"));
    let read = named(&spans, "HGETALL");
    assert_eq!((attribute(read, "error.type"), read.status), (None, "unset"));
    assert_eq!(attribute(named(&spans, "GET"), "error.type"), Some("timeout"));
    assert!(!format!("{spans:?}").contains("sec-ret"), "a value is in a span: {spans:?}");
    assert!(!format!("{spans:?}").contains(&app().as_str()[..4]), "a key is in a span: {spans:?}");

    let metrics = collector.metric_names();
    for name in ["db.client.operation.duration", "keyplane.store.commands", "keyplane.store.breaker.state"] {
        assert!(metrics.iter().any(|metric| metric == name), "{name} is not in {metrics:?}");
    }
}

/// Number of records of `metric` for a command.
fn count(registry: &prometheus::Registry, metric: &str) -> impl Fn(&str) -> u64 {
    let families = registry.gather();
    let family = families.into_iter().find(|family| family.name() == metric).unwrap_or_else(|| panic!("no {metric}"));
    move |command| {
        let of = |metric: &&prometheus::proto::Metric| metric.get_label().iter().any(|label| label.value() == command);
        let value = |metric: &prometheus::proto::Metric| {
            metric.get_histogram().get_sample_count() + metric.get_counter().get_value() as u64
        };
        family.get_metric().iter().filter(of).map(value).sum()
    }
}

fn named<'a>(spans: &'a [keyplane_testkit::Span], name: &str) -> &'a keyplane_testkit::Span {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name}"))
}

fn attribute<'a>(span: &'a keyplane_testkit::Span, name: &str) -> Option<&'a str> {
    span.attributes.get(name).map(String::as_str)
}

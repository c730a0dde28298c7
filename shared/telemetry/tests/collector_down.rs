//! Missing collector: nothing waits, nothing fails, and the shutdown keeps its bound.

use std::time::{Duration, Instant};

use keyplane_telemetry::{Error, Settings, init, metrics};
use opentelemetry::trace::TraceContextExt as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_collector_harms_nothing() {
    // Accepts and never answers, which is worse than a refused connection.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = Settings {
        otlp_endpoint: Some(format!("http://{}", silent.local_addr().unwrap())),
        log_filter: "off".to_owned(),
        metrics_interval: Duration::from_millis(50),
        ..Settings::new("test")
    };
    let telemetry = init(&settings).unwrap();
    assert!(matches!(init(&settings), Err(Error::Twice)));

    let counter = metrics::counter("keyplane.test.count", "{thing}", "Things");
    let began = Instant::now();
    for _ in 0..5_000 {
        let span = tracing::info_span!(target: "keyplane_test", "work");
        assert!(span.context().span().span_context().is_sampled());
        counter.add(1, &[]);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "spans wait for nobody: {:?}", began.elapsed());

    let families = telemetry.registry().gather();
    let family = families.iter().find(|family| family.name() == "keyplane_test_count_total").unwrap();
    assert!((family.get_metric()[0].get_counter().get_value() - 5_000.0).abs() < f64::EPSILON);

    let began = Instant::now();
    telemetry.shutdown().await;
    assert!(began.elapsed() < Duration::from_secs(8), "took {:?}", began.elapsed());
}

#[tokio::test]
async fn invalid_filter_or_endpoint_is_rejected() {
    let filter = Settings { log_filter: "loud=yes=no".to_owned(), ..Settings::new("test") };
    assert!(matches!(init(&filter), Err(Error::Filter { .. })));
}

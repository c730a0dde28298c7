use crate::echo::say;
use crate::setup::server;

#[tokio::test]
async fn admin_port_shows_metrics_and_masked_settings() {
    let server = server(&[("KEYPLANE_LOG_JSON", "true")]).await;
    say(&server.channel, "hello").await.unwrap();

    let (code, metrics) = server.page("/metrics").await;
    assert_eq!(code, 200);
    assert!(metrics.contains("rpc_server_call_duration_seconds_count{"), "{metrics}");
    assert!(metrics.contains("rpc_method=\"test.Echo/Say\""));
    assert!(metrics.contains("service_name=\"keyplane-echo\""));
    assert!(metrics.contains("le=\"0.0001\""));
    assert!(!metrics.contains("otel_scope"));

    let (code, settings) = server.page("/config").await;
    assert_eq!(code, 200);
    assert!(settings.contains("KEYPLANE_LOG_JSON=true\n"));
    assert_eq!(server.page("/livez").await.0, 200);
}

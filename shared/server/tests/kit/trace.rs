use keyplane_telemetry::semconv;
use tonic::{Code, Request};

use crate::echo::{occupy, say_request};
use crate::setup::{server, telemetry};

const PARENT_SPAN: &str = "b7ad6b7169203331";

fn traced(text: &str, trace: &str) -> Request<String> {
    let mut request = Request::new(text.to_owned());
    request.metadata_mut().insert("traceparent", format!("00-{trace}-{PARENT_SPAN}-01").parse().unwrap());
    request
}

#[tokio::test]
async fn call_continues_its_callers_trace_down_to_its_own_spans() {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let server = server(&[]).await;
    say_request(&server.channel, traced("child", trace)).await.unwrap();
    let spans =
        telemetry().collector.wait_for(|spans| spans.iter().filter(|span| span.trace_id == trace).count() == 2).await;
    let find = |name: &str| spans.iter().find(|span| span.trace_id == trace && span.name == name).unwrap();
    let call = find("test.Echo/Say");
    assert_eq!((call.parent_span_id.as_str(), call.kind, call.status), (PARENT_SPAN, "server", "unset"));
    assert_eq!(call.service, "keyplane-echo");
    assert_eq!(call.attributes[semconv::RPC_SYSTEM_NAME], "grpc");
    assert_eq!(call.attributes[semconv::RPC_METHOD], "test.Echo/Say");
    assert_eq!(call.attributes[semconv::RPC_STATUS_CODE], "OK");
    assert_eq!(call.attributes[semconv::SERVER_PORT], server.running.grpc_addr().port().to_string());
    assert_eq!(find("child").parent_span_id, call.span_id);
}

#[tokio::test]
async fn panic_and_shed_call_are_traced_as_errors() {
    let (panicked, shed) = ("1af7651916cd43dd8448eb211c80319c", "2af7651916cd43dd8448eb211c80319c");
    let server = server(&[("KEYPLANE_MAX_IN_FLIGHT", "1")]).await;
    say_request(&server.channel, traced("panic", panicked)).await.unwrap_err();
    let slow = occupy(&server.channel);
    keyplane_testkit::eventually("a call is shed", std::time::Duration::from_secs(10), async || {
        say_request(&server.channel, traced("hello", shed))
            .await
            .is_err_and(|status| status.code() == Code::Unavailable)
    })
    .await;
    slow.await.unwrap();
    let is = |span: &keyplane_testkit::Span, trace: &str, code: &str| {
        span.trace_id == trace
            && span.status == "error"
            && span.attributes.get(semconv::RPC_STATUS_CODE).is_some_and(|value| value == code)
            && span.attributes.get(semconv::ERROR_TYPE).is_some_and(|value| value == code)
    };
    telemetry()
        .collector
        .wait_for(|spans| {
            spans.iter().any(|span| is(span, panicked, "INTERNAL"))
                && spans.iter().any(|span| is(span, shed, "UNAVAILABLE"))
        })
        .await;
}

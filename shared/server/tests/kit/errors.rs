use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::echo::call;
use crate::setup::server;

#[tokio::test]
async fn a_method_that_is_not_served_has_details_and_no_name_in_the_metrics() {
    let server = server(&[]).await;
    for path in ["/test.Echo/Missing", "/made.up.Service/Method"] {
        let status = call(&server.channel, path, Request::new(String::new())).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("METHOD_UNKNOWN", "keyplane.dev"));
    }
    let (_, metrics) = server.page("/metrics").await;
    assert!(metrics.contains("rpc_method=\"_OTHER\""));
    assert!(!metrics.contains("made.up"));
}

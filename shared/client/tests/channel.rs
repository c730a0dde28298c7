//! Channel to missing servers, and to one that never answers.

use std::time::Duration;

use keyplane_client::Channel;
use keyplane_contracts::session::v1::GetSessionRequest;
use keyplane_contracts::session::v1::session_service_client::SessionServiceClient;
use tokio::net::TcpListener;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

async fn call(address: String, timeout: Duration) -> Status {
    let channel = Endpoint::from_shared(format!("http://{address}")).expect("an address").connect_lazy();
    let mut request = Request::new(GetSessionRequest { name: "any".to_owned() });
    request.set_timeout(timeout);
    SessionServiceClient::new(Channel::new(channel)).get_session(request).await.expect_err("nobody answers")
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().expect("an ErrorInfo").reason.clone()
}

#[tokio::test]
async fn without_a_server_a_call_was_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    drop(listener);
    let status = call(address, Duration::from_secs(10)).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "NOT_SENT"), "{status:?}");
}

#[tokio::test]
async fn silent_server_makes_the_call_late_not_cancelled() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    let status = call(address, Duration::from_millis(100)).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"), "{status:?}");
    drop(listener);
}

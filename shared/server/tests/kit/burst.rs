use std::time::Duration;

use futures::future::join_all;
use tonic::Request;
use tonic::transport::Endpoint;

use crate::echo::say_request;
use crate::setup::server;

/// Writes all calls before the server reads the first, on one thread, as when a process pauses while a gateway sends.
/// h2 takes the unread frames for an attack if the window is small.
#[tokio::test]
async fn calls_that_pile_up_on_one_connection_are_all_answered() {
    let server = server(&[]).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.running.grpc_addr())).unwrap();
    // The client has the same bound on answers that pile up.
    let channel = endpoint.initial_connection_window_size(4 << 20).connect_lazy();
    let call = || async {
        let mut request = Request::new("hello".to_owned());
        request.set_timeout(Duration::from_secs(20));
        say_request(&channel, request).await
    };
    let answers = join_all((0..1000).map(|_| call())).await;
    let failed: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of 1000 calls failed; the first: {:?}", failed.len(), failed[0]);
}

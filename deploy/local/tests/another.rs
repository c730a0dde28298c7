//! Retry on another instance by the gateway when one of several can't answer.

mod support;

use support::gate::{Gate, SESSIONS};
use support::http;
use support::peer::{Answer, Limit, Peer};

/// Requests of a test; without the retry, at least one in nine would fail.
const REQUESTS: usize = 200;

fn three() -> [Peer; 3] {
    [(); 3].map(|()| Peer::start(Answer::Pass))
}

/// Number of requests that the gateway's own filters rejected.
async fn rejections(gate: &Gate) -> usize {
    let client = http(&gate.token());
    let mut rejected = 0;
    for _ in 0..REQUESTS {
        rejected += usize::from(gate.get(SESSIONS, &client).await.status() == 503);
    }
    rejected
}

#[tokio::test]
async fn check_is_retried_on_another_instance() {
    let peers = three();
    let gate = Gate::start_before("another/authz", &peers, |config| config);
    peers[0].answer(Answer::CannotTell);
    assert_eq!(rejections(&gate).await, 0, "of {REQUESTS}, while two of three instances can tell");
    let calls = peers[0].take_checks().len();
    assert!(calls > 0, "the instance that can't tell was never called");

    // One retry at most doubles the load of an outage.
    peers.iter().for_each(|peer| peer.answer(Answer::CannotTell));
    peers.iter().for_each(|peer| drop(peer.take_checks()));
    assert_eq!(rejections(&gate).await, REQUESTS);
    let calls: usize = peers.iter().map(|peer| peer.take_checks().len()).sum();
    assert!(calls <= 2 * REQUESTS, "{calls} calls for {REQUESTS} requests");
}

#[tokio::test]
async fn charge_is_retried_only_if_nothing_was_charged() {
    let peers = three();
    let gate = Gate::start_before("another/limits", &peers, |config| config);
    peers[0].limit(Limit::Broken);
    assert_eq!(rejections(&gate).await, 0, "of {REQUESTS}, while two of three instances can count");
    assert!(!peers[0].take_limit_calls().is_empty(), "the instance that can't count was never called");

    // The instance may have charged, and a double charge is worse than a rejection.
    peers.iter().for_each(|peer| drop(peer.take_limit_calls()));
    peers[0].limit(Limit::Unknown);
    let rejected = rejections(&gate).await;
    let calls: Vec<usize> = peers.iter().map(|peer| peer.take_limit_calls().len()).collect();
    assert_eq!(calls.iter().sum::<usize>(), REQUESTS, "{calls:?}");
    assert_eq!(calls[0], rejected, "{calls:?}");
}

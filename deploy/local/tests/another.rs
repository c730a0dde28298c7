//! Choice of another instance by the gateway when one of several can't tell.

mod support;

use support::gate::{Gate, SESSIONS};
use support::http;
use support::peer::{Answer, Limit, Peer};

/// Requests of a test: without another host, one in nine or more of them would fail.
const REQUESTS: usize = 200;

fn three() -> [Peer; 3] {
    [(); 3].map(|()| Peer::start(Answer::Pass))
}

/// Number of requests that did not get past the gateway's own filters.
async fn refused(gate: &Gate) -> usize {
    let client = http(&gate.token());
    let mut refused = 0;
    for _ in 0..REQUESTS {
        refused += usize::from(gate.get(SESSIONS, &client).await.status() == 503);
    }
    refused
}

#[tokio::test]
async fn where_one_cannot_tell_whether_a_token_is_good_another_is_asked() {
    let peers = three();
    let gate = Gate::start_before("another/authz", &peers, |config| config);
    peers[0].answer(Answer::CannotTell);
    assert_eq!(refused(&gate).await, 0, "of {REQUESTS}, while two of three instances can tell");
    let asked = peers[0].take_checks().len();
    assert!(asked > 0, "the instance that can't tell was never asked");

    // Once, so that the load of an outage is no more than twice the usual.
    peers.iter().for_each(|peer| peer.answer(Answer::CannotTell));
    peers.iter().for_each(|peer| drop(peer.take_checks()));
    assert_eq!(refused(&gate).await, REQUESTS);
    let asked: usize = peers.iter().map(|peer| peer.take_checks().len()).sum();
    assert!(asked <= 2 * REQUESTS, "{asked} questions for {REQUESTS} requests");
}

#[tokio::test]
async fn where_one_charged_nothing_another_is_asked_and_nowhere_else() {
    let peers = three();
    let gate = Gate::start_before("another/limits", &peers, |config| config);
    peers[0].limit(Limit::Broken);
    assert_eq!(refused(&gate).await, 0, "of {REQUESTS}, while two of three instances can count");
    assert!(!peers[0].take_asked().is_empty(), "the instance that can't count was never asked");

    // It may have charged, and to charge twice is worse than to refuse.
    peers.iter().for_each(|peer| drop(peer.take_asked()));
    peers[0].limit(Limit::Unknown);
    let refused = refused(&gate).await;
    let asked: Vec<usize> = peers.iter().map(|peer| peer.take_asked().len()).collect();
    assert_eq!(asked.iter().sum::<usize>(), REQUESTS, "{asked:?}");
    assert_eq!(asked[0], refused, "{asked:?}");
}

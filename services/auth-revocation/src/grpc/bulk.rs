//! BulkRevoke: results in the order of the items; items that wait go to the store together.

use std::sync::Arc;

use futures::stream::{self, unfold};
use futures::{Stream, StreamExt as _};
use keyplane_contracts::revocation::v1 as pb;
use keyplane_server::{Drain, status};
use tonic::Status;

use super::convert;
use super::revoke::bounds;
use crate::app::Revoker;
use crate::error::Error;

/// Items that go to the store together.
const GROUP: usize = 128;
/// Groups in flight: with the one whose results are being sent, 1,024 items.
const GROUPS: usize = 7;

/// Next item of the stream.
enum Step {
    /// Item to revoke.
    Item(pb::BulkRevokeRequest),
    /// End of the stream with this status, after the results of the items before.
    End(Status),
}

type Answer = Result<pb::BulkRevokeResponse, Status>;

/// Makes the revocations of `items`. Reading stops once the drain has started or the caller's side broke, and pauses
/// while 1,024 items are in flight; items that were read are finished.
pub(super) fn stream<S>(revoker: Arc<Revoker>, items: S, drain: Drain) -> impl Stream<Item = Answer> + Send
where
    S: Stream<Item = Result<pb::BulkRevokeRequest, Status>> + Send + Unpin + 'static,
{
    steps(items, drain)
        .ready_chunks(GROUP)
        .map(move |group| {
            let revoker = revoker.clone();
            async move { stream::iter(revoke(&revoker, group).await) }
        })
        .buffered(GROUPS)
        .flatten()
}

fn steps<S>(items: S, drain: Drain) -> impl Stream<Item = Step> + Send
where
    S: Stream<Item = Result<pb::BulkRevokeRequest, Status>> + Send + Unpin + 'static,
{
    let state = Some((items, drain));
    Box::pin(unfold(state, |state| async {
        let (mut items, drain) = state?;
        let item = tokio::select! {
            biased;
            () = drain.started() => Some(Err(status(Error::ShuttingDown))),
            item = items.next() => item,
        };
        match item? {
            Ok(item) => Some((Step::Item(item), Some((items, drain)))),
            Err(status) => Some((Step::End(status), None)),
        }
    }))
}

async fn revoke(revoker: &Revoker, group: Vec<Step>) -> Vec<Answer> {
    let tokens = group.iter().map(|step| match step {
        Step::Item(request) => request.request.as_ref().map_or("", convert::token_of),
        Step::End(_) => "",
    });
    let proven = revoker.prove(tokens).await;
    let (mut items, mut revokes, mut end) = (Vec::new(), Vec::new(), None);
    for (step, proven) in group.into_iter().zip(proven) {
        match step {
            Step::Item(mut request) => {
                revokes.push(convert::bulk_item(&mut request, bounds(revoker), proven));
                items.push(request.item);
            }
            Step::End(status) => end = Some(Err(status)),
        }
    }
    let results = revoker.revoke(revokes).await;
    let answer =
        |(item, result)| Ok(pb::BulkRevokeResponse { item, result: Some(convert::result(&result, revoker.rules())) });
    items.into_iter().zip(results).map(answer).chain(end).collect()
}

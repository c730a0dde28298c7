//! BulkRevoke: results in the order of the items, and what waits goes to the store together.

use std::sync::Arc;

use futures::stream::{self, unfold};
use futures::{Stream, StreamExt as _};
use keyplane_contracts::revocation::v1 as pb;
use keyplane_server::{Drain, status};
use tonic::Status;

use super::convert;
use super::writer::Writer;
use crate::error::Error;

/// Items that go to the store together.
const GROUP: usize = 128;
/// Groups under way at a time: with the one whose results are being taken, 1,024 items.
const GROUPS: usize = 7;

/// What comes next.
enum Step {
    /// An item.
    Item(pb::BulkRevokeRequest),
    /// The stream ends with this status, after the results of the items before.
    End(Status),
}

type Answer = Result<pb::BulkRevokeResponse, Status>;

/// Makes the revocations that `items` asks for. Nothing more is read once the drain has started, the caller's side broke, or
/// 1,024 items are under way; what was read is finished.
pub(super) fn stream<S>(writer: Arc<Writer>, items: S, drain: Drain) -> impl Stream<Item = Answer> + Send
where
    S: Stream<Item = Result<pb::BulkRevokeRequest, Status>> + Send + Unpin + 'static,
{
    steps(items, drain)
        .ready_chunks(GROUP)
        .map(move |group| {
            let writer = writer.clone();
            async move { stream::iter(revoke(&writer, group).await) }
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

async fn revoke(writer: &Writer, group: Vec<Step>) -> Vec<Answer> {
    let mut asked = Vec::with_capacity(group.len());
    let mut revokes = Vec::with_capacity(group.len());
    let mut end = None;
    let requests = group.iter().map(|step| match step {
        Step::Item(request) => request.request.as_ref(),
        Step::End(_) => None,
    });
    let proven = writer.prove(requests).await;
    for (step, proven) in group.into_iter().zip(proven) {
        match step {
            Step::Item(mut request) => {
                let revoke = convert::bulk_item(&mut request, writer.bounds(), proven);
                asked.push((request.item, revoke.map(|revoke| revokes.push(revoke))));
            }
            Step::End(status) => end = Some(Err(status)),
        }
    }
    let mut made = writer.revoke(revokes).await.into_iter();
    let answer = |(item, read): (String, Result<(), Error>)| {
        let result = match read {
            // The store answers each that it was given.
            Ok(()) => made.next().unwrap_or(Err(Error::Corrupt("a revocation without a result"))),
            Err(error) => Err(error),
        };
        Ok(pb::BulkRevokeResponse { item, result: Some(convert::result(&result, writer.rules())) })
    };
    asked.into_iter().map(answer).chain(end).collect()
}

//! Calls about the feed: Watch, GetHead, WaitForPropagation.

use futures::Stream;
use futures::stream::unfold;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_server::status;
use tonic::Status;

use super::{Service, convert};
use crate::app::Watch;
use crate::error::Error;

// === impl Service ===

impl Service {
    pub(super) async fn open_watch(&self, request: &pb::WatchRequest) -> Result<Watch, Error> {
        self.watches.open(convert::watched(&request.parent)?, &request.resume_token).await
    }

    pub(super) fn head(&self) -> pb::GetHeadResponse {
        convert::head(&self.mirror.head(), self.store.time())
    }

    pub(super) async fn wait(
        &self,
        request: &pb::WaitForPropagationRequest,
    ) -> Result<pb::WaitForPropagationResponse, Error> {
        let (sequence, timeout) = convert::wait(request, self.store.partitions())?;
        // A caller that gives the call less time than the wait learns which instances lag, and not that the time is up.
        let timeout = keyplane_deadline::within(timeout);
        self.mirror.wait(&sequence, timeout).await.map(convert::propagation)
    }
}

/// Responses of a watch; an error is the last of them.
pub(super) fn responses(watch: Watch) -> impl Stream<Item = Result<pb::WatchResponse, Status>> + Send {
    unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await {
            Ok(update) => Some((Ok(convert::watch_response(update)), Some(watch))),
            Err(error) => Some((Err(status(error)), None)),
        }
    })
}

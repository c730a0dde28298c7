//! Calls that watch sessions, and the stream of typed events.

use futures::Stream;
use futures::stream::unfold;
use keyplane_contracts::session::v1 as pb;
use keyplane_server::status;
use tonic::{Request, Status};

use super::{Service, convert};
use crate::app::OpenWatch;
use crate::error::Error;

// === impl Service ===

impl Service {
    pub(super) async fn watch(&self, request: &pb::WatchSessionsRequest) -> Result<OpenWatch, Error> {
        self.watches.open(&self.store, convert::watch(&request.name, &request.after)?).await
    }

    /// Opens the watch of an EventSource, whose `Last-Event-ID` beats `after`: the URL stays the same at a reconnect.
    pub(super) async fn watch_from_browser(
        &self,
        request: &Request<pb::StreamSessionEventsRequest>,
    ) -> Result<OpenWatch, Error> {
        // Bytes that are no text are no event's id: rejected, as other text is.
        let last_seen = request.metadata().get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()));
        let request = request.get_ref();
        let target = convert::watch(&request.name, last_seen.as_deref().unwrap_or(&request.after))?;
        self.watches.open(&self.store, target).await
    }
}

/// Events as messages; an error is the stream's last item.
pub(super) fn messages(watch: OpenWatch) -> impl Stream<Item = Result<pb::SessionEvent, Status>> + Send {
    unfold(Some(watch), |watch| async {
        let mut watch = watch?;
        match watch.next().await? {
            Ok(event) => Some((Ok(convert::event(&watch.user, event)), Some(watch))),
            Err(error) => Some((Err(status(error)), None)),
        }
    })
}

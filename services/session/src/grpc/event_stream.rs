//! Stream of Server-Sent Events, for browsers.

use futures::Stream;
use futures::stream::unfold;
use keyplane_contracts::google::api::HttpBody;
use keyplane_contracts::json::{field_path, to_json};
use keyplane_contracts::session::v1::SessionEvent;
use keyplane_contracts::session::v1::session_event::Type;
use keyplane_server::{sse, status};
use tokio::time::timeout;
use tonic::Status;

use super::convert;
use crate::app::OpenWatch;

/// Position in the stream.
enum State {
    Opening(Box<OpenWatch>),
    Open(Box<OpenWatch>),
    Closed,
}

/// Events as bytes of `text/event-stream`, with a heartbeat after each silence. An error is the stream's last event.
pub(super) fn bodies(watch: OpenWatch) -> impl Stream<Item = Result<HttpBody, Status>> + Send {
    unfold(State::Opening(Box::new(watch)), |state| async {
        let mut watch = match state {
            State::Opening(watch) => return Some((Ok(sse::opening()), State::Open(watch))),
            State::Open(watch) => watch,
            State::Closed => return None,
        };
        match timeout(watch.heartbeat, watch.next()).await {
            Err(_) => Some((Ok(sse::heartbeat()), State::Open(watch))),
            Ok(None) => None,
            Ok(Some(Ok(event))) => {
                let mut event = convert::event(&watch.user, event);
                event.changed_fields = event.changed_fields.iter().map(|name| field_path(name)).collect();
                let body = sse::event(&event.id, event_name(&event), &to_json(&event));
                Some((Ok(body), State::Open(watch)))
            }
            Ok(Some(Err(error))) => Some((Ok(sse::error(&status(error))), State::Closed)),
        }
    })
}

fn event_name(event: &SessionEvent) -> &'static str {
    match event.r#type() {
        Type::Unspecified => "message",
        Type::Snapshot => "snapshot",
        Type::Created => "created",
        Type::Updated => "updated",
        Type::Rotated => "rotated",
        Type::Deleted => "deleted",
        Type::Expired => "expired",
    }
}

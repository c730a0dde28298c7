//! Watches as Server-Sent Events (WHATWG HTML, section 9.2), for browsers.

use std::fmt::Write as _;

use bytes::Bytes;
use futures::Stream;
use futures::future::ready;
use futures::stream::{once, unfold};
use keyplane_contracts::google::api::HttpBody;
use keyplane_contracts::json::to_json;
use keyplane_contracts::session::v1::SessionEvent;
use keyplane_contracts::session::v1::session_event::Type;
use keyplane_server::ServiceError;
use tokio::time::timeout;
use tonic::Status;

use super::convert;
use super::watch::Events;
use crate::error::Error;

/// How long a browser waits before it connects again, in milliseconds.
const RETRY_MS: u32 = 1000;

/// The stream's place: its opening line goes out at once, so that `onopen` does not wait for an event.
enum State {
    Opening(Box<Events>),
    Open(Box<Events>),
    Closed,
}

/// The watch as bytes of `text/event-stream`. After a silence, a comment line tells proxies and browsers that the
/// connection lives. An error is a last `event: error`, since the HTTP status is long gone.
pub(super) fn stream(events: Events) -> impl Stream<Item = Result<HttpBody, Status>> + Send {
    unfold(State::Opening(Box::new(events)), |state| async {
        let mut events = match state {
            State::Opening(events) => return Some((Ok(body(format!("retry: {RETRY_MS}\n\n"))), State::Open(events))),
            State::Open(events) => events,
            State::Closed => return None,
        };
        match timeout(events.heartbeat, events.next()).await {
            Err(_) => Some((Ok(body(":\n\n".to_owned())), State::Open(events))),
            Ok(None) => None,
            Ok(Some(Ok(event))) => {
                let event = convert::event(&events.user, event);
                let text = frame(Some(&event.id), event_name(&event), &to_json(&event));
                Some((Ok(body(text)), State::Open(events)))
            }
            Ok(Some(Err(error))) => Some((Ok(body(error_frame(&error))), State::Closed)),
        }
    })
}

/// A watch that could not begin, and may a moment later. An EventSource that is answered anything but 200 gives up for
/// good, so it gets a stream that ends at once: then it comes again, with the Last-Event-ID that it has.
pub(super) fn come_again(error: &Error) -> impl Stream<Item = Result<HttpBody, Status>> + Send + use<> {
    once(ready(Ok(body(format!("retry: {RETRY_MS}\n\n{}", error_frame(error))))))
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

fn error_frame(error: &Error) -> String {
    let data = serde_json::json!({
        "code": i32::from(error.code()),
        "message": error.message(),
        "reason": error.reason(),
    });
    frame(None, "error", &data.to_string())
}

/// One event. JSON has no raw line breaks, so its data is one line.
fn frame(id: Option<&str>, event: &str, data: &str) -> String {
    let mut text = String::new();
    if let Some(id) = id {
        let _ = writeln!(text, "id: {id}");
    }
    let _ = write!(text, "event: {event}\ndata: {data}\n\n");
    text
}

fn body(text: String) -> HttpBody {
    HttpBody { content_type: "text/event-stream".to_owned(), data: Bytes::from(text) }
}

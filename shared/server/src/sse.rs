//! Server-Sent Events (WHATWG HTML, section 9.2): the pieces that a service streams in `google.api.HttpBody`, for browsers.

use std::fmt::Write as _;

use bytes::Bytes;
use keyplane_contracts::google::api::HttpBody;
use keyplane_contracts::reasons::code_name;
use tonic::Status;
use tonic_types::StatusExt as _;

/// Media type of a stream.
pub const CONTENT_TYPE: &str = "text/event-stream";
/// Wait of a browser before it reconnects, in milliseconds.
const RETRY_MS: u32 = 1000;

/// Makes the beginning of a stream, so that a browser's `onopen` does not wait for an event.
#[must_use]
pub fn opening() -> HttpBody {
    body(format!("retry: {RETRY_MS}\n\n"))
}

/// Makes a comment, which shows proxies and browsers that the connection lives.
#[must_use]
pub fn heartbeat() -> HttpBody {
    body(":\n\n".to_owned())
}

/// Makes an event. `name`, `id` and `data` must not hold a line break; JSON in one line holds none.
#[must_use]
pub fn event(id: &str, name: &str, data: &str) -> HttpBody {
    body(format!("id: {id}\nevent: {name}\ndata: {data}\n\n"))
}

/// Makes the last event of a stream that ends for an error: the HTTP status is sent already. It has no id, so that a browser
/// resumes after the last real event.
#[must_use]
pub fn error(status: &Status) -> HttpBody {
    body(error_text(status))
}

/// Makes a whole stream for a watch that cannot begin now, but may a moment later.
pub(crate) fn come_again(status: &Status) -> HttpBody {
    let mut text = format!("retry: {RETRY_MS}\n\n");
    let _ = write!(text, "{}", error_text(status));
    body(text)
}

fn error_text(status: &Status) -> String {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let (code, name) = (i32::from(status.code()), code_name(status.code()));
    let data = serde_json::json!({"code": code, "status": name, "message": status.message(), "reason": reason});
    format!("event: error\ndata: {data}\n\n")
}

fn body(text: String) -> HttpBody {
    HttpBody { content_type: CONTENT_TYPE.to_owned(), data: Bytes::from(text) }
}

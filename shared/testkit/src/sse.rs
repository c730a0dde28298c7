//! A client of server-sent events that does what a browser's EventSource does.

use std::time::Duration;

use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::sse_parser::Parser;

/// How long to wait before connecting again, until the server says otherwise; as Chromium does.
const RETRY: Duration = Duration::from_secs(3);

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The last event id when it was dispatched; events without an `id:` line have that of an earlier one.
    pub id: String,
    /// The event's name; `message` if it gave none.
    pub event: String,
    /// The `data:` lines, joined by LF.
    pub data: String,
}

/// Why an [`Sse`] gave up, as EventSource does: it stays closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SseError {
    /// The answer's status was not 200. (204 is how a server tells clients to stop.)
    #[error("the server answered {0}, not 200")]
    Status(u16),
    /// The answer was no event stream.
    #[error("the server answered with {0:?}, not text/event-stream")]
    ContentType(String),
}

/// An EventSource: a GET that is repeated, with `Last-Event-ID`, whenever it ends or fails on the way.
#[derive(Debug)]
pub struct Sse {
    client: reqwest::Client,
    url: String,
    headers: HeaderMap,
    retry: Duration,
    last_event_id: String,
    connections: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// To connect at this time.
    Waiting(Instant),
    Open(Box<reqwest::Response>, Box<Parser>),
    Closed(SseError),
}

// === impl Sse ===

impl Sse {
    /// A client of `url` (`http://` only). It connects in the first [`Sse::next`].
    ///
    /// # Panics
    /// When no HTTP client can be built.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Sse {
        Sse {
            // No proxy of the environment: tests talk to this machine.
            client: reqwest::Client::builder().no_proxy().build().expect("an HTTP client can be built"),
            url: url.into(),
            headers: HeaderMap::new(),
            retry: RETRY,
            last_event_id: String::new(),
            connections: 0,
            state: State::Waiting(Instant::now()),
        }
    }

    /// A header of every request, such as a cookie. (A browser's EventSource can set no other.)
    ///
    /// # Panics
    /// When the name or the value is not one of a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Sse {
        let name: HeaderName = name.parse().expect("the name of a header");
        self.headers.insert(name, value.parse().expect("the value of a header"));
        self
    }

    /// How long to wait before connecting again, until the server says otherwise. Default: 3 s.
    #[must_use]
    pub fn retry(mut self, retry: Duration) -> Sse {
        self.retry = retry;
        self
    }

    /// Begins as if this event had been the last one seen.
    #[must_use]
    pub fn after(mut self, last_event_id: impl Into<String>) -> Sse {
        self.last_event_id = last_event_id.into();
        self
    }

    /// The id that the next request would resume after; empty if there is none.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The wait before connecting again, as the server's last `retry:` has it.
    #[must_use]
    pub fn current_retry(&self) -> Duration {
        self.retry
    }

    /// How often the client has connected and got an event stream.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections
    }

    /// The next event. Waits as long as it takes, over any number of connections. Cancel safe.
    ///
    /// # Errors
    /// When the client has given up; every later call then gives the same error.
    pub async fn next(&mut self) -> Result<Event, SseError> {
        loop {
            match &mut self.state {
                State::Closed(error) => return Err(error.clone()),
                State::Waiting(until) => {
                    tokio::time::sleep_until(*until).await;
                    self.connect().await;
                }
                State::Open(response, parser) => {
                    if let Some(event) = parser.next() {
                        return Ok(event);
                    }
                    match response.chunk().await {
                        Ok(Some(bytes)) => {
                            parser.push(&bytes);
                            parser.last_event_id().clone_into(&mut self.last_event_id);
                            self.retry = parser.take_retry().unwrap_or(self.retry);
                        }
                        Ok(None) | Err(_) => self.state = State::Waiting(Instant::now() + self.retry),
                    }
                }
            }
        }
    }

    async fn connect(&mut self) {
        let mut request = self.client.get(&self.url).headers(self.headers.clone());
        request = request.header(ACCEPT, "text/event-stream").header(CACHE_CONTROL, "no-store");
        if let (false, Ok(id)) = (self.last_event_id.is_empty(), HeaderValue::from_bytes(self.last_event_id.as_bytes()))
        {
            request = request.header("last-event-id", id);
        }
        self.state = match request.send().await {
            Err(_) => State::Waiting(Instant::now() + self.retry),
            Ok(response) => match refusal(&response) {
                Some(error) => State::Closed(error),
                None => {
                    self.connections += 1;
                    State::Open(Box::new(response), Box::new(Parser::resuming(&self.last_event_id)))
                }
            },
        };
    }
}

fn refusal(response: &reqwest::Response) -> Option<SseError> {
    if response.status().as_u16() != 200 {
        return Some(SseError::Status(response.status().as_u16()));
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    (!essence.eq_ignore_ascii_case("text/event-stream")).then(|| SseError::ContentType(kind.to_owned()))
}

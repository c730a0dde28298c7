//! Client of Server-Sent Events that behaves like a browser's EventSource.

use std::time::Duration;

use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::sse_parser::{Event, Parser};

/// Delay before a reconnect until the server sends a `retry:`; Chromium's.
const RETRY: Duration = Duration::from_secs(3);

/// Reason for which an [`Sse`] has given up. It stays closed, as an EventSource does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SseError {
    /// Status other than 200. (With 204 a server stops its clients.)
    #[error("the server answered {0}, not 200")]
    Status(u16),
    /// Content type other than an event stream.
    #[error("the server answered with {0:?}, not text/event-stream")]
    ContentType(String),
}

/// EventSource: a GET that is repeated, with `Last-Event-ID`, whenever the stream ends or breaks.
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
    /// Connects at this time.
    Waiting(Instant),
    Open(Box<reqwest::Response>, Box<Parser>),
    Closed(SseError),
}

// === impl Sse ===

impl Sse {
    /// Client of `url` (`http://` only), which connects in the first [`Sse::next`].
    ///
    /// # Panics
    /// No HTTP client can be built.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Sse {
        Sse {
            // No proxy from the environment: tests talk to this machine.
            client: reqwest::Client::builder().no_proxy().build().expect("an HTTP client can be built"),
            url: url.into(),
            headers: HeaderMap::new(),
            retry: RETRY,
            last_event_id: String::new(),
            connections: 0,
            state: State::Waiting(Instant::now()),
        }
    }

    /// Adds a header to every request, such as a cookie. (A browser's EventSource can set no other.)
    ///
    /// # Panics
    /// Name or value that is not valid in a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Sse {
        let name: HeaderName = name.parse().expect("the name of a header");
        self.headers.insert(name, value.parse().expect("the value of a header"));
        self
    }

    /// Sets the delay before a reconnect until the server sends a `retry:`. Default: 3 s.
    #[must_use]
    pub fn retry(mut self, retry: Duration) -> Sse {
        self.retry = retry;
        self
    }

    /// Resumes after this event.
    #[must_use]
    pub fn after(mut self, last_event_id: impl Into<String>) -> Sse {
        self.last_event_id = last_event_id.into();
        self
    }

    /// Number of connections that delivered an event stream.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.connections
    }

    /// Returns the next event, after any time and any number of connections. Cancel safe.
    ///
    /// # Errors
    /// The client has given up; every later call then gives the same error.
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

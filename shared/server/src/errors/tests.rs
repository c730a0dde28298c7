use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keyplane_contracts::reasons::gateway;
use tonic_types::StatusExt as _;

use super::*;

#[derive(Debug, thiserror::Error)]
enum Sample {
    #[error("2 fields break their rules")]
    Invalid(Vec<Violation>),
    #[error("the limit of 10 calls a second is used up")]
    Limited,
    #[error("decide: MISCONF the store can't save")]
    Unavailable,
}

impl ServiceError for Sample {
    fn describe(&self) -> Description<'_> {
        let description = match self {
            Sample::Invalid(violations) => Description::new(&kit::INVALID_REQUEST).violations(violations),
            Sample::Limited => Description::new(&gateway::RATE_LIMITED)
                .retry_after(Duration::from_millis(100))
                .quota("tenant:acme", "10 calls a second"),
            Sample::Unavailable => Description::new(&store_reasons::STORE_UNAVAILABLE),
        };
        description.with("limit", 10)
    }
}

/// Error whose every part comes from the caller.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Hostile {
    message: String,
    text: String,
    violations: Vec<Violation>,
}

impl ServiceError for Hostile {
    fn describe(&self) -> Description<'_> {
        let description = Description::new(&kit::INVALID_REQUEST)
            .violations(&self.violations)
            .retry_after(Duration::from_secs(1))
            .quota(&self.text, &self.text);
        ["a", "b", "c", "d", "e", "f"]
            .into_iter()
            .fold(description, |description, key| description.with(key, &self.text))
    }
}

/// Log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn calls_that_the_store_failed_are_logged_a_few_times_a_minute() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..10 {
            assert_eq!(status(Sample::Unavailable).code(), Code::Unavailable);
        }
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 6, "{text}");
    assert!(text.contains("WARN") && text.contains("MISCONF") && text.contains("the store failed a call"), "{text}");
}

#[test]
fn status_lists_every_violation() {
    let violations = vec![Violation::new("session.ttl", "too long"), Violation::new("parent", "required")];
    let details = status(Sample::Invalid(violations)).get_error_details();
    let fields: Vec<_> =
        details.bad_request().unwrap().field_violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["session.ttl", "parent"]);
    let info = details.error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_REQUEST", DOMAIN));
    assert!(details.retry_info().is_none());
}

/// Size of the trailers on the wire, in bytes.
fn trailers(status: &Status) -> usize {
    let mut headers = http::HeaderMap::new();
    status.add_header(&mut headers).expect("a status can be sent");
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

#[test]
fn many_violations_are_capped_and_counted() {
    let violations = vec![Violation::new("items[0].x", "must be set"); 1000];
    let status = status(Sample::Invalid(violations));
    assert_eq!(status.get_error_details().bad_request().unwrap().field_violations.len(), 20);
    assert_eq!(status.message(), "2 fields break their rules; and 980 more");
}

#[test]
fn hostile_sizes_stay_under_the_limit_of_trailers() {
    // Three bytes a character, each of which is percent-encoded in the message.
    for text in ["x".repeat(10_000), "\u{20ac}".repeat(10_000), String::from("%").repeat(10_000)] {
        for count in [1, 20, 200] {
            let violations = vec![Violation::new(&text, &text); count];
            let size = trailers(&status(Hostile { message: text.clone(), text: text.clone(), violations }));
            assert!(size < TRAILERS, "{count} violations of {} bytes make trailers of {size} bytes", text.len());
        }
        assert!(trailers(&plain(&kit::INTERNAL, &text)) < TRAILERS);
    }
    // Lengths that fill the room to the last byte.
    for length in 1..=300 {
        let text = "x".repeat(length);
        let violations = vec![Violation::new(&text, &text); 200];
        let size = trailers(&status(Hostile { message: "%".repeat(10_000), text, violations }));
        assert!(size < TRAILERS, "parts of {length} bytes make trailers of {size} bytes");
    }
}

#[test]
fn empty_value_is_no_metadata() {
    let error = Hostile { message: String::new(), text: String::new(), violations: Vec::new() };
    assert!(status(error).get_error_details().error_info().unwrap().metadata.is_empty());
}

#[test]
fn status_of_a_limit_has_quota_and_retry_info() {
    let status = status(Sample::Limited);
    let details = status.get_error_details();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_millis(100)));
    assert_eq!(details.quota_failure().unwrap().violations[0].subject, "tenant:acme");
    assert_eq!(details.error_info().unwrap().metadata["limit"], "10");
}

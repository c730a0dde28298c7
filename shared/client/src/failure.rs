//! Statuses of calls that failed in transport.

use std::collections::HashMap;
use std::error::Error;

use keyplane_contracts::reasons::{DOMAIN, Retry, client, kit};
use tonic::{ConnectError, Status, TimeoutExpired};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Fate of a call that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Unseen by the service: no connection, or one that closed before the request left.
    NotSent,
    /// Past its deadline.
    Late,
    /// Lost in flight, with the connection.
    Lost,
}

/// Status of a call that failed with `error`, a failure of tonic's transport.
pub(crate) fn status(error: &(dyn Error + 'static)) -> Status {
    let (reason, message) = match fate(error) {
        Fate::NotSent => (&client::NOT_SENT, "no connection: the call was not sent; repeat it"),
        Fate::Late => {
            let message = "the call got no answer before its deadline: a write may or may not have happened";
            (&kit::DEADLINE_EXCEEDED, message)
        }
        Fate::Lost => {
            let message = "the connection broke during the call: a write may or may not have happened";
            (&client::CONNECTION_LOST, message)
        }
    };
    let unknown = (reason.retry == Retry::Idempotent).then(|| ("outcome".to_owned(), "unknown".to_owned()));
    let details = ErrorDetails::with_error_info(reason.name, DOMAIN, HashMap::from_iter(unknown));
    Status::with_error_details(reason.code, message, details)
}

fn fate(error: &(dyn Error + 'static)) -> Fate {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.is::<TimeoutExpired>() {
            return Fate::Late;
        }
        if cause.is::<ConnectError>() {
            return Fate::NotSent;
        }
        // hyper cancels requests that were still queued when their connection closed.
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return Fate::NotSent;
        }
        next = cause.source();
    }
    Fate::Lost
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Empty;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tonic::Code;

    use super::*;

    fn reason(status: &Status) -> String {
        status.get_error_details().error_info().expect("an ErrorInfo").reason.clone()
    }

    #[tokio::test]
    async fn request_on_a_closed_connection_is_not_sent() {
        let (ours, _theirs) = tokio::io::duplex(1024);
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ours));
        let (mut sender, connection) = handshake.await.expect("a handshake");
        drop(connection);
        let error = sender.send_request(http::Request::new(Empty::<Bytes>::new())).await.expect_err("it is closed");
        assert!(error.is_canceled(), "{error:?}");
        let status = status(&error);
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "NOT_SENT"));
    }

    #[test]
    fn passed_deadline_is_deadline_exceeded() {
        let status = status(&TimeoutExpired(()));
        assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    }

    #[test]
    fn broken_connection_leaves_the_outcome_unknown() {
        let status = status(&std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "CONNECTION_LOST"));
        let details = status.get_error_details();
        assert_eq!(details.error_info().expect("an ErrorInfo").metadata["outcome"], "unknown");
    }
}

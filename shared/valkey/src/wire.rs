//! One TCP connection that is never made again: what [`Dedicated`](crate::Dedicated) and questions to one node go over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::config::{Options, Server};
use fred::types::{ClusterHash, CustomCommand};
use tokio::sync::Notify;

use crate::lane::AbortOnDrop;
use crate::url::Endpoint;
use crate::{Error, ErrorKind};

type FredResult = Result<fred::types::Value, fred::error::Error>;

/// A connection to one node. Dropping it closes the socket.
pub(crate) struct Wire {
    client: Client,
    state: Arc<State>,
    driver: AbortOnDrop<()>,
}

#[derive(Default)]
struct State {
    broken: AtomicBool,
    /// Wakes the calls in flight when the connection is gone: fred keeps what reaches it after its last look.
    gone: Notify,
}

// === impl Wire ===

impl Wire {
    /// Connects and logs in, for at most `within`. Dropped half-way, the attempt ends.
    pub(crate) async fn connect(endpoint: &Endpoint, server: Server, within: Duration) -> Result<Wire, Error> {
        let client = endpoint.solo(server);
        let state = Arc::new(State::default());
        let mut ready = Box::pin(client.wait_for_connect());
        // The first poll subscribes, so it must come before the driver.
        let early = futures::poll!(ready.as_mut());
        debug_assert!(early.is_pending(), "nothing connects yet");
        let driver = AbortOnDrop(tokio::spawn(drive(client.clone(), state.clone())));
        let connected = tokio::time::timeout(within, async {
            tokio::select! {
                biased;
                connected = ready.as_mut() => connected,
                () = state.gone.notified() => Err(closed()),
            }
        });
        let connected = connected.await.unwrap_or_else(|_| Err(closed()));
        drop(ready);
        match connected {
            Ok(()) => Ok(Wire { client, state, driver }),
            Err(error) => Err(refused(&error)),
        }
    }

    /// Sends one command and waits for its reply, for at most `patience`. Commands go out in the order in which these
    /// futures are first polled.
    pub(crate) async fn call(
        &self,
        command: &'static str,
        arguments: Vec<fred::types::Value>,
        patience: Duration,
    ) -> FredResult {
        let mut gone = std::pin::pin!(self.state.gone.notified());
        gone.as_mut().enable();
        if self.is_broken() {
            return Err(closed());
        }
        // One attempt: what was written is never written again. (fred has no other connection to write it to, either.)
        let options = Options {
            max_attempts: Some(1),
            max_redirections: Some(0),
            timeout: Some(patience),
            fail_fast: true,
            ..Options::default()
        };
        let client = self.client.with_options(&options);
        let command = CustomCommand::new_static(command, ClusterHash::Random, false);
        tokio::select! {
            biased;
            reply = client.custom(command, arguments) => reply,
            () = gone => Err(closed()),
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.state.broken.load(Ordering::Acquire)
    }

    /// Closes the socket; calls in flight fail at once, and all that come.
    pub(crate) fn close(&self) {
        self.state.end();
        self.driver.0.abort();
    }
}

// === impl State ===

impl State {
    fn end(&self) {
        self.broken.store(true, Ordering::Release);
        self.gone.notify_waiters();
    }
}

/// Runs until the connection is gone. Without a reconnect policy fred ends with it.
async fn drive(client: Client, state: Arc<State>) {
    let mut connection = AbortOnDrop(client.connect());
    // The reason is in the replies of the calls in flight.
    let _ = (&mut connection.0).await;
    state.end();
    // A waiter that began just now is woken by the permit.
    state.gone.notify_one();
}

/// What fred says when it knows no better: the command may have been written.
fn closed() -> fred::error::Error {
    fred::error::Error::new(fred::error::ErrorKind::IO, "Connection closed.")
}

fn refused(error: &fred::error::Error) -> Error {
    if matches!(error.kind(), fred::error::ErrorKind::Auth) {
        return Error::from_fred(error, "dedicate", false);
    }
    let message = "no connection of its own to the store could be made";
    Error::new(ErrorKind::Unavailable, "dedicate", message)
}

//! One TCP connection that is never made again. Everything that is sent to the store goes over one of these.
//!
//! A wire is one fred client with one connection, and ends with it: fred keeps counts of a client across its reconnects
//! that can go wrong (one of them decides whether a command is flushed), so that no client gets a second connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::types::config::{Options, Server};
use fred::types::{ClusterHash, CustomCommand, Message};
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;

use crate::url::Endpoint;
use crate::{Error, ErrorKind};

/// Room for fred's own events, of which only the first is waited for.
const EVENTS: usize = 4;

pub(crate) type FredResult = Result<fred::types::Value, fred::error::Error>;

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

/// A task that ends with its owner.
pub(crate) struct AbortOnDrop<T>(pub(crate) JoinHandle<T>);

// === impl Wire ===

impl Wire {
    /// Connects and logs in, for at most `within`. Dropped half-way, the attempt ends.
    pub(crate) async fn connect(endpoint: &Endpoint, server: Server, within: Duration) -> Result<Wire, Error> {
        Wire::drive(endpoint.client(server, EVENTS), within).await
    }

    /// Connects like [`Wire::connect`], to subscribe: so many `messages` may wait to be read.
    pub(crate) async fn subscriber(
        endpoint: &Endpoint,
        server: Server,
        messages: usize,
        within: Duration,
    ) -> Result<Wire, Error> {
        Wire::drive(endpoint.client(server, messages), within).await
    }

    async fn drive(client: Client, within: Duration) -> Result<Wire, Error> {
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
    /// futures are first polled, and each at once: fred flushes a custom command by itself, whatever waits behind it.
    pub(crate) async fn call(
        &self,
        command: &'static str,
        arguments: Vec<fred::types::Value>,
        patience: Duration,
    ) -> FredResult {
        let mut gone = std::pin::pin!(self.state.gone.notified());
        gone.as_mut().enable();
        if self.is_broken() {
            return Err(unsent());
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
            // fred says canceled also when it gives up what it had written.
            reply = client.custom(command, arguments) => {
                reply.map_err(|error| if error.kind() == &fred::error::ErrorKind::Canceled { closed() } else { error })
            }
            () = gone => Err(closed()),
        }
    }

    /// Subscribes to `channels`; messages that come from now on arrive at the receiver. That it returns does not say
    /// that the server has done it: a call after it does.
    pub(crate) async fn subscribe(&self, channels: Vec<String>) -> Result<broadcast::Receiver<Message>, ()> {
        let messages = self.client.message_rx();
        self.client.subscribe(channels).await.map_err(drop)?;
        Ok(messages)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.state.broken.load(Ordering::Acquire)
    }

    /// Waits until the connection is gone.
    pub(crate) async fn gone(&self) {
        let mut gone = std::pin::pin!(self.state.gone.notified());
        gone.as_mut().enable();
        if !self.is_broken() {
            gone.await;
        }
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

// === impl AbortOnDrop ===

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
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

/// The connection went while the command may have been written.
fn closed() -> fred::error::Error {
    fred::error::Error::new(fred::error::ErrorKind::IO, "Connection closed.")
}

/// The connection was gone before.
fn unsent() -> fred::error::Error {
    fred::error::Error::new(fred::error::ErrorKind::Routing, "Failed to route command.")
}

fn refused(error: &fred::error::Error) -> Error {
    if matches!(error.kind(), fred::error::ErrorKind::Auth) {
        return Error::from_fred(error, "connect", false);
    }
    let message = "no connection to the store could be made";
    Error::new(ErrorKind::Unavailable, "connect", message)
}
